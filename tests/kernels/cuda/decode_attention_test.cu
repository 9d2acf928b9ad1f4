// DecodeAttention against loops in double, and, bit for bit, against RopeAndStoreKv and Attention:
// in whatever batch, pages and limits, and replayed as a graph while the sequences grow.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/decode_attention.h"
#include "kernels/cuda/pdl.cuh"
#include "tests/kernels/cuda/gpu_testing.h"

namespace aios::kernels::cuda {
namespace {

constexpr float kEps = 1e-5F;

struct Model {
  Format dtype = Format::kBF16;
  int n_heads = 4;
  int n_kv_heads = 2;
  int head_dim = 64;
  bool bias = false;
  bool norms = false;
  RopePairing pairing = RopePairing::kHalves;

  int all_heads() const { return n_heads + 2 * n_kv_heads; }
  size_t kv_dim() const { return static_cast<size_t>(n_kv_heads) * head_dim; }
};

// A sequence's numbers depend on its seed and the position alone.
struct Sequence {
  uint64_t seed;
  int kv_length;  // with the new token; 0: there is none

  size_t n_before() const { return static_cast<size_t>(std::max(kv_length - 1, 0)); }
};

struct Layout {
  int page_size = 16;
  uint64_t shuffle = 0;   // seed of the order of pages
  int max_kv_length = 0;  // at least; 0: the longest sequence's
  bool overlap = false;
};

// `n` numbers of variance 1, as the lane rounds them. (std's normal numbers would take most of the
// time.)
std::vector<float> Numbers(const Model& model, size_t n, uint64_t seed) {
  std::vector<float> values(n);
  uint64_t state = seed * 0x9E3779B97F4A7C15ull + 1;
  for (float& value : values) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;  // Knuth's MMIX
    value = 1.7320508f * (static_cast<float>(state >> 40) * 0x1p-23f - 1);
    if (model.dtype == Format::kBF16) value = BF16ToFloat(FloatToBF16(value));
  }
  return values;
}

// Keys (or values) of all positions but the newest: [position, n_kv_heads, head_dim].
std::vector<float> Keys(const Model& m, const Sequence& s) {
  return Numbers(m, s.n_before() * m.kv_dim(), 4 * s.seed);
}
std::vector<float> Values(const Model& m, const Sequence& s) {
  return Numbers(m, s.n_before() * m.kv_dim(), 4 * s.seed + 1);
}
// The row of qkv that a sequence has at its newest position.
std::vector<float> Row(const Model& m, const Sequence& s) {
  return Numbers(m, static_cast<size_t>(m.all_heads()) * m.head_dim,
                 4 * s.seed + 2 + 4000 * static_cast<uint64_t>(s.kv_length));
}

template <typename T>
T ToLane(float x) {
  if constexpr (sizeof(T) == 2) {
    return std::isnan(x) ? 0xFFFF : FloatToBF16(x);  // Rounding a NaN may give anything.
  } else {
    return x;
  }
}
float FromLane(float x) { return x; }
float FromLane(uint16_t x) { return BF16ToFloat(x); }

template <typename T>
std::vector<T> ToLane(const std::vector<float>& values) {
  std::vector<T> lane;
  lane.reserve(values.size());
  for (const float x : values) lane.push_back(ToLane<T>(x));
  return lane;
}

// What does not change from step to step.
struct Weights {
  Weights(const Model& m, int max_context)
      : bias(RandomFloats(static_cast<size_t>(m.all_heads()) * m.head_dim, 2)),
        q_norm(RandomFloats(m.head_dim, 3)),
        k_norm(RandomFloats(m.head_dim, 4)),
        cos(Table(m, max_context, [](double x) { return std::cos(x); })),
        sin(Table(m, max_context, [](double x) { return std::sin(x); })) {}

