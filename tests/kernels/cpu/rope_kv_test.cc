#include "kernels/cpu/rope_kv.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "tests/kernels/cpu/ops_testing.h"

namespace aios::kernels::cpu {
namespace {

constexpr int kMaxContext = 320;

struct Inputs {
  Inputs(int64_t n_tokens, int n_heads, int n_kv_heads, int head_dim)
      : qkv(Normal(n_tokens * (n_heads + 2 * n_kv_heads) * head_dim, 1)),
        bias(Normal((n_heads + 2 * n_kv_heads) * head_dim, 2)),
        q_norm(Normal(head_dim, 3)),
        k_norm(Normal(head_dim, 4)) {
    for (int p = 0; p < kMaxContext; ++p) {
      for (int i = 0; i < head_dim / 2; ++i) {
        const double angle = p * std::pow(10000, -2.0 * i / head_dim);
        cos.push_back(static_cast<float>(std::cos(angle)));
        sin.push_back(static_cast<float>(std::sin(angle)));
      }
    }
  }
  RopeKvArgs Args(const Cache& cache, int n_heads, bool extras, RopePairing pairing, float* q) {
    return {.qkv = qkv.data(),
            .bias = extras ? bias.data() : nullptr,
            .q_norm = extras ? q_norm.data() : nullptr,
            .k_norm = extras ? k_norm.data() : nullptr,
            .cos = cos.data(),
            .sin = sin.data(),
            .max_context = kMaxContext,
            .pairing = pairing,
            .n_heads = n_heads,
            .batch = cache.batch,
            .kv = cache.kv,
            .q = q};
  }
  std::vector<float> qkv, bias, q_norm, k_norm, cos, sin;
};

// Head `head` of q, k, v (in this order) of a row, by plain loops in double.
std::vector<double> Reference(const RopeKvArgs& args, int64_t row, int64_t head) {
  const int64_t n = args.kv.head_dim, all = args.n_heads + 2 * args.kv.n_kv_heads;
  std::vector<double> x(n), out(n);
  for (int64_t d = 0; d < n; ++d) {
    x[d] = args.qkv[(row * all + head) * n + d];
    if (args.bias != nullptr) x[d] += args.bias[head * n + d];
  }
  if (head >= args.n_heads + args.kv.n_kv_heads) return x;
  const float* norm = head < args.n_heads ? args.q_norm : args.k_norm;
  if (norm != nullptr) {
    double squares = 0;
    for (const double a : x) squares += a * a;
    const double rms = std::sqrt(squares / static_cast<double>(n) + double{args.eps});
    for (int64_t d = 0; d < n; ++d) x[d] *= norm[d] / rms;
  }
  for (int64_t i = 0; i < n / 2; ++i) {
    const double angle = args.batch.positions[row] * std::pow(10000, -2.0 * i / n);
    const int64_t a = args.pairing == RopePairing::kHalves ? i : 2 * i;
    const int64_t b = args.pairing == RopePairing::kHalves ? i + n / 2 : 2 * i + 1;
    out[a] = x[a] * std::cos(angle) - x[b] * std::sin(angle);
    out[b] = x[b] * std::cos(angle) + x[a] * std::sin(angle);
  }
  return out;
}

TEST(RopeAndStoreKvTest, EqualsPlainLoopsAndTouchesNothingElse) {
  for (const int head_dim : {2, 6, 16, 32, 64, 80, 128}) {
    for (const bool extras : {false, true}) {
      for (const auto pairing : {RopePairing::kHalves, RopePairing::kInterleaved}) {
        ForEachTarget([&] {
          Cache cache({{1, 1}, {7, 20}, {0, 3}, {1, 300}, {17, 17}}, 16, 2, head_dim);
          Inputs inputs(cache.n_tokens(), 6, 2, head_dim);
          std::vector<float> q(cache.n_tokens() * 6 * head_dim + 1, NAN);
          const RopeKvArgs args = inputs.Args(cache, 6, extras, pairing, q.data());
          RopeAndStoreKv(args, 0, cache.n_tokens());
          EXPECT_TRUE(std::isnan(q.back()));
          int64_t n_written = 0;
          for (int64_t s = 0; s < cache.batch.n_seqs; ++s) {
            for (int64_t row = cache.offsets[s]; row < cache.offsets[s + 1]; ++row) {
              for (int64_t head = 0; head < 10; ++head) {
                const auto want = Reference(args, row, head);
                const float* got =
                    head < 6 ? q.data() + (row * 6 + head) * head_dim
                             : (head < 8 ? cache.kv.k : cache.kv.v) +
                                   cache.kv.Offset(s, cache.positions[row], (head - 6) % 2);
                if (head >= 6) n_written += head_dim;
                for (int64_t d = 0; d < head_dim; ++d) {
                  ASSERT_NEAR(got[d], want[d], 4e-6 * (1 + std::abs(want[d])))
                      << head_dim << " row " << row << " head " << head << " " << d;
                }
              }
            }
          }
          for (const auto* pages : {&cache.k, &cache.v}) {
            for (const float x : *pages) n_written -= std::isnan(x) ? 0 : 1;
          }
          EXPECT_EQ(n_written, 0);
        });
      }
    }
  }
}

TEST(RopeAndStoreKvTest, RangesDoNotChangeBits) {
  ForEachTarget([&] {
    const std::vector<Cache::Sequence> sequences = {{5, 9}, {0, 1}, {12, 70}, {1, 1}};
    Cache a(sequences, 16, 2, 80), b(sequences, 16, 2, 80);
    Inputs inputs(18, 4, 2, 80);
    std::vector<float> q_a(18 * 4 * 80), q_b(q_a.size());
    RopeAndStoreKv(inputs.Args(a, 4, true, RopePairing::kHalves, q_a.data()), 0, 18);
    for (int64_t row = 18; row-- > 0;) {
      RopeAndStoreKv(inputs.Args(b, 4, true, RopePairing::kHalves, q_b.data()), row, row + 1);
    }
    EXPECT_EQ(std::memcmp(q_a.data(), q_b.data(), q_a.size() * sizeof(float)), 0);
    EXPECT_EQ(std::memcmp(a.k.data(), b.k.data(), a.k.size() * sizeof(float)), 0);
    EXPECT_EQ(std::memcmp(a.v.data(), b.v.data(), a.v.size() * sizeof(float)), 0);
  });
}

TEST(RopeAndStoreKvTest, RefusesWhatWouldWriteOutside) {
  Cache cache({{3, 3}}, 16, 1, 16);
  Inputs inputs(3, 1, 1, 16);
  std::vector<float> q(3 * 16);
  const RopeKvArgs args = inputs.Args(cache, 1, false, RopePairing::kHalves, q.data());
  for (const int32_t position : {-1, 16, kMaxContext}) {
    cache.positions[1] = position;
    EXPECT_THROW(RopeAndStoreKv(args, 0, 3), std::invalid_argument) << position;
  }
  cache.positions[1] = 1;
  EXPECT_THROW(RopeAndStoreKv(args, 0, 4), std::invalid_argument);
  for (const int32_t page : {-1, 1}) {
    cache.table[0] = page;
    EXPECT_THROW(RopeAndStoreKv(args, 0, 3), std::invalid_argument) << page;
  }
}

}  // namespace
}  // namespace aios::kernels::cpu
