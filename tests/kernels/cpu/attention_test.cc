#include "kernels/cpu/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "tests/kernels/cpu/ops_testing.h"

namespace aios::kernels::cpu {
namespace {

std::vector<float> Attend(const Cache& cache, int n_heads, const std::vector<float>& q) {
  std::vector<float> out(q.size() + 1, NAN);
  out.back() = 12345;
  const AttentionArgs args = {
      .q = q.data(), .batch = cache.batch, .kv = cache.kv, .n_heads = n_heads, .out = out.data()};
  std::vector<float> scratch(AttentionScratchFloats(args) + 1, NAN);
  scratch.back() = 12345;
  Attention(args, 0, CountAttentionTasks(args), scratch.data());
  EXPECT_EQ(out.back(), 12345);
  EXPECT_EQ(scratch.back(), 12345);
  out.pop_back();
  return out;
}

// The same in two steps, as n_threads threads would share them, each task on its own.
std::vector<float> AttendInTwoSteps(const Cache& cache, int n_heads, const std::vector<float>& q,
                                    int n_threads) {
  std::vector<float> out(q.size(), NAN);
  const AttentionArgs args = {
      .q = q.data(), .batch = cache.batch, .kv = cache.kv, .n_heads = n_heads, .out = out.data()};
  const int64_t n_scores = AttentionScoresFloats(args);
  std::vector<float> scores(n_scores + 1, NAN);
  scores.back() = 12345;
  const auto with_scratch = [&](auto step) {
    std::vector<float> scratch(AttentionScratchFloats(args) + 1, NAN);
    scratch.back() = 12345;
    step(scratch.data());
    EXPECT_EQ(scratch.back(), 12345);
    EXPECT_EQ(scores.back(), 12345);
  };
  for (int64_t t = CountScoreTasks(args); t-- > 0;) {
    with_scratch([&](float* own) { AttentionScores(args, t, t + 1, scores.data(), own); });
  }
  for (int64_t t = CountValueTasks(args, n_threads); t-- > 0;) {
    with_scratch(
        [&](float* own) { AttentionValues(args, n_threads, t, t + 1, scores.data(), own); });
  }
  return out;
}

// Plain loops in double.
std::vector<double> Reference(const Cache& cache, int n_heads, const std::vector<float>& q) {
  const int64_t head_dim = cache.kv.head_dim, group = n_heads / cache.kv.n_kv_heads;
  std::vector<double> out(q.size());
  for (int64_t s = 0; s < cache.batch.n_seqs; ++s) {
    for (int64_t row = cache.offsets[s]; row < cache.offsets[s + 1]; ++row) {
      for (int64_t h = 0; h < n_heads; ++h) {
        const int64_t at = (row * n_heads + h) * head_dim;
        const int64_t n_keys = cache.positions[row] + 1;
        std::vector<double> weights(n_keys);
        double max = -INFINITY, sum = 0;
        for (int64_t p = 0; p < n_keys; ++p) {
          const float* k = cache.kv.k + cache.kv.Offset(s, p, h / group);
          for (int64_t d = 0; d < head_dim; ++d) weights[p] += double{q[at + d]} * k[d];
          weights[p] /= std::sqrt(static_cast<double>(head_dim));
          max = std::max(max, weights[p]);
        }
        for (double& w : weights) sum += w = std::exp(w - max);
        for (int64_t p = 0; p < n_keys; ++p) {
          const float* v = cache.kv.v + cache.kv.Offset(s, p, h / group);
          for (int64_t d = 0; d < head_dim; ++d) out[at + d] += weights[p] / sum * v[d];
        }
      }
    }
  }
  return out;
}

void ExpectNear(const std::vector<float>& got, const std::vector<double>& want, double tolerance) {
  for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], tolerance) << i;
}

const std::vector<Cache::Sequence> kMixed = {{1, 1},   {7, 7},    {1, 300}, {0, 40},
                                             {70, 70}, {33, 161}, {1, 128}, {1, 129}};

TEST(AttentionTest, EqualsPlainLoops) {
  for (const int head_dim : {8, 16, 32, 36, 64, 80, 128, 6}) {
    for (const int page_size : {16, 64}) {
      for (const int group : {1, 3, 8}) {
        Cache cache(kMixed, page_size, 2, head_dim);
        cache.Fill();
        const auto q = Normal(cache.n_tokens() * 2 * group * head_dim, 9);
        const auto want = Reference(cache, 2 * group, q);
        SCOPED_TRACE(testing::Message() << head_dim << " " << page_size << " " << group);
        ForEachTarget([&] { ExpectNear(Attend(cache, 2 * group, q), want, 2e-6 * 5); });
      }
    }
  }
}

TEST(AttentionTest, MoreHeadsInAGroupThanQueriesInATask) {
  Cache cache({{5, 9}}, 16, 1, 16);
  cache.Fill();
  const auto q = Normal(5 * 71 * 16, 9);
  ForEachTarget([&] { ExpectNear(Attend(cache, 71, q), Reference(cache, 71, q), 1e-5); });
}

