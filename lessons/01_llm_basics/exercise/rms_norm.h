// Exercise: RMSNorm, which keeps the residual stream at a steady size.
//
// Each token's row is divided by its root mean square, then multiplied by a learned weight, number
// by number:
//
//   out[t, i] = x[t, i] / sqrt(mean over i of x[t, i]^2 + eps) * weight[i]
//
// Unlike LayerNorm it subtracts no mean. eps keeps a row of zeros from being divided by zero.
//
// By hand: x = [3, 4], weight = [1, 1], eps = 0. The mean of the squares is (9 + 16) / 2 = 12.5,
// its root 3.536, and out = [0.8485, 1.1314].
#pragma once

#include <cstddef>
#include <span>

namespace aios::exercise {

//   x, out  [n_tokens, d_model], each row after row; out does not overlap x
//   weight  [d_model]; its size is d_model
void RmsNorm(std::span<const float> x, std::span<const float> weight, float eps,
             std::span<float> out);

}  // namespace aios::exercise