  template <typename Of>
  static std::vector<float> Table(const Model& m, int max_context, const Of& of) {
    std::vector<float> table;
    for (int p = 0; p < max_context; ++p) {
      for (int i = 0; i < m.head_dim / 2; ++i)
        table.push_back(static_cast<float>(of(p * std::pow(10000, -2.0 * i / m.head_dim))));
    }
    return table;
  }
  TestBuffer<float> bias, q_norm, k_norm, cos, sin;
};

// A step's batch on the device. Slots without a key hold NaN; entries of the page table that are
// not to be read point far outside of the pages.
template <typename T>
class Batch {
 public:
  Batch(const Model& m, const std::vector<Sequence>& sequences, const Layout& layout)
      : model_(m), sequences_(sequences), layout_(layout) {
    const int page_size = layout.page_size;
    for (const Sequence& s : sequences) max_length_ = std::max(max_length_, s.kv_length);
    max_length_ = std::max(max_length_, layout.max_kv_length);
    stride_ = (max_length_ + page_size - 1) / page_size + 1;
    int n_pages = 0;
    for (const Sequence& s : sequences) n_pages += (s.kv_length + page_size - 1) / page_size;
    std::vector<int32_t> free_pages(n_pages);
    std::iota(free_pages.begin(), free_pages.end(), 0);
    std::shuffle(free_pages.begin(), free_pages.end(), std::mt19937_64(layout.shuffle));

    std::vector<int32_t> table(sequences.size() * stride_, 1 << 30);
    std::vector<float> k(n_pages * page_size * m.kv_dim(), NAN), v = k, qkv;
    std::vector<int32_t> positions, lengths, offsets = {0};
    for (size_t i = 0; i < sequences.size(); ++i) {
      const Sequence& s = sequences[i];
      const std::vector<float> keys = Keys(m, s), values = Values(m, s), row = Row(m, s);
      for (int p = 0; p < s.kv_length; ++p) {
        int32_t& page = table[i * stride_ + p / page_size];
        if (p % page_size == 0) {
          page = free_pages.back();
          free_pages.pop_back();
        }
        for (int h = 0; h < m.n_kv_heads && p < s.kv_length - 1; ++h) {
          const size_t from = p * m.kv_dim() + h * m.head_dim;
          const size_t to =
              ((size_t(page) * m.n_kv_heads + h) * page_size + p % page_size) * m.head_dim;
          std::copy_n(keys.begin() + from, m.head_dim, k.begin() + to);
          std::copy_n(values.begin() + from, m.head_dim, v.begin() + to);
        }
      }
      qkv.insert(qkv.end(), row.begin(), row.end());
      positions.push_back(s.kv_length - 1);
      lengths.push_back(s.kv_length);
      offsets.push_back(static_cast<int32_t>(i) + 1);
    }
    qkv_ = std::make_unique<TestBuffer<T>>(ToLane<T>(qkv));
    k_ = std::make_unique<TestBuffer<T>>(ToLane<T>(k));
    v_ = std::make_unique<TestBuffer<T>>(ToLane<T>(v));
    q_ = std::make_unique<TestBuffer<T>>(sequences.size() * m.n_heads * m.head_dim);
    out_ = std::make_unique<TestBuffer<T>>(q_->size());
    table_ = std::make_unique<TestBuffer<int32_t>>(table);
    positions_ = std::make_unique<TestBuffer<int32_t>>(positions);
    lengths_ = std::make_unique<TestBuffer<int32_t>>(lengths);
    offsets_ = std::make_unique<TestBuffer<int32_t>>(offsets);
    arrivals_ = std::make_unique<TestBuffer<uint32_t>>(
        std::vector<uint32_t>(sequences.size() * m.n_kv_heads, 0));
    workspace_ = std::make_unique<TestBuffer<uint8_t>>(DecodeAttentionWorkspaceBytes(Args()));
  }

