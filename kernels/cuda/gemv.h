// Matrix-vector product on the GPU, for 1 to 8 vectors: the projections of decoding.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/formats.h"

namespace aios::kernels::cuda {

inline constexpr int kGemvMaxRows = 8;

struct GemvArgs {
  const void* x = nullptr;       // [n_rows, d_in], of `dtype`
  const void* weight = nullptr;  // [d_out, d_in] row-major, of `dtype`
  void* y = nullptr;             // [n_rows, d_out], of `y_dtype`
  int n_rows = 1;                // 1 to kGemvMaxRows
  int64_t d_in = 0;
  int64_t d_out = 0;
  Format dtype = Format::kBF16;    // kBF16 or kF32
  Format y_dtype = Format::kBF16;  // kBF16 or kF32, whatever `dtype` is: logits are f32

  // Start while the kernel before on the stream still runs, and load weights until it is done
  // (kernels/cuda/pdl.cuh). That kernel must not write `weight`; x and y may depend on it. Without
  // an effect before Hopper.
  bool overlap_previous = false;
};

// y = x W^T. All pointers on the current device; y overlaps neither x nor weight.
//
// Sums are f32: f32 inputs by fused multiply-add, never TF32; bf16 inputs, whose products are exact
// in f32, by the tensor cores (their sums are cut off, not rounded: about 3e-6 of a row of y for
// d_in = 14336). A row of y is bitwise the same whatever n_rows, the other rows, the
// GPU's number of multiprocessors: the order of its sum depends on d_in alone (and on dtype).
//
// Fast where a row of d_in numbers is a multiple of 16 bytes and x and weight are 16-byte aligned;
// right, but slow, elsewhere; also then the alignment of y is that of its type. Which of the two is
// taken can change the bits.
// d_out == 0: nothing to do. d_in == 0: y = 0. Asynchronous on `stream`, may be captured into a
// graph; allocates nothing. Throws std::invalid_argument for other dtypes and row counts, CudaError
// if the launch fails. Thread-safe.
void Gemv(const GemvArgs& args, cudaStream_t stream);

}  // namespace aios::kernels::cuda
