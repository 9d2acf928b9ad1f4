#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "kernels/cuda/rope_kv.h"
#include "tests/kernels/cuda/gpu_testing.h"

namespace aios::kernels::cuda {
namespace {

class RopeKvTest : public ::testing::Test {
 protected:
  void SetUp() override { AIOS_SKIP_WITHOUT_GPU(); }
};

constexpr int kMaxContext = 320;
constexpr float kEps = 1e-5F;

struct Sequence {
  int n_rows;
  int kv_length;  // 0 with one row: a row that is no token
};

struct Case {
  Format dtype = Format::kF32;
  int n_heads = 6;
  int n_kv_heads = 2;
  int head_dim = 64;
  int page_size = 16;
  bool bias = false;
  bool norms = false;
  RopePairing pairing = RopePairing::kHalves;
  bool overlap = false;
  int first_row = 0;
  int shift = 0;  // numbers by which qkv is off its alignment
};

// Everything a case needs, as f32 on the host; in the bf16 lane already rounded.
struct Problem {
  Problem(const Case& c, const std::vector<Sequence>& sequences)
      : all_heads(c.n_heads + 2 * c.n_kv_heads) {
    offsets = {c.first_row};
    pages_per_seq = (kMaxContext + c.page_size - 1) / c.page_size;
    n_pages = pages_per_seq * static_cast<int>(sequences.size());
    for (const Sequence& s : sequences) {
      for (int r = 0; r < s.n_rows; ++r) positions.push_back(s.kv_length - s.n_rows + r);
      offsets.push_back(c.first_row + static_cast<int>(positions.size()));
    }
    // 7 and the number of pages must have no common factor: then these are all of them, permuted.
    while (n_pages % 7 == 0) ++n_pages;
    for (size_t i = 0; i < sequences.size() * pages_per_seq; ++i) {
      page_table.push_back(static_cast<int>((3 + 7 * i) % n_pages));
    }
    const size_t n = positions.size() * all_heads * c.head_dim;
    qkv = RandomFloats(n, 1);
    if (c.dtype == Format::kBF16) {
      for (float& x : qkv) x = BF16ToFloat(FloatToBF16(x));
    }
    bias = RandomFloats(static_cast<size_t>(all_heads) * c.head_dim, 2);
    q_norm = RandomFloats(c.head_dim, 3);
    k_norm = RandomFloats(c.head_dim, 4);
    for (int p = 0; p < kMaxContext; ++p) {
      for (int i = 0; i < c.head_dim / 2; ++i) {
        const double angle = p * std::pow(10000, -2.0 * i / c.head_dim);
        cos.push_back(static_cast<float>(std::cos(angle)));
        sin.push_back(static_cast<float>(std::sin(angle)));
      }
    }
  }
  int n_tokens() const { return static_cast<int>(positions.size()); }

