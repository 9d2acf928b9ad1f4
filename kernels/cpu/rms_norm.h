// RmsNorm: x / rms(x) * weight (Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467).
#pragma once

#include <cstdint>

namespace aios::kernels::cpu {

struct RmsNormArgs {
  const float* x = nullptr;       // [n_tokens, d_model], the residual stream
  const float* weight = nullptr;  // [d_model]
  float eps = 1e-5F;              // added to the mean of the squares
  int64_t d_model = 0;
  float* out = nullptr;  // [n_tokens, d_model]; does not overlap x
};

// Does rows [begin, end). Thread-safe for ranges that do not overlap. The bits of a row depend on
// that row alone (and on the instruction set).
void RmsNorm(const RmsNormArgs& args, int64_t begin, int64_t end);

}  // namespace aios::kernels::cpu