  DecodeAttentionArgs Args(const Weights* weights = nullptr) const {
    const auto data = [](const auto& buffer) {
      return buffer == nullptr ? nullptr : buffer->data();
    };
    DecodeAttentionArgs args = {.rope = {.dtype = model_.dtype,
                                         .qkv = data(qkv_),
                                         .eps = kEps,
                                         .pairing = model_.pairing,
                                         .seq_offsets = data(offsets_),
                                         .positions = data(positions_),
                                         .n_seqs = static_cast<int>(sequences_.size()),
                                         .n_tokens = static_cast<int>(sequences_.size()),
                                         .page_table = data(table_),
                                         .page_table_stride = stride_,
                                         .page_size = layout_.page_size,
                                         .k_pages = data(k_),
                                         .v_pages = data(v_),
                                         .n_heads = model_.n_heads,
                                         .n_kv_heads = model_.n_kv_heads,
                                         .head_dim = model_.head_dim,
                                         .q = data(q_),
                                         .overlap_previous = layout_.overlap},
                                .kv_lengths = data(lengths_),
                                .max_kv_length = max_length_,
                                .scale = 1 / std::sqrt(static_cast<float>(model_.head_dim)),
                                .out = data(out_),
                                .arrivals = data(arrivals_),
                                .workspace = data(workspace_),
                                .workspace_bytes = workspace_ == nullptr ? 0 : workspace_->size()};
    if (weights != nullptr) {
      args.rope.cos = weights->cos.data();
      args.rope.sin = weights->sin.data();
      if (model_.bias) args.rope.bias = weights->bias.data();
      if (model_.norms) args.rope.q_norm = weights->q_norm.data();
      if (model_.norms) args.rope.k_norm = weights->k_norm.data();
    }
    return args;
  }

  void CheckArrivals() const {
    for (const uint32_t n : arrivals_->Download()) EXPECT_EQ(n, 0);
  }

  const TestBuffer<T>& qkv() const { return *qkv_; }
  const TestBuffer<T>& out() const { return *out_; }
  const TestBuffer<T>& k() const { return *k_; }
  const TestBuffer<T>& v() const { return *v_; }