// Weights of e^1000 and more if the maximum were not taken off first.
TEST(AttentionTest, LargeScores) {
  Cache cache({{200, 200}, {1, 500}}, 16, 2, 64);
  cache.Fill(100);
  const auto q = Normal(cache.n_tokens() * 4 * 64, 9, 100);
  const auto want = Reference(cache, 4, q);
  ForEachTarget([&] {
    const auto got = Attend(cache, 4, q);
    double error = 0, norm = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      ASSERT_TRUE(std::isfinite(got[i]));
      error += (got[i] - want[i]) * (got[i] - want[i]);
      norm += want[i] * want[i];
    }
    EXPECT_LT(std::sqrt(error / norm), 1e-2);  // scores of 1e5 have an f32 rounding of 1e-2
  });
}

TEST(AttentionTest, ABrokenKeyShowsFromItsPositionOn) {
  Cache cache({{100, 100}}, 16, 1, 32);
  cache.Fill();
  for (float* numbers : {cache.kv.k, cache.kv.v}) {
    float& broken = numbers[cache.kv.Offset(0, 37, 0) + 3];
    const float kept = broken;
    broken = NAN;
    const auto q = Normal(100 * 32, 9);
    ForEachTarget([&] {
      const auto got = Attend(cache, 1, q);
      for (int64_t row = 0; row < 100; ++row) {
        EXPECT_EQ(std::isnan(got[row * 32 + 3]), row >= 37) << row;
      }
    });
    broken = kept;
  }
}

// One prompt, whole, in chunks, one by one, beside others, in pages of other sizes and orders, its
// tasks one by one: the same bits.
TEST(AttentionTest, BatchAndChunksAndPagesDoNotChangeBits) {
  constexpr int kLength = 300, kHeads = 6;
  for (const int head_dim : {6, 44, 80}) {  // the loops' tails too
    const int width = kHeads * head_dim;
    const auto q = Normal(kLength * width, 9);
    ForEachTarget([&] {
      Cache whole({{kLength, kLength}}, 256, 2, head_dim);
      whole.Fill();
      const auto want = Attend(whole, kHeads, q);
      for (const int chunk : {1, 3, 64, 129, 299}) {
        for (int begin = 0; begin < kLength; begin += chunk) {
          const int end = std::min(begin + chunk, kLength);
          // Sequence 0 gets its numbers from Fill, which go by its index; pages differ.
          Cache cache({{end - begin, end}, {2, 5}}, begin % 2 == 0 ? 16 : 64, 2, head_dim, chunk);
          cache.Fill();
          std::vector<float> rows(q.begin() + begin * width, q.begin() + end * width);
          rows.resize(rows.size() + 2 * width, 0.5F);
          const auto got = Attend(cache, kHeads, rows);
          ASSERT_EQ(std::memcmp(got.data(), want.data() + begin * width,
                                static_cast<size_t>(end - begin) * width * sizeof(float)),
                    0)
              << head_dim << ", " << chunk << " at " << begin;
        }
      }
      std::vector<float> out(q.size(), NAN);
      const AttentionArgs args = {.q = q.data(),
                                  .batch = whole.batch,
                                  .kv = whole.kv,
                                  .n_heads = kHeads,
                                  .out = out.data()};
      std::vector<float> scratch(AttentionScratchFloats(args));
      for (int64_t t = CountAttentionTasks(args); t-- > 0;) {
        Attention(args, t, t + 1, scratch.data());
      }
      EXPECT_EQ(std::memcmp(out.data(), want.data(), out.size() * sizeof(float)), 0);
    });
  }
}

TEST(AttentionTest, TwoStepsDoNotChangeBits) {
  for (const int head_dim : {6, 44, 64, 80}) {
    for (const int group : {1, 3, 8}) {
      for (const int page_size : {16, 64}) {
        Cache cache(kMixed, page_size, 3, head_dim);
        cache.Fill();
        const auto q = Normal(cache.n_tokens() * 3 * group * head_dim, 9);
        ForEachTarget([&] {
          const auto want = Attend(cache, 3 * group, q);
          for (const int n_threads : {1, 2, 16, 100}) {
            const auto got = AttendInTwoSteps(cache, 3 * group, q, n_threads);
            ASSERT_EQ(std::memcmp(got.data(), want.data(), want.size() * sizeof(float)), 0)
                << head_dim << ", " << group << ", " << n_threads << " threads";
          }
        });
      }
    }
  }
}

TEST(AttentionTest, TwoStepsForFewUnlikeSharesOfManyKeys) {
  const auto in_two_steps = [](const std::vector<Cache::Sequence>& sequences, int n_threads) {
    const Cache cache(sequences, 64, 3, 16);
    return AttentionInTwoSteps({.batch = cache.batch, .kv = cache.kv, .n_heads = 9}, n_threads);
  };
  EXPECT_TRUE(in_two_steps({{1, 1000}}, 2));
  EXPECT_TRUE(in_two_steps({{1, 1000}}, 8));
  EXPECT_FALSE(in_two_steps({{1, 1000}}, 1));
  EXPECT_FALSE(in_two_steps({{1, 1000}}, 3));
  EXPECT_FALSE(in_two_steps({{1, 100}}, 2));
  EXPECT_FALSE(in_two_steps(std::vector<Cache::Sequence>(9, {1, 1000}), 2));
}

TEST(AttentionTest, RefusesHeadsThatDoNotShareEvenly) {
  Cache cache({{1, 1}}, 16, 2, 16);
  EXPECT_THROW(CountAttentionTasks({.batch = cache.batch, .kv = cache.kv, .n_heads = 3}),
               std::invalid_argument);
}

}  // namespace
}  // namespace aios::kernels::cpu
