// RmsNorm on the GPU: x / rms(x) * weight (Zhang and Sennrich 2019,
// https://arxiv.org/abs/1910.07467), with the addition to the residual stream that comes before it.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/formats.h"

namespace aios::kernels::cuda {

struct RmsNormArgs {
  float* x = nullptr;             // [n_rows, d_model], the residual stream: x += delta
  const void* delta = nullptr;    // [n_rows, d_model], of `dtype`; null: x stays as it is
  const float* weight = nullptr;  // [d_model]
  void* out = nullptr;            // [n_rows, d_model], of `dtype`
  float eps = 1e-5F;              // added to the mean of the squares
  int64_t n_rows = 0;
  int64_t d_model = 0;
  Format dtype = Format::kBF16;  // kBF16 or kF32

  // Start while the kernel before on the stream still runs (kernels/cuda/pdl.cuh). That kernel must
  // not write `weight`; all else may depend on it. Without an effect before Hopper.
  bool overlap_previous = false;
};

// x += delta; out = x / sqrt(mean(x^2) + eps) * weight, row by row, in f32; rounded once, to
// `dtype`. All pointers on the current device; out overlaps none of the others.
//
// The bits of a row depend on that row alone, not on n_rows or on its place among them.
//
// Fast where d_model is a multiple of 8, at most 16,384, and all pointers are 16-byte aligned;
// right, but slower, elsewhere. Which of the two is taken can change the bits.
// n_rows == 0 or d_model == 0: nothing to do. Asynchronous on `stream`, may be captured into a
// graph; allocates nothing. Throws std::invalid_argument for another dtype or a negative size,
// CudaError if the launch fails. Thread-safe.
void RmsNorm(const RmsNormArgs& args, cudaStream_t stream);

}  // namespace aios::kernels::cuda
