// Exercise: RoPE, which tells attention where a token stands.
//
// Each head of a query or key is head_dim / 2 pairs of numbers; pair i is turned, as a point in a
// plane, by the angle position * theta^(-2i / head_dim). The pairs are those of Hugging Face's
// files: number i and number i + head_dim / 2.
//
//   x'[i]                = x[i] * cos(angle) - x[i + head_dim / 2] * sin(angle)
//   x'[i + head_dim / 2] = x[i] * sin(angle) + x[i + head_dim / 2] * cos(angle)
//
// By hand: head_dim 4, theta 100, position 2, x = [1, 0, 0, 1]. Pair 0 is (1, 0), its angle 2 * 1;
// pair 1 is (0, 1), its angle 2 * 100^(-2/4) = 0.2.
//   x' = [cos 2, -sin 0.2, sin 2, cos 0.2] = [-0.4161, -0.1987, 0.9093, 0.9801]
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace aios::exercise {

struct RopeShape {
  int n_heads;
  int head_dim;  // even
  float theta;   // 10,000 in the first models, up to 1,000,000 in newer ones
};

// Turns x in place.
//   x          [n_tokens, n_heads, head_dim]
//   positions  [n_tokens]: where each token stands in its text; not always 0, 1, 2, ...
void Rope(std::span<float> x, std::span<const int32_t> positions, const RopeShape& shape);

}  // namespace aios::exercise
