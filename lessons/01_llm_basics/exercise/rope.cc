#include "rope.h"

#include <cmath>

namespace aios::exercise {

void Rope(std::span<float> x, std::span<const int32_t> positions, const RopeShape& shape) {
  // BEGIN SOLUTION
  const int half = shape.head_dim / 2;
  for (size_t t = 0; t < positions.size(); ++t) {
    for (int h = 0; h < shape.n_heads; ++h) {
      float* head = &x[(t * shape.n_heads + h) * shape.head_dim];
      for (int i = 0; i < half; ++i) {
        const double frequency = std::pow(shape.theta, -2.0 * i / shape.head_dim);
        const double angle = positions[t] * frequency;
        const auto cos = static_cast<float>(std::cos(angle));
        const auto sin = static_cast<float>(std::sin(angle));
        const float a = head[i];
        const float b = head[i + half];
        head[i] = a * cos - b * sin;
        head[i + half] = a * sin + b * cos;
      }
    }
  }
  // END SOLUTION
}

}  // namespace aios::exercise
