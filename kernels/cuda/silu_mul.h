// SiluMul: the gate of the feed-forward block, silu(gate) * up with silu(x) = x / (1 + e^-x)
// (SwiGLU: Shazeer 2020, https://arxiv.org/abs/2002.05202).
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/formats.h"

namespace aios::kernels::cuda {

struct SiluMulArgs {
  Format dtype = Format::kBF16;   // of gate_up and out: kBF16 or kF32
  const void* gate_up = nullptr;  // [n_tokens, 2 * d_ff]: a row's gate, then its up
  int64_t n_tokens = 0;
  int64_t d_ff = 0;
  void* out = nullptr;  // [n_tokens, d_ff]; does not overlap gate_up

  // Start while the kernel before on the stream still runs, and wait for it (kernels/cuda/pdl.cuh).
  bool overlap_previous = false;
};

// out = silu(gate) * up, each number for itself, computed in f32. All pointers are to device
// memory. bf16 numbers take the fast exponential and division, whose error of some 2^-21 vanishes
// in the rounding to 2^-9; f32 numbers the accurate ones. Fast where gate_up and out are aligned to
// 16 bytes and d_ff is a multiple of 8 (f32: of 4); the bits are the same elsewhere. Asynchronous
// on `stream`, may be captured into a graph. Thread-safe. Throws std::invalid_argument for another
// dtype, CudaError if the launch fails.
void SiluMul(const SiluMulArgs& args, cudaStream_t stream);

}  // namespace aios::kernels::cuda
