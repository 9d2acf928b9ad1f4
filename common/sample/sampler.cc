#include "common/sample/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "common/base/check.h"
#include "common/base/error.h"

namespace aios {
namespace {

// Best first; of equal ones the smaller id.
bool Better(const ScoredToken& a, const ScoredToken& b) {
  return a.second != b.second ? a.second > b.second : a.first < b.first;
}

// Loops over this many numbers side by side: the compiler makes vectors of them.
constexpr size_t kLanes = 16;

void CheckScores(std::span<const float> logits) {
  if (AllFinite(logits)) return;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!std::isfinite(logits[i])) {
      throw InputError("the model's score of token {} is {}: its weights are damaged", i,
                       logits[i]);
    }
  }
}

// The first of the largest. REQUIRES: no NaN.
int32_t ArgMax(std::span<const float> logits) {
  constexpr size_t kBlock = 1024;  // which one has the largest; only that one is searched for it
  size_t best_block = 0;
  float best = -std::numeric_limits<float>::infinity();
  for (size_t begin = 0; begin < logits.size(); begin += kBlock) {
    const std::span block = logits.subspan(begin, std::min(kBlock, logits.size() - begin));
    float largest[kLanes];
    std::fill_n(largest, kLanes, block[0]);
    size_t i = 0;
    for (; i + kLanes <= block.size(); i += kLanes) {
      for (size_t j = 0; j < kLanes; ++j) largest[j] = std::max(largest[j], block[i + j]);
    }
    for (; i < block.size(); ++i) largest[0] = std::max(largest[0], block[i]);
    const float of_block = *std::max_element(largest, largest + kLanes);
    if (of_block > best) {
      best = of_block;
      best_block = begin;
    }
  }
  return static_cast<int32_t>(
      std::find(logits.begin() + static_cast<std::ptrdiff_t>(best_block), logits.end(), best) -
      logits.begin());
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

bool AllFinite(std::span<const float> logits) {
  // Infinities and NaNs have all bits of the exponent set.
  constexpr uint32_t kExponent = 0x7F800000;
  uint32_t broken[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) {
      const auto bits = std::bit_cast<uint32_t>(logits[i + j]);
      broken[j] |= static_cast<uint32_t>((bits & kExponent) == kExponent);
    }
  }
  for (; i < logits.size(); ++i) broken[0] |= static_cast<uint32_t>(!std::isfinite(logits[i]));
  return std::all_of(broken, broken + kLanes, [](uint32_t b) { return b == 0; });
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

float TopMargin(std::span<const float> logits) {
  AIOS_CHECK(!logits.empty());
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  float best[kLanes], second[kLanes];
  std::fill_n(best, kLanes, kLowest);
  std::fill_n(second, kLanes, kLowest);
  const auto add = [&](size_t lane, float logit) {
    second[lane] = std::max(second[lane], std::min(best[lane], logit));
    best[lane] = std::max(best[lane], logit);
  };
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) add(j, logits[i + j]);
  }
  for (; i < logits.size(); ++i) add(0, logits[i]);
  // Of the lanes' two best each, the two best of all.
  for (size_t j = 1; j < kLanes; ++j) {
    add(0, best[j]);
    add(0, second[j]);
  }
  return best[0] - second[0];
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
