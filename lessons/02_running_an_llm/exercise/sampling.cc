#include "sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace aios::exercise {

int32_t Sample(std::span<const float> logits, const SamplingParams& params, double uniform) {
  // BEGIN SOLUTION
  // STUB: return -1;
  // The candidates, best first. stable_sort keeps the smaller of equal tokens in front.
  std::vector<int32_t> tokens(logits.size());
  std::iota(tokens.begin(), tokens.end(), 0);
  std::stable_sort(tokens.begin(), tokens.end(),
                   [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  if (params.temperature == 0) return tokens[0];

  const size_t n_kept = params.top_k == 0 ? tokens.size() : params.top_k;
  tokens.resize(std::min(n_kept, tokens.size()));

  // Softmax of those that top-k leaves; less the largest, so that exp does not overflow.
  std::vector<double> probabilities;
  double sum = 0;
  for (const int32_t token : tokens) {
    const double scaled = (logits[token] - logits[tokens[0]]) / params.temperature;
    sum += probabilities.emplace_back(std::exp(scaled));
  }
  for (double& p : probabilities) p /= sum;

  // Top-p: the candidate with which the sum reaches top_p is the last that stays.
  double mass = 0;
  size_t n = 0;
  while (n < probabilities.size() && mass < params.top_p) mass += probabilities[n++];

  // The draw, on a scale from 0 to mass.
  double walked = 0;
  for (size_t i = 0; i < n; ++i) {
    walked += probabilities[i];
    if (walked > uniform * mass) return tokens[i];
  }
  return tokens[n - 1];  // rounding
  // END SOLUTION
}

}  // namespace aios::exercise