  int all_heads, pages_per_seq, n_pages;
  std::vector<int32_t> offsets, positions, page_table;
  std::vector<float> qkv, bias, q_norm, k_norm, cos, sin;
};

// Head `head` of q, k, v (in this order) of a row, by plain loops in double.
std::vector<double> Reference(const Case& c, const Problem& p, int row, int head) {
  const int n = c.head_dim;
  std::vector<double> x(n), out(n);
  for (int d = 0; d < n; ++d) {
    x[d] = p.qkv[(static_cast<size_t>(row) * p.all_heads + head) * n + d];
    if (c.bias) x[d] += p.bias[head * n + d];
  }
  if (head >= c.n_heads + c.n_kv_heads) return x;
  if (c.norms) {
    double squares = 0;
    for (const double a : x) squares += a * a;
    const double rms = std::sqrt(squares / n + double{kEps});
    for (int d = 0; d < n; ++d) x[d] *= (head < c.n_heads ? p.q_norm : p.k_norm)[d] / rms;
  }
  for (int i = 0; i < n / 2; ++i) {
    const double angle = p.positions[row] * std::pow(10000, -2.0 * i / n);
    const int a = c.pairing == RopePairing::kHalves ? i : 2 * i;
    const int b = c.pairing == RopePairing::kHalves ? i + n / 2 : 2 * i + 1;
    out[a] = x[a] * std::cos(angle) - x[b] * std::sin(angle);
    out[b] = x[b] * std::cos(angle) + x[a] * std::sin(angle);
  }
  return out;
}

// What the kernel made, as bits of its dtype.
template <typename T>
struct Output {
  std::vector<T> q, k, v;
};

template <typename T>
Output<T> Compute(const Case& c, const Problem& p) {
  std::vector<T> qkv(c.shift);
  for (const float x : p.qkv) {
    if constexpr (sizeof(T) == 2) {
      qkv.push_back(FloatToBF16(x));
    } else {
      qkv.push_back(x);
    }
  }
  const TestBuffer<T> device_qkv(qkv);
  const TestBuffer<float> bias(p.bias), q_norm(p.q_norm), k_norm(p.k_norm), cos(p.cos), sin(p.sin);
  const TestBuffer<int32_t> offsets(p.offsets), positions(p.positions), table(p.page_table);
  const TestBuffer<T> q(static_cast<size_t>(p.n_tokens()) * c.n_heads * c.head_dim);
  const size_t pages = static_cast<size_t>(p.n_pages) * c.n_kv_heads * c.page_size * c.head_dim;
  const TestBuffer<T> k(pages), v(pages);
  RopeAndStoreKv({.dtype = c.dtype,
                  .qkv = device_qkv.data() + c.shift,
                  .bias = c.bias ? bias.data() : nullptr,
                  .q_norm = c.norms ? q_norm.data() : nullptr,
                  .k_norm = c.norms ? k_norm.data() : nullptr,
                  .eps = kEps,
                  .cos = cos.data(),
                  .sin = sin.data(),
                  .pairing = c.pairing,
                  .seq_offsets = offsets.data(),
                  .first_row = c.first_row,
                  .positions = positions.data(),
                  .n_seqs = static_cast<int>(p.offsets.size()) - 1,
                  .n_tokens = p.n_tokens(),
                  .page_table = table.data(),
                  .page_table_stride = p.pages_per_seq,
                  .page_size = c.page_size,
                  .k_pages = k.data(),
                  .v_pages = v.data(),
                  .n_heads = c.n_heads,
                  .n_kv_heads = c.n_kv_heads,
                  .head_dim = c.head_dim,
                  .q = q.data(),
                  .overlap_previous = c.overlap},
                 nullptr);
  return {q.Download(), k.Download(), v.Download()};
}

float AsFloat(float x) { return x; }
float AsFloat(uint16_t x) { return BF16ToFloat(x); }

// Every number is right, and nothing else in the pages was written (they begin as NaN).
template <typename T>
void Check(const Case& c, const std::vector<Sequence>& sequences) {
  SCOPED_TRACE(testing::Message() << "head_dim " << c.head_dim << " heads " << c.n_heads << " of "
                                  << c.n_kv_heads << " bias " << c.bias << " norms " << c.norms
                                  << " halves " << (c.pairing == RopePairing::kHalves) << " bytes "
                                  << sizeof(T));
  const Problem p(c, sequences);
  const Output<T> got = Compute<T>(c, p);
  const double relative = sizeof(T) == 2 ? 0.004 : 4e-6;
  int64_t n_written = 0;
  for (size_t s = 0; s < sequences.size(); ++s) {
    for (int row = p.offsets[s] - c.first_row; row < p.offsets[s + 1] - c.first_row; ++row) {
      for (int head = 0; head < p.all_heads; ++head) {
        if (p.positions[row] < 0) {
          for (int d = 0; d < c.head_dim && head < c.n_heads; ++d) {
            const size_t at = (static_cast<size_t>(row) * c.n_heads + head) * c.head_dim + d;
            ASSERT_TRUE(std::isfinite(AsFloat(got.q[at]))) << "row " << row << " head " << head;
          }
          continue;
        }
        const auto want = Reference(c, p, row, head);
        const T* out = got.q.data() + (static_cast<size_t>(row) * c.n_heads + head) * c.head_dim;
        if (head >= c.n_heads) {
          const int kv_head = (head - c.n_heads) % c.n_kv_heads;
          const int position = p.positions[row];
          const size_t page = p.page_table[s * p.pages_per_seq + position / c.page_size];
          out =
              (head < c.n_heads + c.n_kv_heads ? got.k : got.v).data() +
              ((page * c.n_kv_heads + kv_head) * c.page_size + position % c.page_size) * c.head_dim;
          n_written += c.head_dim;
        }
        for (int d = 0; d < c.head_dim; ++d) {
          ASSERT_NEAR(AsFloat(out[d]), want[d], relative * std::abs(want[d]) + 4e-6)
              << "row " << row << " head " << head << " number " << d;
        }
      }
    }
  }
  for (const auto* pages : {&got.k, &got.v}) {
    for (const T x : *pages) n_written -= std::isnan(AsFloat(x)) ? 0 : 1;
  }
  EXPECT_EQ(n_written, 0);
}

const std::vector<Sequence> kMixed = {{1, 1},   {7, 20}, {0, 3},   {1, 300},
                                      {17, 17}, {0, 1},  {2, 320}, {1, 0}};

TEST_F(RopeKvTest, EqualsDoublesAndTouchesNothingElse) {
  for (const int head_dim : {2, 6, 16, 32, 64, 80, 96, 128, 256, 300}) {
    for (const int extras : {0, 1, 2, 3}) {
      for (const auto pairing : {RopePairing::kHalves, RopePairing::kInterleaved}) {
        Case c = {.head_dim = head_dim,
                  .bias = extras % 2 == 1,
                  .norms = extras >= 2,
                  .pairing = pairing,
                  .overlap = extras == 3};
        Check<float>(c, kMixed);
        c.dtype = Format::kBF16;
        Check<uint16_t>(c, kMixed);
      }
    }
  }
}

TEST_F(RopeKvTest, HeadsAndPagesOfManyShapes) {
  for (const auto& [n_heads, n_kv_heads] : {std::pair{1, 1}, {9, 3}, {32, 8}, {14, 2}, {7, 7}}) {
    for (const int page_size : {1, 16, 17, 48, 64, 256, 320}) {
      const Case c = {.dtype = Format::kBF16,
                      .n_heads = n_heads,
                      .n_kv_heads = n_kv_heads,
                      .head_dim = 64,
                      .page_size = page_size,
                      .bias = true,
                      .norms = true};
      Check<uint16_t>(c, kMixed);
    }
  }
}

// The search for a token's sequence goes 32 at a time.
TEST_F(RopeKvTest, ManySequences) {
  for (const int n_seqs : {31, 32, 33, 34, 64, 65, 200}) {
    std::vector<Sequence> sequences;
    for (int s = 0; s < n_seqs; ++s) sequences.push_back({(s + 2) % 3, 5 + s});
    Check<uint16_t>({.dtype = Format::kBF16, .n_heads = 2, .n_kv_heads = 1}, sequences);
  }
}

TEST_F(RopeKvTest, RowsAreCountedFromTheFirst) {
  Check<float>({.norms = true, .first_row = 41}, kMixed);
  Check<uint16_t>({.dtype = Format::kBF16, .first_row = 41}, kMixed);
  Check<uint16_t>({.dtype = Format::kBF16, .head_dim = 6, .first_row = 41}, kMixed);
}

TEST_F(RopeKvTest, MisalignedInputs) {
  Check<float>({.shift = 1}, kMixed);
  Check<float>({.page_size = 17, .shift = 1}, kMixed);
  Check<uint16_t>({.dtype = Format::kBF16, .shift = 1}, kMixed);
}

TEST_F(RopeKvTest, TheBatchDoesNotChangeTheBits) {
  const Case c = {.dtype = Format::kBF16, .bias = true, .norms = true};
  const Problem all(c, {{17, 40}});
  const auto want = Compute<uint16_t>(c, all);
  for (int row = 0; row < 17; ++row) {
    Problem one(c, {{0, 1}, {1, 24 + row}, {0, 5}});
    const size_t n = static_cast<size_t>(all.all_heads) * c.head_dim;
    one.qkv.assign(all.qkv.begin() + row * n, all.qkv.begin() + (row + 1) * n);
    const auto got = Compute<uint16_t>(c, one);
    const size_t q_dim = static_cast<size_t>(c.n_heads) * c.head_dim;
    ASSERT_EQ(std::memcmp(got.q.data(), want.q.data() + row * q_dim, q_dim * 2), 0) << row;
  }
}

TEST(RopeKvArgsTest, AreChecked) {
  const RopeKvArgs good = {.dtype = Format::kBF16, .page_size = 16, .head_dim = 64};
  RopeKvArgs bad = good;
  bad.head_dim = 63;
  EXPECT_THROW(RopeAndStoreKv(bad, nullptr), std::invalid_argument);
  bad = good;
  bad.page_size = 0;
  EXPECT_THROW(RopeAndStoreKv(bad, nullptr), std::invalid_argument);
  bad = good;
  bad.dtype = Format::kF16;
  bad.n_tokens = 1;
  EXPECT_THROW(RopeAndStoreKv(bad, nullptr), std::invalid_argument);
}

}  // namespace
}  // namespace aios::kernels::cuda
