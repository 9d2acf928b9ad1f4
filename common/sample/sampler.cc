#include "common/sample/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "common/base/check.h"
#include "common/base/error.h"

namespace aios {
namespace {

// Best first; of equal ones the smaller id.
bool Better(const ScoredToken& a, const ScoredToken& b) {
  return a.second != b.second ? a.second > b.second : a.first < b.first;
}

void CheckScores(std::span<const float> logits) {
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!std::isfinite(logits[i])) {
      throw InputError("the model's score of token {} is {}: its weights are damaged", i,
                       logits[i]);
    }
  }
}

int32_t ArgMax(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

uint64_t SplitMix64(uint64_t x) {
  x += 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

}  // namespace

void CheckSamplingParams(const SamplingParams& params) {
  const auto check = [](const char* name, double value, bool ok, const char* range) {
    if (!ok) throw InputError("{} is {}, but must be {}", name, value, range);
  };
  check("--temperature", params.temperature, params.temperature >= 0 && params.temperature <= 100,
        "between 0 and 100");
  check("--top-k", params.top_k, params.top_k >= 0, "0 or more");
  check("--top-p", params.top_p, params.top_p > 0 && params.top_p <= 1, "above 0 and at most 1");
  check("--min-p", params.min_p, params.min_p >= 0 && params.min_p <= 1, "between 0 and 1");
}

std::vector<ScoredToken> TopLogits(std::span<const float> logits, int k) {
  CheckScores(logits);
  std::vector<ScoredToken> tokens;
  tokens.reserve(logits.size());
  for (size_t i = 0; i < logits.size(); ++i)
    tokens.emplace_back(static_cast<int32_t>(i), logits[i]);
  const size_t n = std::min(tokens.size(), static_cast<size_t>(std::max(k, 0)));
  std::partial_sort(tokens.begin(), tokens.begin() + static_cast<int64_t>(n), tokens.end(), Better);
  tokens.resize(n);
  return tokens;
}

double LogSumExp(std::span<const float> logits) {
  AIOS_CHECK(!logits.empty());
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - max);
  return max + std::log(sum);
}

std::vector<ScoredToken> Candidates(std::span<const float> logits, const SamplingParams& params) {
  AIOS_CHECK(params.temperature > 0);
  const auto n_wanted = static_cast<int>(logits.size());
  std::vector<ScoredToken> tokens =
      TopLogits(logits, params.top_k > 0 ? std::min(params.top_k, n_wanted) : n_wanted);

  // Softmax. The largest logit is taken off first: it cancels out, and keeps exp from overflowing.
  const double max = tokens.front().second;
  double sum = 0;
  std::vector<double> weights;
  weights.reserve(tokens.size());
  for (const ScoredToken& token : tokens) {
    weights.push_back(std::exp((token.second - max) / params.temperature));
    sum += weights.back();
  }

  // Tokens are sorted, so each cut keeps a front part. At least the best one stays.
  size_t n_kept = 0;
  for (double reached = 0; n_kept < tokens.size() && reached < params.top_p * sum; ++n_kept) {
    reached += weights[n_kept];
  }
  n_kept = std::max<size_t>(n_kept, 1);
  while (n_kept > 1 && weights[n_kept - 1] < params.min_p * weights[0]) --n_kept;

  tokens.resize(n_kept);
  const double kept_sum =
      std::accumulate(weights.begin(), weights.begin() + static_cast<int64_t>(n_kept), 0.0);
  for (size_t i = 0; i < n_kept; ++i) tokens[i].second = static_cast<float>(weights[i] / kept_sum);
  return tokens;
}

int32_t Sample(std::span<const float> logits, const SamplingParams& params, uint64_t step) {
  AIOS_CHECK(!logits.empty());
  if (params.temperature == 0) {
    CheckScores(logits);
    return ArgMax(logits);
  }
  const std::vector<ScoredToken> candidates = Candidates(logits, params);
  double left = UniformDraw(params.seed, step);
  for (const ScoredToken& candidate : candidates) {
    left -= candidate.second;
    if (left < 0) return candidate.first;
  }
  return candidates.back().first;  // the probabilities added up to a hair less than 1
}

double UniformDraw(uint64_t seed, uint64_t step) {
  return static_cast<double>(SplitMix64(SplitMix64(seed) + step) >> 11) * 0x1p-53;
}

}  // namespace aios
