// SiluMul: the gate of the feed-forward block, silu(gate) * up with silu(x) = x / (1 + e^-x)
// (SwiGLU: Shazeer 2020, https://arxiv.org/abs/2002.05202).
#pragma once

#include <cstdint>

namespace aios::kernels::cpu {

struct SiluMulArgs {
  const float* gate_up = nullptr;  // [n_tokens, 2 * d_ff]: a row's gate, then its up
  int64_t d_ff = 0;
  float* out = nullptr;  // [n_tokens, d_ff]; does not overlap gate_up
};

// Writes rows [begin, end) of out. Thread-safe for ranges that do not overlap. The bits of a row
// depend on that row alone (and on the instruction set).
void SiluMul(const SiluMulArgs& args, int64_t begin, int64_t end);

}  // namespace aios::kernels::cpu
