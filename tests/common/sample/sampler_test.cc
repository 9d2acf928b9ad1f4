// Sampling against distributions that were worked out by hand, and draws against the exact
// distribution by a chi-square test.
#include "common/sample/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "common/base/error.h"

namespace aios {
namespace {

using testing::ElementsAre;
using testing::FloatNear;
using testing::HasSubstr;
using testing::Pair;
using testing::SizeIs;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Logits whose softmax is `probabilities`.
std::vector<float> LogitsOf(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

auto Candidate(int32_t token, float probability) {
  return Pair(token, FloatNear(probability, 1e-6F));
}

// ---- Greedy ------------------------------------------------------------------------------------

TEST(Greedy, TakesTheLargestAndOfEqualOnesTheFirst) {
  EXPECT_EQ(Sample(std::vector<float>{-3, -1, -2}, {}, 0), 1);
  EXPECT_EQ(Sample(std::vector<float>{1, 5, 5, 2, 5}, {}, 0), 1);
  EXPECT_EQ(Sample(std::vector<float>{0, 0, 0}, {}, 0), 0);
  EXPECT_EQ(Sample(std::vector<float>{-0.0F, 0.0F}, {}, 0), 0);
  EXPECT_EQ(Sample(std::vector<float>{7}, {}, 0), 0);
}

TEST(Greedy, SeesADifferenceOfOneBit) {
  const float a = 12.5F;
  EXPECT_EQ(Sample(std::vector<float>{a, std::nextafter(a, kInfinity), a}, {}, 0), 1);
}

// Whole vectors and blocks of them, and what is left over; ties within a block and across.
TEST(Greedy, FindsTheFirstOfTheLargestAnywhere) {
  std::mt19937 random(1);
  for (const size_t n : {15, 16, 17, 1023, 1024, 1025, 2050, 49152}) {
    for (int round = 0; round < 50; ++round) {
      std::vector<float> logits(n);
      const unsigned n_values = round % 2 == 0 ? 7 : 1'000'000;
      for (float& x : logits) x = -static_cast<float>(random() % n_values);
      logits[random() % n] = 1;
      if (round % 3 == 0) logits[random() % n] = 1;
      EXPECT_EQ(Sample(logits, {}, 0),
                std::max_element(logits.begin(), logits.end()) - logits.begin());
    }
  }
}

TEST(Greedy, NeedsNoProbabilityToBeAFiniteNumber) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  EXPECT_EQ(Sample(std::vector<float>{-kLargest, kLargest, 0}, {}, 0), 1);
}

TEST(Greedy, DependsOnNeitherSeedNorStepNorCuts) {
  const std::vector<float> logits = {1, 3, 2};
  for (uint64_t step = 0; step < 100; ++step) {
    EXPECT_EQ(Sample(logits, {.top_k = 2, .top_p = 0.5F, .min_p = 0.9F, .seed = step}, step), 1);
  }
}

TEST(TopLogits, ComeBestFirstAndOfEqualOnesTheSmallerIdFirst) {
  const std::vector<float> logits = {1, 4, 2, 4, 3};
  EXPECT_THAT(TopLogits(logits, 3), ElementsAre(Pair(1, 4), Pair(3, 4), Pair(4, 3)));
  EXPECT_THAT(TopLogits(logits, 99), SizeIs(5));
  EXPECT_THAT(TopLogits(logits, 0), SizeIs(0));
  EXPECT_THAT(TopLogits(logits, -1), SizeIs(0));
}

TEST(TopMargin, IsTheBestLessTheSecondBestAnywhere) {
  std::mt19937 random(1);
  for (const size_t n : {2, 3, 15, 16, 17, 33, 1000}) {
    for (int round = 0; round < 50; ++round) {
      std::vector<float> logits(n);
      for (float& x : logits) x = static_cast<float>(random() % 100) - 50;
      std::vector<float> sorted = logits;
      std::sort(sorted.rbegin(), sorted.rend());
      EXPECT_EQ(TopMargin(logits), sorted[0] - sorted[1]);
    }
  }
  EXPECT_EQ(TopMargin(std::vector<float>{3}), kInfinity);
}

TEST(AllFinite, SeesEveryNumber) {
  for (const float damaged : {kNan, -kNan, kInfinity, -kInfinity}) {
    for (size_t at = 0; at < 35; ++at) {
      std::vector<float> logits(35, std::numeric_limits<float>::max());
      EXPECT_TRUE(AllFinite(logits));
      logits[at] = damaged;
      EXPECT_FALSE(AllFinite(logits)) << damaged << " at " << at;
    }
  }
}

TEST(LogSumExp, NeitherOverflowsNorUnderflows) {
  EXPECT_NEAR(LogSumExp(LogitsOf({0.5, 0.25, 0.25})), 0, 1e-7);
  EXPECT_NEAR(LogSumExp(std::vector<float>{1000, 1000}), 1000 + std::log(2), 1e-9);
  EXPECT_NEAR(LogSumExp(std::vector<float>{-1000, -1000}), -1000 + std::log(2), 1e-9);
}

// ---- Which tokens can be drawn -----------------------------------------------------------------

// Token 2 has 50%, 0 has 25%, 3 has 15%, 1 has 10%.
const std::vector<float> kFour = LogitsOf({0.25, 0.10, 0.50, 0.15});

TEST(Candidates, AreAllWithTheModelsOwnProbabilities) {
  EXPECT_THAT(
      Candidates(kFour, {.temperature = 1}),
      ElementsAre(Candidate(2, 0.5), Candidate(0, 0.25), Candidate(3, 0.15), Candidate(1, 0.1)));
}

TEST(Candidates, TemperatureIsAPowerOfTheProbabilities) {
  // At 0.5 they are squared: 1/4, 1/16 -> 4/5, 1/5. At 2 it is the root: 1/4, 1/16 -> 2/3, 1/3.
  EXPECT_THAT(Candidates(LogitsOf({2.0 / 3, 1.0 / 3}), {.temperature = 0.5}),
              ElementsAre(Candidate(0, 0.8), Candidate(1, 0.2)));
  EXPECT_THAT(Candidates(LogitsOf({0.8, 0.2}), {.temperature = 2}),
              ElementsAre(Candidate(0, 2.0 / 3), Candidate(1, 1.0 / 3)));
}

TEST(Candidates, AtATemperatureNearZeroAreTheBestAlone) {
  constexpr float kSmallest = std::numeric_limits<float>::denorm_min();
  EXPECT_EQ(Candidates(kFour, {.temperature = kSmallest}).front(), ScoredToken(2, 1.0F));
  for (uint64_t step = 0; step < 100; ++step) {
    EXPECT_EQ(Sample(kFour, {.temperature = kSmallest}, step), 2);
  }
}

TEST(Candidates, TopKKeepsTheBestK) {
  EXPECT_THAT(Candidates(kFour, {.temperature = 1, .top_k = 2}),
              ElementsAre(Candidate(2, 2.0 / 3), Candidate(0, 1.0 / 3)));
  EXPECT_THAT(Candidates(kFour, {.temperature = 1, .top_k = 1}), ElementsAre(Candidate(2, 1)));
  EXPECT_THAT(Candidates(kFour, {.temperature = 1, .top_k = 1 << 30}), SizeIs(4));
}

TEST(Candidates, TopPKeepsTheFewestThatReachP) {
  EXPECT_THAT(Candidates(kFour, {.temperature = 1, .top_p = 0.49F}), ElementsAre(Candidate(2, 1)));
  EXPECT_THAT(Candidates(kFour, {.temperature = 1, .top_p = 0.51F}),
              ElementsAre(Candidate(2, 2.0 / 3), Candidate(0, 1.0 / 3)));
  EXPECT_THAT(
      Candidates(kFour, {.temperature = 1, .top_p = 0.89F}),
      ElementsAre(Candidate(2, 0.5 / 0.9), Candidate(0, 0.25 / 0.9), Candidate(3, 0.15 / 0.9)));
  EXPECT_THAT(Candidates(kFour, {.temperature = 1, .top_p = 0.91F}), SizeIs(4));
  EXPECT_THAT(Candidates(kFour, {.temperature = 1, .top_p = 1e-30F}), SizeIs(1));
}

TEST(Candidates, MinPIsRelativeToTheBest) {
  // 0.3 * 50% is 15%, which token 3 has: stay clear of the rounding.
  EXPECT_THAT(
      Candidates(kFour, {.temperature = 1, .min_p = 0.29F}),
      ElementsAre(Candidate(2, 0.5 / 0.9), Candidate(0, 0.25 / 0.9), Candidate(3, 0.15 / 0.9)));
  EXPECT_THAT(Candidates(kFour, {.temperature = 1, .min_p = 0.31F}),
              ElementsAre(Candidate(2, 2.0 / 3), Candidate(0, 1.0 / 3)));
  EXPECT_THAT(Candidates(kFour, {.temperature = 1, .min_p = 1}), ElementsAre(Candidate(2, 1)));
  // The best ones, where there are several.
  EXPECT_THAT(Candidates(std::vector<float>{1, 1, 0}, {.temperature = 1, .min_p = 1}),
              ElementsAre(Candidate(0, 0.5), Candidate(1, 0.5)));
}

// The order is part of the meaning: top-k leaves 5/9, 2.5/9 and 1.5/9, of which two make 83%. All
// four together would need three for 80%.
TEST(Candidates, EachCutSeesWhatTheOneBeforeItLeft) {
  EXPECT_THAT(Candidates(kFour, {.temperature = 1, .top_k = 3, .top_p = 0.8F}),
              ElementsAre(Candidate(2, 2.0 / 3), Candidate(0, 1.0 / 3)));
  EXPECT_THAT(Candidates(kFour, {.temperature = 1, .top_k = 4, .top_p = 0.8F}), SizeIs(3));
  // The temperature comes first: squared, the best alone has 25 / 34.5 = 72%.
  EXPECT_THAT(Candidates(kFour, {.temperature = 0.5, .top_p = 0.7F}), ElementsAre(Candidate(2, 1)));
  EXPECT_THAT(Candidates(kFour, {.temperature = 1, .top_p = 0.7F}), SizeIs(2));
}

// ---- Draws -------------------------------------------------------------------------------------

// Pearson's statistic of how often each token was drawn.
double ChiSquare(const std::vector<int>& counts, const std::vector<double>& probabilities,
                 int n_draws) {
  double sum = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const double expected = probabilities[i] * n_draws;
    sum += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  return sum;
}

// With d degrees of freedom the statistic has mean d and variance 2d. A right sampler is six
// deviations above the mean less than once in a thousand tests; the seeds are fixed, so that a test
// which passes does so always.
double ChiSquareBound(size_t n_tokens) {
  const auto d = static_cast<double>(n_tokens - 1);
  return d + 6 * std::sqrt(2 * d);
}

constexpr int kDraws = 200000;

std::vector<int> CountDraws(const std::vector<float>& logits, const SamplingParams& params) {
  std::vector<int> counts(logits.size());
  for (int step = 0; step < kDraws; ++step) ++counts[Sample(logits, params, step)];
  return counts;
}

TEST(Draws, HaveTheFrequenciesOfTheDistribution) {
  const std::vector<double> p = {0.25, 0.10, 0.50, 0.15};
  for (const uint64_t seed : {0, 12345}) {
    const std::vector<int> counts = CountDraws(LogitsOf(p), {.temperature = 1, .seed = seed});
    EXPECT_LT(ChiSquare(counts, p, kDraws), ChiSquareBound(p.size())) << "seed " << seed;
  }
}

TEST(Draws, HaveTheFrequenciesOfALargeDistribution) {
  std::mt19937 random(7);  // NOLINT(cert-msc51-cpp): the same each time
  std::exponential_distribution<double> weight;
  std::vector<double> p(40);
  double sum = 0;
  for (double& x : p) sum += x = 0.01 + weight(random);
  for (double& x : p) x /= sum;
  const std::vector<int> counts = CountDraws(LogitsOf(p), {.temperature = 1, .seed = 3});
  EXPECT_LT(ChiSquare(counts, p, kDraws), ChiSquareBound(p.size()));
}

TEST(Draws, HaveTheFrequenciesThatTheCutsLeave) {
  const std::vector<int> counts =
      CountDraws(kFour, {.temperature = 0.5, .top_k = 3, .top_p = 0.99F, .min_p = 0.05F});
  EXPECT_EQ(counts[1], 0);
  // Squared: 25, 6.25, 2.25 of 33.5. Top-p 0.99 needs all three of them.
  EXPECT_LT(
      ChiSquare({counts[2], counts[0], counts[3]}, {25 / 33.5, 6.25 / 33.5, 2.25 / 33.5}, kDraws),
      ChiSquareBound(3));
}

// What makes the tests above worth their names: a distribution that is off by a little, in one
// token or by a forgotten temperature, does not pass.
TEST(Draws, OfAnotherDistributionAreFoundOut) {
  const std::vector<int> counts = CountDraws(kFour, {.temperature = 1});
  EXPECT_GT(ChiSquare(counts, {0.255, 0.10, 0.495, 0.15}, kDraws), ChiSquareBound(4));
  const std::vector<int> warm = CountDraws(kFour, {.temperature = 1.03F});
  EXPECT_GT(ChiSquare(warm, {0.25, 0.10, 0.50, 0.15}, kDraws), ChiSquareBound(4));
}

TEST(Draws, AreTheSameForTheSameSeedAndDifferForAnother) {
  const std::vector<float> logits(1000, 0.0F);
  const auto draw = [&](uint64_t seed) {
    std::vector<int32_t> tokens;
    for (uint64_t step = 0; step < 64; ++step) {
      tokens.push_back(Sample(logits, {.temperature = 1, .seed = seed}, step));
    }
    return tokens;
  };
  EXPECT_EQ(draw(0), draw(0));
  EXPECT_EQ(draw(UINT64_MAX), draw(UINT64_MAX));
  EXPECT_NE(draw(0), draw(1));
  // Seeds that are neighbours must not give one sequence, shifted.
  const std::vector<int32_t> a = draw(1);
  const std::vector<int32_t> b = draw(2);
  EXPECT_NE(std::vector<int32_t>(a.begin() + 1, a.end()),
            std::vector<int32_t>(b.begin(), b.end() - 1));
}

TEST(Draws, DependOnSeedAndStepAloneNotOnWhatWasDrawnBefore) {
  const SamplingParams params = {.temperature = 1, .seed = 42};
  std::vector<int32_t> forward;
  for (uint64_t step = 0; step < 100; ++step) forward.push_back(Sample(kFour, params, step));
  for (uint64_t step = 100; step-- > 0;) {
    Sample(kFour, {.temperature = 1, .seed = 7}, step);  // another sequence's draw, in between
    EXPECT_EQ(Sample(kFour, params, step), forward[step]);
  }
}

// ---- UniformDraw -------------------------------------------------------------------------------

TEST(UniformDraw, IsInRangeWithTheRightMeanAndVariance) {
  constexpr int kN = 200000;
  double sum = 0;
  double squares = 0;
  for (int step = 0; step < kN; ++step) {
    const double x = UniformDraw(5, step);
    ASSERT_GE(x, 0);
    ASSERT_LT(x, 1);
    sum += x;
    squares += (x - 0.5) * (x - 0.5);
  }
  // Five standard errors: sqrt(1/12 / n) of the mean, sqrt(1/180 / n) of the variance.
  EXPECT_NEAR(sum / kN, 0.5, 5 * std::sqrt(1.0 / 12 / kN));
  EXPECT_NEAR(squares / kN, 1.0 / 12, 5 * std::sqrt(1.0 / 180 / kN));
}

// Neighbouring steps, and the same step of neighbouring seeds, must know nothing of each other:
// pairs of them fill a grid of 16 x 16 evenly.
TEST(UniformDraw, IsIndependentFromStepToStepAndFromSeedToSeed) {
  constexpr int kN = 200000;
  constexpr int kGrid = 16;
  const auto chi_square = [](auto&& first, auto&& second) {
    std::vector<int> counts(kGrid * kGrid);
    for (int i = 0; i < kN; ++i) {
      const int row = static_cast<int>(first(i) * kGrid);
      ++counts[row * kGrid + static_cast<int>(second(i) * kGrid)];
    }
    return ChiSquare(counts, std::vector<double>(counts.size(), 1.0 / (kGrid * kGrid)), kN);
  };
  const auto step = [](int i) { return UniformDraw(9, i); };
  const auto next_step = [](int i) { return UniformDraw(9, i + 1); };
  const auto seed = [](int i) { return UniformDraw(i, 9); };
  const auto next_seed = [](int i) { return UniformDraw(i + 1, 9); };
  EXPECT_LT(chi_square(step, next_step), ChiSquareBound(kGrid * kGrid));
  EXPECT_LT(chi_square(seed, next_seed), ChiSquareBound(kGrid * kGrid));
  EXPECT_GT(chi_square(step, step), ChiSquareBound(kGrid * kGrid));  // the test can tell
}

// ---- What cannot be sampled --------------------------------------------------------------------

TEST(DamagedLogits, AreAnErrorThatNamesTheToken) {
  for (const float damaged : {kNan, -kNan, kInfinity, -kInfinity}) {
    for (const float temperature : {0.0F, 1.0F}) {
      for (const size_t at : {0, 1, 2, 15, 16, 31, 32, 34}) {
        std::vector<float> logits(35, 1);
        logits[at] = damaged;
        try {
          Sample(logits, {.temperature = temperature}, 0);
          ADD_FAILURE() << damaged << " at " << at << " was accepted";
        } catch (const InputError& error) {
          EXPECT_THAT(error.what(), HasSubstr("token " + std::to_string(at)));
        }
      }
    }
  }
}

struct BadParams {
  std::string flag;
  SamplingParams params;
};

class BadSamplingParams : public testing::TestWithParam<BadParams> {};

TEST_P(BadSamplingParams, AreAnErrorThatNamesTheFlag) {
  try {
    CheckSamplingParams(GetParam().params);
    FAIL() << "accepted";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), testing::StartsWith(GetParam().flag + " is "));
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, BadSamplingParams,
    testing::Values(BadParams{"--temperature", {.temperature = kNan}},
                    BadParams{"--temperature", {.temperature = -0.1F}},
                    BadParams{"--temperature", {.temperature = 100.1F}},
                    BadParams{"--temperature", {.temperature = kInfinity}},
                    BadParams{"--top-k", {.top_k = -1}}, BadParams{"--top-p", {.top_p = kNan}},
                    BadParams{"--top-p", {.top_p = 0}}, BadParams{"--top-p", {.top_p = 1.1F}},
                    BadParams{"--top-p", {.top_p = -0.5F}}, BadParams{"--min-p", {.min_p = kNan}},
                    BadParams{"--min-p", {.min_p = -0.1F}}, BadParams{"--min-p", {.min_p = 1.1F}}));

TEST(SamplingParams, MayBeAtTheEndsOfTheirRanges) {
  EXPECT_NO_THROW(CheckSamplingParams({}));
  EXPECT_NO_THROW(CheckSamplingParams({.temperature = -0.0F, .top_p = 1e-30F, .min_p = 0}));
  EXPECT_NO_THROW(CheckSamplingParams(
      {.temperature = 100, .top_k = 1 << 30, .top_p = 1, .min_p = 1, .seed = UINT64_MAX}));
}

}  // namespace
}  // namespace aios