 private:
  Model model_;
  std::vector<Sequence> sequences_;
  Layout layout_;
  int max_length_ = 1;
  int stride_ = 0;
  std::unique_ptr<TestBuffer<T>> qkv_, k_, v_, q_, out_;
  std::unique_ptr<TestBuffer<int32_t>> table_, positions_, lengths_, offsets_;
  std::unique_ptr<TestBuffer<uint32_t>> arrivals_;
  std::unique_ptr<TestBuffer<uint8_t>> workspace_;
};

// The same, by the kernels that each do one thing.
void OneAfterAnother(const DecodeAttentionArgs& args) {
  const RopeKvArgs& rope = args.rope;
  RopeAndStoreKv(rope, nullptr);
  Attention({.dtype = rope.dtype,
             .q = rope.q,
             .k_pages = rope.k_pages,
             .v_pages = rope.v_pages,
             .out = args.out,
             .page_table = rope.page_table,
             .page_table_stride = rope.page_table_stride,
             .seq_offsets = rope.seq_offsets,
             .kv_lengths = args.kv_lengths,
             .n_seqs = rope.n_seqs,
             .n_tokens = rope.n_tokens,
             .max_rows = 1,
             .max_kv_length = args.max_kv_length,
             .page_size = rope.page_size,
             .n_heads = rope.n_heads,
             .n_kv_heads = rope.n_kv_heads,
             .head_dim = rope.head_dim,
             .scale = args.scale,
             .deterministic = true,
             .workspace = args.workspace,
             .workspace_bytes = args.workspace_bytes},
            nullptr);
}

// Bits of the output, and of the pages after the step.
template <typename T>
struct Result {
  std::vector<T> out, k, v;
};

constexpr int kMaxContext = 5200;

template <typename T>
Result<T> RunStep(const Model& m, const std::vector<Sequence>& sequences, const Layout& layout,
                  const Weights& weights, bool in_one = true) {
  const Batch<T> batch(m, sequences, layout);
  const DecodeAttentionArgs args = batch.Args(&weights);
  if (in_one) {
    DecodeAttention(args, nullptr);
  } else {
    OneAfterAnother(args);
  }
  AIOS_CUDA_CHECK(cudaDeviceSynchronize());
  batch.CheckArrivals();
  return {batch.out().Download(), batch.k().Download(), batch.v().Download()};
}

// Head `head` of q, k, v, by plain loops in double.
std::vector<double> TurnedHead(const Model& m, const Weights& w, const Sequence& s, int head) {
  const int n = m.head_dim;
  const std::vector<float> row = Row(m, s);
  const std::vector<float> bias = w.bias.Download();
  const std::vector<float> norm = (head < m.n_heads ? w.q_norm : w.k_norm).Download();
  std::vector<double> x(n), out(n);
  for (int d = 0; d < n; ++d) {
    x[d] = row[static_cast<size_t>(head) * n + d];
    if (m.bias) x[d] += bias[head * n + d];
  }
  if (head >= m.n_heads + m.n_kv_heads) return x;
  if (m.norms) {
    double squares = 0;
    for (const double a : x) squares += a * a;
    for (int d = 0; d < n; ++d) x[d] *= norm[d] / std::sqrt(squares / n + double{kEps});
  }
  for (int i = 0; i < n / 2; ++i) {
    const double angle = (s.kv_length - 1) * std::pow(10000, -2.0 * i / n);
    const int a = m.pairing == RopePairing::kHalves ? i : 2 * i;
    const int b = m.pairing == RopePairing::kHalves ? i + n / 2 : 2 * i + 1;
    out[a] = x[a] * std::cos(angle) - x[b] * std::sin(angle);
    out[b] = x[b] * std::cos(angle) + x[a] * std::sin(angle);
  }
  return out;
}

// ||got - want|| / ||want|| of the worst row.
template <typename T>
double WorstRow(const Model& m, const Weights& w, const std::vector<Sequence>& sequences,
                const std::vector<T>& got) {
  const int n = m.head_dim;
  double worst = 0;
  for (size_t i = 0; i < sequences.size(); ++i) {
    const Sequence& s = sequences[i];
    const std::vector<float> keys = Keys(m, s), values = Values(m, s);
    for (int h = 0; h < m.n_heads; ++h) {
      const int kv_head = h / (m.n_heads / m.n_kv_heads);
      const std::vector<double> q = TurnedHead(m, w, s, h);
      const std::vector<double> new_k = TurnedHead(m, w, s, m.n_heads + kv_head);
      const std::vector<double> new_v = TurnedHead(m, w, s, m.n_heads + m.n_kv_heads + kv_head);
      std::vector<double> scores(s.kv_length);
      const auto number = [&](const std::vector<float>& of, const std::vector<double>& newest,
                              int p, int d) {
        return p == s.kv_length - 1 ? newest[d] : of[p * m.kv_dim() + kv_head * n + d];
      };
      for (int p = 0; p < s.kv_length; ++p) {
        for (int d = 0; d < n; ++d) scores[p] += q[d] * number(keys, new_k, p, d);
        scores[p] /= std::sqrt(static_cast<double>(n));
      }
      const double max = *std::max_element(scores.begin(), scores.end());
      std::vector<double> want(n);
      double sum = 0;
      for (int p = 0; p < s.kv_length; ++p) {
        const double probability = std::exp(scores[p] - max);
        sum += probability;
        for (int d = 0; d < n; ++d) want[d] += probability * number(values, new_v, p, d);
      }
      double difference = 0, norm = 0;
      for (int d = 0; d < n; ++d) {
        const double x = FromLane(got[(i * m.n_heads + h) * n + d]);
        difference += (x - want[d] / sum) * (x - want[d] / sum);
        norm += want[d] / sum * want[d] / sum;
      }
      const double error = std::sqrt(difference / norm);
      if (!(error <= worst)) worst = error;  // NaN too.
    }
  }
  return worst;
}

template <typename T>
bool SameBits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

// Around tiles, chunks and pages.
const std::vector<Sequence> kMix = {{1, 1},   {2, 17},  {3, 64},  {4, 65},   {5, 256},
                                    {6, 257}, {7, 272}, {8, 513}, {9, 1030}, {10, 2}};

class DecodeAttentionTest : public testing::TestWithParam<Model> {
 protected:
  void SetUp() override { AIOS_SKIP_WITHOUT_GPU(); }

