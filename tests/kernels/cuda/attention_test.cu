// Attention against loops in double over gathered keys, and against itself: the batch, the pages
// and the way a prefill was chunked must not change one bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "kernels/cuda/attention.h"
#include "tests/kernels/cuda/gpu_testing.h"

namespace aios::kernels::cuda {
namespace {

struct Model {
  Format dtype = Format::kF32;
  int n_heads = 4;
  int n_kv_heads = 2;
  int head_dim = 64;
  float q_scale = 1;  // large: scores of hundreds, one key takes all
};

// A step of a sequence: its last n_rows rows. What its keys, values and queries are depends on the
// seed and on the position alone, so that steps of one sequence agree with each other.
struct Step {
  uint64_t seed = 1;
  int n_rows = 1;
  int kv_length = 1;
};

struct Layout {
  int page_size = 16;
  uint64_t shuffle = 0;  // seed of the order of pages
  int extra_max_rows = 0;
  int extra_max_kv_length = 0;
  bool deterministic = true;
  int first_row = 0;
  bool share_first_page = false;  // sequences of the same seed keep their first page in common
};

// What a sequence holds, as the lane rounds it: [position][head][head_dim].
struct Content {
  std::vector<float> q, k, v;
};

// Evenly distributed with variance scale^2. Steps are made over and over: std's normal numbers
// would take most of the test's time.
std::vector<float> CheapRandomFloats(size_t n, uint64_t seed, float scale = 1) {
  std::vector<float> values(n);
  uint64_t state = seed * 0x9E3779B97F4A7C15ull + 1;
  for (float& value : values) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;  // Knuth's MMIX
    value = scale * 1.7320508f * (static_cast<float>(state >> 40) * 0x1p-23f - 1);
  }
  return values;
}

Content MakeContent(const Model& model, const Step& step) {
  const size_t kv_numbers = size_t(step.kv_length) * model.n_kv_heads * model.head_dim;
  const size_t q_numbers = size_t(step.kv_length) * model.n_heads * model.head_dim;
  Content content = {CheapRandomFloats(q_numbers, 3 * step.seed, model.q_scale),
                     CheapRandomFloats(kv_numbers, 3 * step.seed + 1),
                     CheapRandomFloats(kv_numbers, 3 * step.seed + 2)};
  if (model.dtype == Format::kBF16) {
    for (auto* numbers : {&content.q, &content.k, &content.v})
      for (float& x : *numbers) x = BF16ToFloat(FloatToBF16(x));
  }
  return content;
}

template <typename T>
std::vector<T> Lane(const std::vector<float>& values) {
  if constexpr (sizeof(T) == 2) {
    return ToBF16(values);
  } else {
    return values;
  }
}

// out [n_tokens, n_heads, head_dim] of the batch, as f32. Slots without a key hold NaN.
template <typename T>
std::vector<float> AttendLane(const Model& model, const std::vector<Step>& batch,
                              const Layout& layout) {
  const int n_seqs = static_cast<int>(batch.size());
  const int width = model.head_dim;
  std::vector<int32_t> seq_offsets = {layout.first_row}, kv_lengths;
  AttentionArgs args;
  int n_pages = 0;
  int stride = 1;
  for (const Step& step : batch) {
    seq_offsets.push_back(seq_offsets.back() + step.n_rows);
    kv_lengths.push_back(step.kv_length);
    args.max_rows = std::max(args.max_rows, step.n_rows);
    args.max_kv_length = std::max(args.max_kv_length, step.kv_length);
    const int pages = (step.kv_length + layout.page_size - 1) / layout.page_size;
    n_pages += pages;
    stride = std::max(stride, pages + 1);
  }
  const int n_tokens = seq_offsets.back() - layout.first_row;

  std::vector<int32_t> free_pages(n_pages);
  std::iota(free_pages.begin(), free_pages.end(), 0);
  std::mt19937_64 random(layout.shuffle);
  std::shuffle(free_pages.begin(), free_pages.end(), random);

  const size_t pool = size_t(n_pages) * model.n_kv_heads * layout.page_size * width;
  std::vector<float> k_pool(pool, NAN), v_pool(pool, NAN), q;
  // Entries that are not to be read point far outside of the pool.
  std::vector<int32_t> table(size_t(n_seqs) * stride, 1 << 30);
  for (int s = 0; s < n_seqs; ++s) {
    const Step& step = batch[s];
    const Content content = MakeContent(model, step);
    for (int p = 0; p < step.kv_length; ++p) {
      int32_t& page = table[size_t(s) * stride + p / layout.page_size];
      if (p % layout.page_size == 0) {
        const bool shared = layout.share_first_page && p == 0 && s > 0 &&
                            batch[0].seed == step.seed && step.kv_length >= layout.page_size &&
                            batch[0].kv_length >= layout.page_size;
        if (shared) {
          page = table[0];
        } else {
          page = free_pages.back();
          free_pages.pop_back();
        }
      }
      for (int h = 0; h < model.n_kv_heads; ++h) {
        const size_t from = (size_t(p) * model.n_kv_heads + h) * width;
        const size_t to =
            ((size_t(page) * model.n_kv_heads + h) * layout.page_size + p % layout.page_size) *
            width;
        std::copy_n(content.k.begin() + from, width, k_pool.begin() + to);
        std::copy_n(content.v.begin() + from, width, v_pool.begin() + to);
      }
    }
    if (step.kv_length == 0) q.insert(q.end(), size_t(step.n_rows) * model.n_heads * width, 1.0F);
    if (step.kv_length == 0) continue;
    const size_t rows_begin = size_t(step.kv_length - step.n_rows) * model.n_heads * width;
    q.insert(q.end(), content.q.begin() + rows_begin, content.q.end());
  }

  const auto to_lane = [](const std::vector<float>& values) {
    std::vector<T> lane = Lane<T>(values);
    if constexpr (sizeof(T) == 2) {  // Rounding a NaN may give anything.
      for (size_t i = 0; i < values.size(); ++i)
        if (std::isnan(values[i])) lane[i] = 0xFFFF;
    }
    return lane;
  };
  const TestBuffer<T> q_device(Lane<T>(q)), k_device(to_lane(k_pool)), v_device(to_lane(v_pool));
  const TestBuffer<int32_t> offsets_device(seq_offsets), lengths_device(kv_lengths);
  const TestBuffer<int32_t> table_device(table);
  const TestBuffer<T> out_device(size_t(n_tokens) * model.n_heads * width);

  args.dtype = model.dtype;
  args.q = q_device.data();
  args.k_pages = k_device.data();
  args.v_pages = v_device.data();
  args.out = out_device.data();
  args.page_table = table_device.data();
  args.page_table_stride = stride;
  args.seq_offsets = offsets_device.data();
  args.first_row = layout.first_row;
  args.kv_lengths = lengths_device.data();
  args.n_seqs = n_seqs;
  args.n_tokens = n_tokens;
  args.max_rows += layout.extra_max_rows;
  args.max_kv_length += layout.extra_max_kv_length;
  args.page_size = layout.page_size;
  args.n_heads = model.n_heads;
  args.n_kv_heads = model.n_kv_heads;
  args.head_dim = model.head_dim;
  args.scale = 1 / std::sqrt(static_cast<float>(model.head_dim));
  args.deterministic = layout.deterministic;
  const TestBuffer<uint8_t> workspace(AttentionWorkspaceBytes(args));
  args.workspace = workspace.data();
  args.workspace_bytes = workspace.size();
  Attention(args, nullptr);
  AIOS_CUDA_CHECK(cudaDeviceSynchronize());

  std::vector<float> out;
  for (const T x : out_device.Download()) {
    if constexpr (sizeof(T) == 2) {
      out.push_back(BF16ToFloat(x));
    } else {
      out.push_back(x);
    }
  }
  return out;
}

std::vector<float> Attend(const Model& model, const std::vector<Step>& batch,
                          const Layout& layout = {}) {
  return model.dtype == Format::kF32 ? AttendLane<float>(model, batch, layout)
                                     : AttendLane<uint16_t>(model, batch, layout);
}

// The same in double, each row on its own.
std::vector<double> Reference(const Model& model, const std::vector<Step>& batch) {
  std::vector<double> out;
  const int width = model.head_dim;
  for (const Step& step : batch) {
    const Content content = MakeContent(model, step);
    for (int p = step.kv_length - step.n_rows; p < step.kv_length; ++p) {
      for (int h = 0; h < model.n_heads; ++h) {
        const float* q = &content.q[(size_t(p) * model.n_heads + h) * width];
        const int kv_head = h / (model.n_heads / model.n_kv_heads);
        std::vector<double> scores(p + 1);
        for (int key = 0; key <= p; ++key) {
          const float* k = &content.k[(size_t(key) * model.n_kv_heads + kv_head) * width];
          double four[4] = {};  // chains, since one would wait for itself
          for (int d = 0; d < width; ++d) four[d % 4] += double(q[d]) * k[d];
          scores[key] = (four[0] + four[1]) + (four[2] + four[3]);
          scores[key] *= 1 / std::sqrt(static_cast<float>(width));
        }
        const double max = *std::max_element(scores.begin(), scores.end());
        std::vector<double> row(width);
        double sum = 0;
        for (int key = 0; key <= p; ++key) {
          const float* v = &content.v[(size_t(key) * model.n_kv_heads + kv_head) * width];
          const double probability = std::exp(scores[key] - max);
          sum += probability;
          for (int d = 0; d < width; ++d) row[d] += probability * v[d];
        }
        for (const double x : row) out.push_back(x / sum);
      }
    }
  }
  return out;
}

// ||got - want|| / ||want||, of the worst row.
double WorstRow(const std::vector<float>& got, const std::vector<double>& want, int width) {
  double worst = 0;
  for (size_t row = 0; row < want.size(); row += width) {
    double difference = 0, norm = 0;
    for (size_t i = row; i < row + width; ++i) {
      difference += (got[i] - want[i]) * (got[i] - want[i]);
      norm += want[i] * want[i];
    }
    const double error = std::sqrt(difference / norm);
    if (!(error <= worst)) worst = error;  // NaN too.
  }
  return worst;
}

void ExpectRight(const Model& model, const std::vector<Step>& batch, const Layout& layout = {}) {
  SCOPED_TRACE(std::string(Info(model.dtype).name) + " head_dim " + std::to_string(model.head_dim) +
               " heads " + std::to_string(model.n_heads) + "/" + std::to_string(model.n_kv_heads) +
               " page_size " + std::to_string(layout.page_size));
  const std::vector<float> got = Attend(model, batch, layout);
  const std::vector<double> want = Reference(model, batch);
  ASSERT_EQ(got.size(), want.size());
  // bf16: the result is rounded to 8 bits, the probabilities before it. Scores of hundreds carry
  // f32's rounding errors of 1e-5 into the exponent.
  double tolerance = model.dtype == Format::kF32 ? 3e-6 : 6e-3;
  if (model.dtype == Format::kF32 && model.q_scale > 1) tolerance = 2e-4;
  EXPECT_LE(WorstRow(got, want, model.head_dim), tolerance);
}

// Both lanes, and in bf16 head_dims with and without a tensor-core kernel.
class AttentionTest : public testing::TestWithParam<Model> {
 protected:
  void SetUp() override { AIOS_SKIP_WITHOUT_GPU(); }
};

// Steps of all kinds: a first token, decode at lengths around tiles and chunks, whole prefills,
// later chunks of prefills, and few rows (speculative decoding).
const std::vector<Step> kMix = {{1, 1, 1},    {2, 17, 17}, {3, 1, 255}, {4, 1, 256},   {5, 70, 300},
                                {6, 1, 257},  {7, 3, 64},  {8, 2, 513}, {9, 129, 129}, {10, 1, 700},
                                {11, 65, 65}, {12, 5, 31}, {13, 16, 16}};

TEST_P(AttentionTest, MixOfPrefillAndDecode) {
  ExpectRight(GetParam(), kMix, {.page_size = 16, .shuffle = 7});
  // Pages of other sizes: NeitherBatchNorPagesNorLimitsChangeABit.
}

// With room for many chunks, they are spread over the GPU in another way.
TEST_P(AttentionTest, MixWithinLargeLimits) {
  ExpectRight(GetParam(), kMix, {.extra_max_rows = 9, .extra_max_kv_length = 20000});
}

// Where another order of sums is allowed, long prefills may go to another kernel.
TEST_P(AttentionTest, FasterOrders) {
  ExpectRight(GetParam(), kMix, {.page_size = 64, .deterministic = false});
  ExpectRight(GetParam(), {{1, 200, 333}, {2, 200, 200}}, {.deterministic = false});
  ExpectRight(GetParam(), {{1, 200, 333}, {2, 2, 200}}, {.page_size = 17, .deterministic = false});
  ExpectRight(GetParam(), {{1, 200, 333}}, {.page_size = 1000, .deterministic = false});
  // What stays in the one order keeps its bits beside what does not.
  const Model& model = GetParam();
  const size_t row = static_cast<size_t>(model.n_heads) * model.head_dim;
  const std::vector<Step> batch = {{1, 1, 300}, {2, 33, 80}, {3, 150, 150}, {4, 3, 700}};
  const std::vector<float> free = Attend(model, batch, {.deterministic = false});
  const std::vector<float> fixed = Attend(model, batch);
  EXPECT_TRUE(std::equal(free.begin(), free.begin() + 34 * row, fixed.begin()));
  EXPECT_TRUE(std::equal(free.end() - 3 * row, free.end(), fixed.end() - 3 * row));
}

TEST_P(AttentionTest, OnlyDecode) {
  ExpectRight(GetParam(), {{1, 1, 1000}}, {.page_size = 64});
  ExpectRight(GetParam(), {{1, 1, 33}, {2, 1, 2049}, {3, 1, 512}}, {.page_size = 64});
}

TEST_P(AttentionTest, OnlyPrefill) {
  for (const int n : {1, 3, 7, 63, 64, 65, 128, 300}) {
    ExpectRight(GetParam(), {{static_cast<uint64_t>(n), n, n}});
  }
}

TEST_P(AttentionTest, LargeScores) {
  Model model = GetParam();
  model.q_scale = 60;
  ExpectRight(model, kMix);
}

TEST_P(AttentionTest, SharedPages) {
  const std::vector<Step> batch = {{1, 1, 100}, {1, 40, 90}, {1, 1, 64}};
  ExpectRight(GetParam(), batch, {.page_size = 64, .share_first_page = true});
}

TEST_P(AttentionTest, SequencesWithoutRows) {
  const std::vector<Step> with = {{1, 0, 50}, {2, 1, 80}, {3, 0, 1}, {4, 33, 60}, {5, 0, 9}};
  const std::vector<Step> without = {{2, 1, 80}, {4, 33, 60}};
  EXPECT_EQ(Attend(GetParam(), with), Attend(GetParam(), without));
}

TEST_P(AttentionTest, RowsWithoutKeysGiveZeros) {
  std::vector<Step> with = kMix;
  with.push_back({20, 1, 0});
  with.push_back({21, 2, 0});
  const std::vector<float> want = Attend(GetParam(), kMix);
  std::vector<float> got = Attend(GetParam(), with);
  const size_t row = static_cast<size_t>(GetParam().n_heads) * GetParam().head_dim;
  ASSERT_EQ(got.size(), want.size() + 3 * row);
  EXPECT_EQ(std::vector<float>(got.end() - 3 * row, got.end()), std::vector<float>(3 * row));
  got.resize(want.size());
  EXPECT_EQ(got, want);
}

// Part of a larger batch.
TEST_P(AttentionTest, RowsAreCountedFromTheFirst) {
  for (const bool deterministic : {true, false}) {
    EXPECT_EQ(Attend(GetParam(), kMix, {.deterministic = deterministic, .first_row = 37}),
              Attend(GetParam(), kMix, {.deterministic = deterministic}));
  }
}

// ---- Not one bit --------------------------------------------------------------------------------

TEST_P(AttentionTest, NeitherBatchNorPagesNorLimitsChangeABit) {
  const std::vector<float> mixed = Attend(GetParam(), kMix, {.page_size = 16, .shuffle = 1});
  for (const int page_size : {1, 17, 64, 1000}) {
    EXPECT_EQ(Attend(GetParam(), kMix, {.page_size = page_size, .shuffle = 2}), mixed) << page_size;
  }
  // A captured launch is made for the largest sizes.
  EXPECT_EQ(Attend(GetParam(), kMix,
                   {.page_size = 16, .extra_max_rows = 300, .extra_max_kv_length = 20000}),
            mixed);
  std::vector<float> alone;
  for (const Step& step : kMix) {
    const std::vector<float> out = Attend(GetParam(), {step}, {.page_size = 256});
    alone.insert(alone.end(), out.begin(), out.end());
  }
  EXPECT_EQ(alone, mixed);
}

TEST_P(AttentionTest, ChunkingAPrefillChangesNoBit) {
  constexpr int kLength = 600;
  const std::vector<float> whole = Attend(GetParam(), {{1, kLength, kLength}});
  for (const std::vector<int>& chunks : std::vector<std::vector<int>>{
           {300, 300}, {1, 1, 1, 200, 1, 5, 64, 256, 1, 70}, {512, 87, 1}, {17, 582, 1}}) {
    std::vector<float> chunked;
    int length = 0;
    for (const int n : chunks) {
      length += n;
      const std::vector<float> out = Attend(GetParam(), {{1, n, length}, {2, 1, 50}});
      chunked.insert(chunked.end(), out.begin(),
                     out.begin() + size_t(n) * GetParam().n_heads * GetParam().head_dim);
    }
    ASSERT_EQ(length, kLength);
    EXPECT_EQ(chunked, whole);
  }
}

// The definition of a row without a fold of sums: with one key, its value.
TEST_P(AttentionTest, OneKeyGivesItsValue) {
  const Model& model = GetParam();
  const Step step = {5, 1, 1};
  const std::vector<float> got = Attend(model, {step});
  const Content content = MakeContent(model, step);
  const int group = model.n_heads / model.n_kv_heads;
  for (int i = 0; i < model.n_heads * model.head_dim; ++i) {
    const int head = i / model.head_dim;
    EXPECT_EQ(got[i], content.v[head / group * model.head_dim + i % model.head_dim]);
  }
}

std::vector<Model> Models() {
  std::vector<Model> models;
  for (const Format dtype : {Format::kF32, Format::kBF16}) {
    for (const int head_dim : {16, 32, 40, 64, 80, 96, 128, 256}) {
      models.push_back({dtype, 4, 2, head_dim});
    }
    models.push_back({dtype, 3, 3, 64});    // one query head each
    models.push_back({dtype, 8, 1, 128});   // all heads read one
    models.push_back({dtype, 16, 1, 64});   // a full tile of tensor cores
    models.push_back({dtype, 24, 1, 64});   // more than that: never split
    models.push_back({dtype, 9, 3, 64});    // SmolLM2: groups that fill no tile
    models.push_back({dtype, 14, 2, 128});  // Qwen2's groups of 7
  }
  return models;
}

INSTANTIATE_TEST_SUITE_P(Models, AttentionTest, testing::ValuesIn(Models()), [](const auto& info) {
  const Model& model = info.param;
  return std::string(Info(model.dtype).name) + "_" + std::to_string(model.n_heads) + "_" +
         std::to_string(model.n_kv_heads) + "_" + std::to_string(model.head_dim);
});

TEST(Attention, RefusesWhatItCannotDo) {
  AttentionArgs args = {.n_seqs = 1,
                        .n_tokens = 1,
                        .max_rows = 1,
                        .max_kv_length = 1,
                        .page_size = 16,
                        .n_heads = 4,
                        .n_kv_heads = 2,
                        .head_dim = 64,
                        .scale = 1};
  EXPECT_THROW(Attention(args, nullptr), std::invalid_argument);  // No workspace.
  args.workspace_bytes = 1 << 20;
  const auto with = [&](auto change) {
    AttentionArgs changed = args;
    change(changed);
    return changed;
  };
  for (const AttentionArgs& bad : {
           with([](AttentionArgs& a) { a.head_dim = 12; }),
           with([](AttentionArgs& a) { a.head_dim = 264; }),
           with([](AttentionArgs& a) { a.n_heads = 5; }),
           with([](AttentionArgs& a) { a.page_size = 0; }),
           with([](AttentionArgs& a) { a.scale = 0; }),
           with([](AttentionArgs& a) { a.dtype = Format::kQ4_0; }),
       }) {
    EXPECT_THROW(Attention(bad, nullptr), std::invalid_argument);
  }
}

}  // namespace
}  // namespace aios::kernels::cuda
