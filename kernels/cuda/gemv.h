// Matrix-vector product on the GPU, for 1 to 8 vectors: the projections of decoding, fused with
// what comes before and after them, so that a layer of decoding is four of these and one attention.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/formats.h"

namespace aios::kernels::cuda {

inline constexpr int kGemvMaxRows = 8;

enum class GemvOutput {
  kStore,    // y = x W^T
  kAdd,      // y += x W^T, y of f32: the residual stream
  kSiluMul,  // y = silu(x Wg^T) * (x Wu^T), W = [Wg; Wu], silu(z) = z / (1 + e^-z)
};

struct GemvArgs {
  // The vectors: x itself, or, where `residual` is not null, x = RmsNorm(residual), to the bit what
  // kernels/cuda/rms_norm computes (rounded to `dtype`).
  const void* x = nullptr;             // [n_rows, d_in], of `dtype`
  const float* residual = nullptr;     // [n_rows, d_in]
  const float* norm_weight = nullptr;  // [d_in]
  float norm_eps = 1e-5F;
  void* workspace = nullptr;  // with `residual`: GemvWorkspaceBytes bytes, 16-byte aligned, until
                              // the next kernel on the stream is done

  const void* weight = nullptr;  // [d_out, d_in] row-major, of `dtype`; kSiluMul: [2 * d_out, d_in]
  void* y = nullptr;             // [n_rows, d_out], of `y_dtype`
  int n_rows = 1;                // 1 to kGemvMaxRows
  int64_t d_in = 0;
  int64_t d_out = 0;
  Format dtype = Format::kBF16;    // kBF16 or kF32
  Format y_dtype = Format::kBF16;  // kBF16 or kF32, whatever `dtype` is: logits are f32
  GemvOutput output = GemvOutput::kStore;

  // Start while the kernel before on the stream still runs, and load weights until it is done
  // (kernels/cuda/pdl.cuh). That kernel must not write `weight` or `norm_weight`; all else may
  // depend on it. Without an effect before Hopper.
  bool overlap_previous = false;
};

// Of args.workspace, for as many rows and so long ones.
size_t GemvWorkspaceBytes(int n_rows, int64_t d_in, Format dtype);

// y = x W^T, or what args.output says. All pointers on the current device; y overlaps none of the
// others. (kAdd with `residual`: y is another.)
//
// Sums are f32: f32 inputs by fused multiply-add, never TF32; bf16 inputs, whose products are exact
// in f32, by the tensor cores (their sums are cut off, not rounded: about 3e-6 of a row of y for
// d_in = 14336). y is rounded once, at the end. A row of y is bitwise the same whatever n_rows, the
// other rows, the GPU's number of multiprocessors: the order of its sum depends on d_in alone (and
// on dtype).
//
// Fast where a row of d_in numbers is a multiple of 16 bytes and x, residual, norm_weight and
// weight are 16-byte aligned; right, but slow, elsewhere; also then the alignment of y is that of
// its type. Which of the two is taken can change the bits.
//
// d_out == 0: nothing to do. d_in == 0: the sums are 0. Asynchronous on `stream`, one kernel or
// two; may be captured into a graph; allocates nothing. Throws std::invalid_argument for other
// dtypes and row counts, kAdd to a y that is not f32, and a residual without workspace; CudaError
// if a launch fails. Thread-safe.
//
//     Gemv({.residual = stream, .norm_weight = w, .workspace = scratch, .weight = gate_up, .y = h,
//           .d_in = d_model, .d_out = d_ff, .output = GemvOutput::kSiluMul}, stream);
//     Gemv({.x = h, .weight = down, .y = stream, .d_in = d_ff, .d_out = d_model,
//           .y_dtype = Format::kF32, .output = GemvOutput::kAdd}, stream);
void Gemv(const GemvArgs& args, cudaStream_t stream);

}  // namespace aios::kernels::cuda
