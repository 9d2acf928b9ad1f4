// SiluMul: the gate of the feed-forward block, silu(gate) * up with silu(x) = x / (1 + e^-x)
// (SwiGLU: Shazeer 2020, https://arxiv.org/abs/2002.05202).
#pragma once

#include <cstdint>

namespace aios::kernels::cpu {

struct SiluMulArgs {
  const float* gate_up = nullptr;  // [n_rows, 2 * d_ff]: a row's gate, then its up
  int64_t n_rows = 0;
  int64_t d_ff = 0;
  float* out = nullptr;  // [n_rows, d_ff]; does not overlap gate_up
};

// Writes columns [begin, end) of out, so that a thread can go on with those that it just got from
// the product (matmul.h). Thread-safe for ranges that do not overlap. The bits of a number depend
// on its gate and its up alone (and on the instruction set).
void SiluMul(const SiluMulArgs& args, int64_t begin, int64_t end);

}  // namespace aios::kernels::cpu
