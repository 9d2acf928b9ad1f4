#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <stdexcept>
#include <vector>

#include "common/sample/sampler.h"
#include "kernels/cuda/sample.h"
#include "tests/kernels/cuda/gpu_testing.h"

namespace aios::kernels::cuda {
namespace {

class SampleTest : public ::testing::Test {
 protected:
  void SetUp() override { AIOS_SKIP_WITHOUT_GPU(); }
};

// shift: numbers by which the logits are off their alignment.
std::vector<int32_t> SampleOnGpu(const std::vector<float>& logits,
                                 const std::vector<SampleParams>& params, int shift = 0) {
  const int n_rows = static_cast<int>(params.size());
  std::vector<float> shifted(shift, 0);
  shifted.insert(shifted.end(), logits.begin(), logits.end());
  const TestBuffer<float> device_logits(shifted);
  const TestBuffer<SampleParams> device_params(params);
  const TestBuffer<int32_t> tokens(n_rows);
  Sample({.logits = device_logits.data() + shift,
          .params = device_params.data(),
          .tokens = tokens.data(),
          .n_rows = n_rows,
          .vocab_size = static_cast<int>(logits.size() / n_rows)},
         nullptr);
  AIOS_CUDA_CHECK(cudaDeviceSynchronize());
  return tokens.Download();
}

int32_t SampleOnHost(const float* logits, size_t vocab_size, const SampleParams& p) {
  return aios::Sample({logits, vocab_size},
                      {.temperature = p.temperature,
                       .top_k = p.top_k,
                       .top_p = p.top_p,
                       .min_p = p.min_p,
                       .seed = p.seed},
                      p.step);
}

// How many tokens are not the host's.
int CountDifferent(const std::vector<float>& logits, const std::vector<SampleParams>& params) {
  const auto tokens = SampleOnGpu(logits, params);
  const size_t vocab_size = logits.size() / params.size();
  int n_different = 0;
  for (size_t row = 0; row < params.size(); ++row) {
    const int32_t want = SampleOnHost(logits.data() + row * vocab_size, vocab_size, params[row]);
    n_different += tokens[row] == want ? 0 : 1;
    EXPECT_GE(tokens[row], 0);
    EXPECT_LT(tokens[row], static_cast<int32_t>(vocab_size));
  }
  return n_different;
}

TEST_F(SampleTest, GreedyIsTheHostsAlways) {
  for (const int vocab_size : {1, 2, 3, 7, 17, 1000, 4097, 32000, 128256, 151936, 600001}) {
    for (const int n_rows : {1, 5}) {
      for (const int shift : {0, 1}) {
        auto logits = RandomFloats(size_t(vocab_size) * n_rows, vocab_size + n_rows, 3);
        // Few values, many equal; in the last row none but 0 and -0.
        for (float& x : logits) x = std::round(x * 2) / 2;
        for (int i = 0; i < vocab_size; ++i) {
          logits[size_t(n_rows - 1) * vocab_size + i] = i % 3 == 0 ? -0.0F : 0.0F;
        }
        const auto tokens = SampleOnGpu(logits, std::vector<SampleParams>(n_rows), shift);
        for (int row = 0; row < n_rows; ++row) {
          const float* begin = logits.data() + size_t(row) * vocab_size;
          ASSERT_EQ(tokens[row], std::max_element(begin, begin + vocab_size) - begin)
              << vocab_size << " row " << row;
        }
      }
    }
  }
}

// The best logit less the second best, whatever is sampled. Among few values, most often 0.
TEST_F(SampleTest, Margins) {
  for (const int vocab_size : {1, 2, 3, 17, 1000, 4097, 128256, 600001}) {
    for (const bool few_values : {false, true}) {
      constexpr int kRows = 6;
      auto logits = RandomFloats(size_t(vocab_size) * kRows, vocab_size, 3);
      if (few_values) {
        for (float& x : logits) x = std::round(x);
      }
      // Best and second best side by side, in the hands of one thread, in either order; and equal.
      if (vocab_size >= 17) {
        const float neighbors[][2] = {{100, 101}, {101, 100}, {100, 100}};
        for (int row = 3; row < kRows; ++row) {
          const size_t at = size_t(row) * vocab_size + vocab_size / 2 / 4 * 4;
          logits[at] = neighbors[row - 3][0];
          logits[at + 1] = neighbors[row - 3][1];
        }
      }
      std::vector<SampleParams> params(kRows);
      params[1].temperature = 1;
      params[2] = {.temperature = 1, .top_k = 5};
      const TestBuffer<float> device_logits(logits);
      const TestBuffer<SampleParams> device_params(params);
      const TestBuffer<int32_t> tokens(kRows);
      const TestBuffer<float> margins(kRows);
      Sample({.logits = device_logits.data(),
              .params = device_params.data(),
              .tokens = tokens.data(),
              .margins = margins.data(),
              .n_rows = kRows,
              .vocab_size = vocab_size},
             nullptr);
      const auto got = margins.Download();
      for (int row = 0; row < kRows; ++row) {
        float best = -std::numeric_limits<float>::infinity(), second = best;
        for (int i = 0; i < vocab_size; ++i) {
          const float x = logits[size_t(row) * vocab_size + i];
          second = std::max(second, std::min(x, best));
          best = std::max(best, x);
        }
        ASSERT_EQ(got[row], best - second) << vocab_size << " row " << row;
      }
    }
  }
}

TEST_F(SampleTest, DamagedLogitsGiveNoToken) {
  constexpr int kVocab = 5003;
  const float kInfinity = std::numeric_limits<float>::infinity();
  const float kDamage[] = {NAN, -NAN, kInfinity, -kInfinity, 0};
  auto logits = RandomFloats(5 * kVocab, 1);
  for (int row = 0; row < 5; ++row) logits[row * kVocab + row * 1250] = kDamage[row];
  for (const float temperature : {0.0F, 1.0F}) {
    const std::vector<SampleParams> params(5, {.temperature = temperature});
    const auto tokens = SampleOnGpu(logits, params);
    for (int row = 0; row < 4; ++row) EXPECT_EQ(tokens[row], kNoToken) << row;
    EXPECT_EQ(tokens[4], SampleOnHost(logits.data() + 4 * kVocab, kVocab, params[4]));
  }
}

const SampleParams kParams[] = {
    {.temperature = 0.8F, .top_k = 50, .top_p = 0.95F},
    {.temperature = 1},
    {.temperature = 0.7F, .top_p = 0.9F},
    {.temperature = 1, .top_k = 1},
    {.temperature = 1.5F, .top_k = 256},
    {.temperature = 1.5F, .top_k = 257},
    {.temperature = 2, .top_k = 700, .top_p = 0.5F},
    {.temperature = 1, .min_p = 0.02F},
    {.temperature = 1.2F, .top_k = 40, .top_p = 0.9F, .min_p = 0.05F},
    {.temperature = 3, .top_p = 0.99F, .min_p = 0.001F},
    {.temperature = 100},
    {.temperature = 100, .top_p = 0.3F},
    {.temperature = 1e-3F},
    {.temperature = 1e-30F, .top_p = 0.5F},
    {.temperature = 1e-45F, .top_k = 5},
    {.temperature = 1, .top_p = 1e-6F},
    {.temperature = 1, .min_p = 1},
};

// Seeds that are not small numbers, many steps.
std::vector<SampleParams> Rows(const SampleParams& params, int n_rows) {
  std::vector<SampleParams> rows(n_rows, params);
  for (int row = 0; row < n_rows; ++row) {
    rows[row].seed = row % 7 * 0x123456789ABCDEFull;
    rows[row].step = row;
  }
  return rows;
}

// Six rows that are hard to sort. Few values, so that bins have more tokens than can be sorted, and
// must be split; one value; an outlier far above, which makes the bins wide; logits that overflow
// when subtracted; 0 and -0; all nearly equal.
constexpr int kHardRows = 6;
std::vector<float> HardLogits(int vocab_size) {
  auto logits = RandomFloats(size_t(vocab_size) * kHardRows, vocab_size, 2);
  for (int i = 0; i < vocab_size; ++i) {
    const auto at = [&](int row) -> float& { return logits[size_t(row) * vocab_size + i]; };
    at(0) = std::round(at(0));
    at(1) = 3;
    at(2) = i == 77 ? 1e5F : at(2);
    at(3) = at(3) * 1e38F;
    at(3) = std::clamp(at(3), -3e38F, 3e38F);
    at(4) = i % 2 == 0 ? 0.0F : -0.0F;
    at(5) = at(5) * 1e-6F;
  }
  return logits;
}

// How many tokens are not the host's, after saying which.
int CountAndPrintDifferent(const std::vector<float>& logits, const SampleParams& params,
                           int n_rows) {
  const int n_different = CountDifferent(logits, Rows(params, n_rows));
  if (n_different > 0) {
    std::printf("%d of %d differ: vocabulary %zu temperature %g top_k %d top_p %g min_p %g\n",
                n_different, n_rows, logits.size() / n_rows, params.temperature, params.top_k,
                params.top_p, params.min_p);
  }
  return n_different;
}

TEST_F(SampleTest, DrawsTheHostsTokens) {
  int n_different = 0, n = 0;
  for (const int vocab_size : {1, 2, 7, 1000, 5003, 32000, 128256}) {
    const int n_rows = vocab_size > 100000 ? 4 : vocab_size > 10000 ? 40 : 200;
    const auto logits = RandomFloats(size_t(vocab_size) * n_rows, vocab_size, 2.5F);
    for (const SampleParams& params : kParams) {
      n_different += CountAndPrintDifferent(logits, params, n_rows);
      n += n_rows;
    }
  }
  std::printf("%d of %d tokens are not the host's\n", n_different, n);
  EXPECT_LE(n_different, n / 2000);
}

TEST_F(SampleTest, DrawsTheHostsTokensAmongEqualOnes) {
  for (const int vocab_size : {3000, 40001, 600001}) {
    const auto logits = HardLogits(vocab_size);
    for (const SampleParams& params : kParams) {
      if (vocab_size > 100000 && params.top_k == 1) break;  // the host takes its time
      EXPECT_EQ(CountAndPrintDifferent(logits, params, kHardRows), 0);
    }
  }
}

// Every path with little work, for compute-sanitizer's racecheck, which takes minutes over the
// other tests: gathered at once, by counts and by weights, through bins split up to the bits of the
// ids.
TEST_F(SampleTest, EveryPathOfASmallVocabulary) {
  constexpr int kVocab = 1511;
  auto logits = RandomFloats(3 * kVocab, 1, 2.5F);
  for (int i = 0; i < kVocab; ++i) {
    logits[kVocab + i] = std::round(logits[kVocab + i]);
    logits[2 * kVocab + i] = 3;
  }
  EXPECT_EQ(CountAndPrintDifferent(logits, {.temperature = 1, .top_k = 50, .top_p = 0.9F}, 3), 0);
  EXPECT_EQ(CountAndPrintDifferent(logits, {.temperature = 2, .top_k = 700, .top_p = 0.5F}, 3), 0);
}

TEST_F(SampleTest, TheBatchDoesNotChangeTheToken) {
  constexpr int kVocab = 32003;
  constexpr int kRows = 17;
  const auto logits = RandomFloats(size_t{kRows} * kVocab, 5, 2);
  for (const SampleParams& one : kParams) {
    auto params = Rows(one, kRows);
    const auto tokens = SampleOnGpu(logits, params);
    for (int row = 0; row < kRows; row += 4) {
      const std::vector<float> alone(logits.begin() + row * kVocab,
                                     logits.begin() + (row + 1) * kVocab);
      EXPECT_EQ(SampleOnGpu(alone, {params[row]})[0], tokens[row]);
    }
  }
}

TEST(SampleArgsTest, AreChecked) {
  EXPECT_THROW(Sample({.n_rows = 1, .vocab_size = 0}, nullptr), std::invalid_argument);
  EXPECT_THROW(Sample({.n_rows = 1, .vocab_size = (1 << 20) + 1}, nullptr), std::invalid_argument);
}

}  // namespace
}  // namespace aios::kernels::cuda
