// Sampling: from a model's scores to the next token.
//
// The scores are turned into probabilities (temperature, softmax), the unlikely tokens are cut off
// (top-k, top-p, min-p, in this order, each on what the one before it left; the order of Hugging
// Face's transformers), and one of the rest is drawn.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace aios {

struct SamplingParams {
  float temperature =
      0;            // 0: greedy, always the most likely token. 1: the model's own distribution
  int top_k = 0;    // keep the k most likely; 0: all
  float top_p = 1;  // keep the most likely that together reach probability p ("nucleus", Holtzman
                    // et al. 2019)
  float min_p =
      0;  // keep those at least min_p times as likely as the most likely (Nguyen et al. 2024)
  uint64_t seed = 0;
};

// Throws InputError unless every number is in its range; NaN is in none.
void CheckSamplingParams(const SamplingParams& params);

// A token and its probability (or its logit, where said so).
using ScoredToken = std::pair<int32_t, float>;

// The most likely tokens, best first, at most k. Of equal ones the smaller id comes first.
std::vector<ScoredToken> TopLogits(std::span<const float> logits, int k);

// log(sum(exp(logits))): logit - LogSumExp is a token's log-probability.
double LogSumExp(std::span<const float> logits);

// Whether no logit is infinite or NaN.
bool AllFinite(std::span<const float> logits);

// The best logit less the second best: how close a greedy choice was. Infinity if there is only
// one.
float TopMargin(std::span<const float> logits);

// The candidates that the parameters leave, best first, with probabilities that add up to 1.
// REQUIRES: temperature > 0.
std::vector<ScoredToken> Candidates(std::span<const float> logits, const SamplingParams& params);

// The next token. `step` counts the tokens drawn so far: the draw depends on (logits, params, step)
// and on nothing else, so that a sequence comes out the same whatever is computed beside it. Throws
// InputError if a logit is not a finite number: the weights are damaged. Thread-safe.
int32_t Sample(std::span<const float> logits, const SamplingParams& params, uint64_t step);

// The number in [0, 1) that step `step` of a sequence with this seed draws: a hash of both
// (SplitMix64, Steele et al. 2014), so that any step can be computed alone.
double UniformDraw(uint64_t seed, uint64_t step);

}  // namespace aios
