// RmsNorm: x / rms(x) * weight (Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467), with
// the addition to the residual stream that comes before it.
#pragma once

#include <cstdint>

namespace aios::kernels::cpu {

struct RmsNormArgs {
  float* x = nullptr;             // [n_tokens, d_model], the residual stream: x += delta
  const float* delta = nullptr;   // [n_tokens, d_model]; null: x stays as it is
  const float* weight = nullptr;  // [d_model]
  float eps = 1e-5F;              // added to the mean of the squares
  int64_t d_model = 0;
  float* out = nullptr;  // [n_tokens, d_model]; overlaps neither x nor delta
};

// Does rows [begin, end). Thread-safe for ranges that do not overlap. The bits of a row depend on
// that row alone (and on the instruction set).
void RmsNorm(const RmsNormArgs& args, int64_t begin, int64_t end);

}  // namespace aios::kernels::cpu