  // For the lane's type of numbers.
  template <typename Body>
  static void InLane(const Body& body) {
    if (GetParam().dtype == Format::kF32) {
      body(float{});
    } else {
      body(uint16_t{});
    }
  }
};

TEST_P(DecodeAttentionTest, EqualsDoubles) {
  const Model& m = GetParam();
  const Weights weights(m, kMaxContext);
  InLane([&](auto lane) {
    using T = decltype(lane);
    // Norms scale scores up to some tens, and with them the rounding of q and k.
    const double tolerance = sizeof(T) == 4 ? 2e-5 : m.norms || m.bias ? 4e-2 : 8e-3;
    for (const std::vector<Sequence>& batch : {kMix, {{1, 600}}, {{2, 1}}}) {
      const auto got = RunStep<T>(m, batch, {.page_size = 16, .shuffle = 1}, weights);
      EXPECT_LE(WorstRow(m, weights, batch, got.out), tolerance);
    }
  });
}

// One key: its value, exactly.
TEST_P(DecodeAttentionTest, OneKeyGivesItsValue) {
  Model m = GetParam();
  m.bias = false;
  const Weights weights(m, 1);
  const Sequence s = {77, 1};
  const std::vector<float> row = Row(m, s);
  InLane([&](auto lane) {
    const auto got = RunStep<decltype(lane)>(m, {s}, {}, weights);
    for (int i = 0; i < m.n_heads * m.head_dim; ++i) {
      const int head = m.n_heads + m.n_kv_heads + i / m.head_dim / (m.n_heads / m.n_kv_heads);
      ASSERT_EQ(FromLane(got.out[i]), row[head * m.head_dim + i % m.head_dim]) << i;
    }
  });
}

// A batch that is padded: rows that are no tokens give zeros, and leave the pages as they are.
// Beside few, and beside so many that they are computed in another way.
TEST_P(DecodeAttentionTest, RowsThatAreNoTokensStoreNothing) {
  const Model& m = GetParam();
  const Weights weights(m, kMaxContext);
  InLane([&](auto lane) {
    using T = decltype(lane);
    for (const std::vector<Sequence>& batch : {kMix, {{1, 600}}, {{2, 1}}}) {
      const Result<T> want = RunStep<T>(m, batch, {.shuffle = 4}, weights);
      for (const int n_padding : {1, 6, 60}) {
        std::vector<Sequence> padded = batch;
        for (int i = 0; i < n_padding; ++i) padded.push_back({500u + i, 0});
        for (const bool in_one : {true, false}) {
          Result<T> got = RunStep<T>(m, padded, {.shuffle = 4}, weights, in_one);
          const std::vector<T> rest(got.out.begin() + want.out.size(), got.out.end());
          EXPECT_EQ(rest, std::vector<T>(rest.size())) << n_padding << in_one;
          got.out.resize(want.out.size());
          EXPECT_TRUE(SameBits(got.out, want.out)) << n_padding << in_one;
          EXPECT_TRUE(SameBits(got.k, want.k)) << n_padding << in_one;
          EXPECT_TRUE(SameBits(got.v, want.v)) << n_padding << in_one;
        }
      }
    }
  });
}

// Output and pages, in all sizes of pages; and one sequence, a batch, or many; which are computed
// in different ways.
TEST_P(DecodeAttentionTest, HasTheBitsOfOneAfterAnother) {
  const Model& m = GetParam();
  const Weights weights(m, kMaxContext);
  std::vector<Sequence> many = kMix;
  for (int i = 0; i < 40; ++i) many.push_back({100u + i, 1 + i * 37 % 100});
  InLane([&](auto lane) {
    using T = decltype(lane);
    for (const std::vector<Sequence>& batch : {kMix, many, {{1, 600}}, {{2, 1}}, {{3, 5121}}}) {
      const Result<T> want = RunStep<T>(m, batch, {.page_size = 64}, weights, /*in_one=*/false);
      for (const int page_size : {1, 16, 17, 64, 5200}) {
        if (page_size > 64 && batch.size() > 1) continue;  // gigabytes
        const Layout layout = {.page_size = page_size, .shuffle = 5, .overlap = page_size % 2 == 0};
        const Result<T> got = RunStep<T>(m, batch, layout, weights);
        EXPECT_TRUE(SameBits(got.out, want.out)) << page_size << " x " << batch.size();
        const Result<T> apart = RunStep<T>(m, batch, layout, weights, /*in_one=*/false);
        EXPECT_TRUE(SameBits(apart.out, want.out)) << page_size << " x " << batch.size();
        EXPECT_TRUE(SameBits(got.k, apart.k)) << page_size << " x " << batch.size();
        EXPECT_TRUE(SameBits(got.v, apart.v)) << page_size << " x " << batch.size();
      }
    }
  });
}

// So many sequences that a warp walks each kv head's keys; with long ones among them, in parts.
TEST_P(DecodeAttentionTest, ACrowdHasTheBitsOfOneAfterAnother) {
  const Model& m = GetParam();
  const Weights weights(m, kMaxContext);
  for (const int n_short : {600, 260}) {  // two kinds of rings, on a GPU of 132 multiprocessors
    std::vector<Sequence> crowd = kMix;
    for (const int length : {0, 2048, 2049, 4200}) crowd.push_back({900u + length, length});
    for (int i = 0; i < n_short / m.n_kv_heads; ++i) crowd.push_back({100u + i, 1 + i * 53 % 70});
    InLane([&](auto lane) {
      using T = decltype(lane);
      Layout layout = {.page_size = 64, .shuffle = 6, .overlap = true};
      const Result<T> want = RunStep<T>(m, crowd, layout, weights, /*in_one=*/false);
      for (const int max_kv_length : {0, 8000}) {
        layout.max_kv_length = max_kv_length;
        const Result<T> got = RunStep<T>(m, crowd, layout, weights);
        EXPECT_TRUE(SameBits(got.out, want.out)) << max_kv_length;
        EXPECT_TRUE(SameBits(got.k, want.k)) << max_kv_length;
        EXPECT_TRUE(SameBits(got.v, want.v)) << max_kv_length;
      }
      const Result<T> got = RunStep<T>(m, crowd, {.page_size = 128, .shuffle = 7}, weights);
      EXPECT_TRUE(SameBits(got.out, want.out));
    });
  }
}

// Alone, in a batch, and within limits that are far away.
TEST_P(DecodeAttentionTest, NeitherBatchNorLimitsChangeABit) {
  const Model& m = GetParam();
  const Weights weights(m, kMaxContext);
  InLane([&](auto lane) {
    using T = decltype(lane);
    const std::vector<T> want = RunStep<T>(m, kMix, {}, weights).out;
    EXPECT_TRUE(SameBits(RunStep<T>(m, kMix, {.max_kv_length = 20000}, weights).out, want));
    std::vector<T> alone, within;
    for (const Sequence& s : kMix) {
      const std::vector<T> out = RunStep<T>(m, {s}, {.page_size = 64}, weights).out;
      alone.insert(alone.end(), out.begin(), out.end());
      const std::vector<T> far = RunStep<T>(m, {s}, {.max_kv_length = 2048}, weights).out;
      within.insert(within.end(), far.begin(), far.end());
    }
    EXPECT_TRUE(SameBits(alone, want));
    EXPECT_TRUE(SameBits(within, want));
  });
}

std::vector<Model> Models() {
  const Format kBF16 = Format::kBF16, kF32 = Format::kF32;
  return {
      {kBF16, 32, 8, 128},                                          // llama-8b
      {kBF16, 32, 8, 64, false, false, RopePairing::kInterleaved},  // llama-1b's groups
      {kBF16, 9, 3, 64},                                            // SmolLM2
      {kBF16, 14, 2, 64, true},                                     // Qwen2: bias
      {kBF16, 16, 8, 128, false, true},                             // Qwen3: norms
      {kBF16, 16, 1, 128, true, true, RopePairing::kInterleaved},   // a full tile
      {kBF16, 3, 3, 80},                                            // teams with idle threads
      {kBF16, 6, 2, 96, true, true},
      {kBF16, 4, 2, 32},   // not on tensor cores
      {kBF16, 24, 1, 64},  // too large a group
      {kF32, 4, 2, 64, true, true},
      {kF32, 3, 1, 40},
  };
}

INSTANTIATE_TEST_SUITE_P(Models, DecodeAttentionTest, testing::ValuesIn(Models()),
                         [](const auto& info) {
                           const Model& m = info.param;
                           return std::string(Info(m.dtype).name) + "_" +
                                  std::to_string(m.n_heads) + "_" + std::to_string(m.n_kv_heads) +
                                  "_" + std::to_string(m.head_dim) + (m.bias ? "_bias" : "") +
                                  (m.norms ? "_norms" : "");
                         });

// ---- As a graph, with the kernel before still running -------------------------------------------

// Makes qkv late, and lets the next kernel start long before.
__global__ void CopyLate(const uint16_t* from, uint16_t* to, int n) {
  LetNextKernelStart();
  WaitForPreviousKernel();
#if __CUDA_ARCH__ >= 700
  for (int i = 0; i < 20; ++i) __nanosleep(1000);
#endif
  for (int i = threadIdx.x; i < n; i += blockDim.x) to[i] = from[i];
}

class DecodeGraphTest : public testing::TestWithParam<int> {
 protected:
  void SetUp() override { AIOS_SKIP_WITHOUT_GPU(); }
};

// A step of four layers, captured once within limits of `max_kv_length`, and replayed while two
// sequences grow over the borders of a page and of a chunk. Each layer has pages of its own, and
// all have workspace and arrivals in common. Beside it the same, one kernel after another.
TEST_P(DecodeGraphTest, ReplaysWhileSequencesGrow) {
  constexpr int kLayers = 4, kPageSize = 17, kPages = 40, kSteps = 8, kSeqs = 2;
  const Model m = {.n_heads = 8, .n_kv_heads = 2, .head_dim = 128};
  const int max_kv_length = GetParam();
  const Weights weights(m, 600);
  const int first_lengths[kSeqs] = {253, 508};  // 256, and 510 = 30 * 17, are crossed
  const size_t row = static_cast<size_t>(m.all_heads()) * m.head_dim;
  const size_t pages = kPages * 2 * kPageSize * m.kv_dim();
  const int stride = std::max(kPages, (max_kv_length + kPageSize - 1) / kPageSize);

  std::vector<int32_t> table(kSeqs * stride, 1 << 30);
  std::iota(table.rend() - kPages, table.rend(), 0);  // from the last page down
  std::iota(table.begin() + stride, table.begin() + stride + kPages, kPages);

  std::vector<uint16_t> content(kLayers * pages, 0xFFFF);  // NaN
  for (int layer = 0; layer < kLayers; ++layer) {
    for (int s = 0; s < kSeqs; ++s) {
      const std::vector<uint16_t> numbers =
          ToLane<uint16_t>(Numbers(m, first_lengths[s] * m.kv_dim(), 10 * layer + s));
      for (int p = 0; p < first_lengths[s] - 1; ++p) {
        for (int h = 0; h < m.n_kv_heads; ++h) {
          const size_t page = table[s * stride + p / kPageSize];
          std::copy_n(numbers.begin() + (size_t(p) * m.n_kv_heads + h) * m.head_dim, m.head_dim,
                      content.begin() + layer * pages +
                          ((page * m.n_kv_heads + h) * kPageSize + p % kPageSize) * m.head_dim);
        }
      }
    }
  }
  const TestBuffer<uint16_t> k(content), v(content), k_apart(content), v_apart(content);
  TestBuffer<uint16_t> made(kLayers * kSeqs * row);
  const TestBuffer<uint16_t> qkv(kSeqs * row);
  const size_t out_size = static_cast<size_t>(kSeqs) * m.n_heads * m.head_dim;
  const TestBuffer<uint16_t> q(out_size), out(kLayers * out_size), out_apart(kLayers * out_size);
  const TestBuffer<int32_t> device_table(table);
  TestBuffer<int32_t> positions(kSeqs), lengths(kSeqs);
  const TestBuffer<int32_t> offsets(std::vector<int32_t>{0, 1, 2});
  const TestBuffer<uint32_t> arrivals(std::vector<uint32_t>(kSeqs * m.n_kv_heads, 0));
  DecodeAttentionArgs args = {.rope = {.qkv = qkv.data(),
                                       .cos = weights.cos.data(),
                                       .sin = weights.sin.data(),
                                       .seq_offsets = offsets.data(),
                                       .positions = positions.data(),
                                       .n_seqs = kSeqs,
                                       .n_tokens = kSeqs,
                                       .page_table = device_table.data(),
                                       .page_table_stride = stride,
                                       .page_size = kPageSize,
                                       .n_heads = m.n_heads,
                                       .n_kv_heads = m.n_kv_heads,
                                       .head_dim = m.head_dim,
                                       .q = q.data(),
                                       .overlap_previous = true},
                              .kv_lengths = lengths.data(),
                              .max_kv_length = max_kv_length,
                              .scale = 0.0883883F,
                              .arrivals = arrivals.data()};
  const TestBuffer<uint8_t> workspace(DecodeAttentionWorkspaceBytes(args));
  args.workspace = workspace.data();
  args.workspace_bytes = workspace.size();
  const auto of_layer = [&](int layer, bool apart) {
    DecodeAttentionArgs it = args;
    it.rope.k_pages = (apart ? k_apart : k).data() + layer * pages;
    it.rope.v_pages = (apart ? v_apart : v).data() + layer * pages;
    it.out = (apart ? out_apart : out).data() + layer * out_size;
    return it;
  };

  cudaStream_t stream;
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  AIOS_CUDA_CHECK(cudaStreamCreate(&stream));
  AIOS_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  for (int layer = 0; layer < kLayers; ++layer) {
    Launch(CopyLate, {.grid = dim3(1), .block = dim3(512), .overlap_previous = true}, stream,
           made.data() + layer * kSeqs * row, qkv.data(), static_cast<int>(kSeqs * row));
    DecodeAttention(of_layer(layer, false), stream);
  }
  AIOS_CUDA_CHECK(cudaStreamEndCapture(stream, &graph));
  AIOS_CUDA_CHECK(cudaGraphInstantiate(&executable, graph, 0));
  for (int step = 0; step < kSteps; ++step) {
    std::vector<int32_t> step_positions, step_lengths;
    for (const int length : first_lengths) {
      step_lengths.push_back(length + step);
      step_positions.push_back(length + step - 1);
    }
    positions.Upload(step_positions);
    lengths.Upload(step_lengths);
    made.Upload(ToLane<uint16_t>(Numbers(m, made.size(), 1000 + step)));
    AIOS_CUDA_CHECK(cudaGraphLaunch(executable, stream));
    AIOS_CUDA_CHECK(cudaStreamSynchronize(stream));
    for (int layer = 0; layer < kLayers; ++layer) {
      DecodeAttentionArgs apart = of_layer(layer, true);
      apart.rope.qkv = made.data() + layer * kSeqs * row;
      apart.rope.overlap_previous = false;
      OneAfterAnother(apart);
    }
    AIOS_CUDA_CHECK(cudaDeviceSynchronize());
    ASSERT_TRUE(SameBits(out.Download(), out_apart.Download())) << "step " << step;
    ASSERT_TRUE(SameBits(k.Download(), k_apart.Download())) << "step " << step;
    ASSERT_TRUE(SameBits(v.Download(), v_apart.Download())) << "step " << step;
  }
  EXPECT_EQ(arrivals.Download(), std::vector<uint32_t>(kSeqs * m.n_kv_heads, 0));
  AIOS_CUDA_CHECK(cudaGraphExecDestroy(executable));
  AIOS_CUDA_CHECK(cudaGraphDestroy(graph));
  AIOS_CUDA_CHECK(cudaStreamDestroy(stream));
}

// Of clusters; of values asked for with the keys, through the workspace; and of values in turn.
INSTANTIATE_TEST_SUITE_P(Limits, DecodeGraphTest, testing::Values(600, 4096, 20000));

TEST(DecodeAttentionArgsTest, AreChecked) {
  const DecodeAttentionArgs good = {.rope = {.n_seqs = 1,
                                             .n_tokens = 1,
                                             .page_size = 16,
                                             .n_heads = 4,
                                             .n_kv_heads = 2,
                                             .head_dim = 64},
                                    .max_kv_length = 1,
                                    .scale = 1,
                                    .workspace_bytes = 1 << 20};
  const auto with = [&](auto change) {
    DecodeAttentionArgs changed = good;
    change(changed);
    return changed;
  };
  for (const DecodeAttentionArgs& bad : {
           with([](DecodeAttentionArgs& a) { a.rope.n_tokens = 2; }),
           with([](DecodeAttentionArgs& a) { a.rope.n_heads = 5; }),
           with([](DecodeAttentionArgs& a) { a.rope.page_size = 0; }),
           with([](DecodeAttentionArgs& a) { a.rope.head_dim = 12; }),
           with([](DecodeAttentionArgs& a) { a.rope.head_dim = 264; }),
           with([](DecodeAttentionArgs& a) { a.rope.dtype = Format::kQ4_0; }),
           with([](DecodeAttentionArgs& a) { a.scale = 0; }),
           with([](DecodeAttentionArgs& a) { a.workspace_bytes = 0; }),
       }) {
    EXPECT_THROW(DecodeAttention(bad, nullptr), std::invalid_argument);
  }
}

}  // namespace
}  // namespace aios::kernels::cuda
