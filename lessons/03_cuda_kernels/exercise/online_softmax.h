// Exercise: the online softmax, the heart of FlashAttention.
//
// One query's attention is sum(p[i] * values[i]) with p = softmax(scores). Softmax subtracts the
// largest score before exp, so it seems to need all scores before the first exp. It does not: keep
//
//   max       the largest score so far
//   sum       the sum of exp(score - max) so far
//   weighted  the sum of exp(score - max) * value so far, [head_dim]
//
// and when a block of scores brings a larger one, what was summed so far is too large by the same
// factor in each term: multiply it by exp(old max - new max). At the end the output is weighted /
// sum. Scores come block by block and are never needed again.
//
// By hand, with head_dim 1: scores [ln 1, ln 2] with values [10, 40] give max = ln 2, sum = 1/2 +
// 1, weighted = 10/2 + 40 = 45. Then the score ln 4 with value 80: the factor is exp(ln 2 - ln 4) =
// 1/2, so max = ln 4, sum = 1.5/2 + 1 = 1.75, weighted = 45/2 + 80 = 102.5, and the output 58.57:
// the same as (1 * 10 + 2 * 40 + 4 * 80) / 7.
//
// Scores may be as large as 1e4, and -infinity where a mask hides a token; a whole block may be
// hidden, the first one too. Beware: -infinity - -infinity is not a number.
#pragma once

#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

namespace aios::exercise {

struct SoftmaxState {
  explicit SoftmaxState(size_t head_dim) : weighted(head_dim) {}

  float max = -INFINITY;
  float sum = 0;
  std::vector<float> weighted;  // [head_dim]
};

// Takes in one block.
//   scores [n_tokens], n_tokens may be 0
//   values [n_tokens, head_dim]
void AddBlock(SoftmaxState& state, std::span<const float> scores, std::span<const float> values);

// Writes the output, [head_dim]: zeros if no score was above -infinity.
void Finish(const SoftmaxState& state, std::span<float> out);

}  // namespace aios::exercise
