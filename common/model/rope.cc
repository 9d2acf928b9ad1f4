#include "common/model/rope.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/dequantize.h"

namespace aios {

std::vector<double> RopeFrequencies(const ModelConfig& config, const Tensor& factors) {
  std::vector<float> divisors;
  if (factors.data() != nullptr) {
    divisors.resize(factors.n_elements());
    kernels::Dequantize(factors.dtype(), factors.data(), factors.n_elements(), divisors.data());
  }
  std::vector<double> frequencies;
  for (int64_t i = 0; i < config.head_dim / 2; ++i) {
    double frequency = std::pow(config.rope.theta, -2.0 * static_cast<double>(i) /
                                                       static_cast<double>(config.head_dim)) /
                       config.rope.linear_factor;
    if (!divisors.empty()) frequency /= divisors[i];
    if (const auto& scaling = config.rope.llama3) {
      // How often the pair turns within the original context: seldom -> slowed down by `factor`,
      // often -> left alone.
      const double turns = scaling->original_context * frequency / (2 * M_PI);
      const double keep = std::clamp((turns - scaling->low_freq_factor) /
                                         (scaling->high_freq_factor - scaling->low_freq_factor),
                                     0.0, 1.0);
      frequency *= keep + (1 - keep) / scaling->factor;
    }
    frequencies.push_back(frequency);
  }
  return frequencies;
}

RopeAngles AnglesOf(const std::vector<double>& frequencies, int64_t n_positions) {
  RopeAngles angles;
  angles.cosine.reserve(n_positions * frequencies.size());
  angles.sine.reserve(n_positions * frequencies.size());
  for (int64_t position = 0; position < n_positions; ++position) {
    for (const double frequency : frequencies) {
      const double angle = static_cast<double>(position) * frequency;
      angles.cosine.push_back(static_cast<float>(std::cos(angle)));
      angles.sine.push_back(static_cast<float>(std::sin(angle)));
    }
  }
  return angles;
}

}  // namespace aios
