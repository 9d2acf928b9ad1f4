#include "common/engine/judge.h"

#include <gtest/gtest.h>

#include <vector>

namespace aios {
namespace {

// A model of 4 tokens that likes best the one after the last, and next to it, 0.25 less, the one
// after that.
std::vector<float> Counting(std::span<const TokenId> sequence, int64_t n_last) {
  std::vector<float> logits;
  for (const TokenId token : sequence.last(n_last)) {
    std::vector<float> row(4);
    row[(token + 1) % 4] = 2;
    row[(token + 2) % 4] = 1.75;
    logits.insert(logits.end(), row.begin(), row.end());
  }
  return logits;
}

Output Answer(std::vector<TokenId> prompt, std::vector<TokenId> tokens) {
  return {.prompt_ids = std::move(prompt), .generation = {.tokens = std::move(tokens)}};
}

TEST(JudgeByForcing, AgreesWithWhatItWouldHaveChosen) {
  const std::vector<Output> outputs = {Answer({3, 0}, {1, 2, 3, 0}), Answer({2}, {3})};
  for (const bool exact : {true, false}) {
    const Check check = JudgeByForcing("same", Counting, outputs, exact);
    EXPECT_EQ(check.name, "same");
    EXPECT_TRUE(check.ok);
    EXPECT_EQ(check.detail, "5 of 5; worst lead of another 0.000");
  }
}

TEST(JudgeByForcing, LetsPassANearTieOnlyWhereNumbersAreRounded) {
  // 3 for 2; what follows is judged by the answer as it is.
  const std::vector<Output> outputs = {Answer({0}, {1, 3, 0})};
  EXPECT_FALSE(JudgeByForcing("", Counting, outputs, /*exact=*/true).ok);
  const Check check = JudgeByForcing("", Counting, outputs, /*exact=*/false);
  EXPECT_TRUE(check.ok);
  EXPECT_EQ(check.detail, "2 of 3; worst lead of another 0.250");
}

TEST(JudgeByForcing, RefusesATokenThatIsFarFromTheBest) {
  const std::vector<Output> outputs = {Answer({0}, {1, 2}), Answer({0}, {0})};
  const Check check = JudgeByForcing("", Counting, outputs, /*exact=*/false);
  EXPECT_FALSE(check.ok);
  EXPECT_EQ(check.detail, "2 of 3; worst lead of another 2.000");
}

}  // namespace
}  // namespace aios
