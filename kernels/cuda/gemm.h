// Matrix-matrix product on the GPU through cuBLASLt: the projections of a prefill.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>

#include "kernels/formats.h"

namespace aios::kernels::cuda {

struct GemmArgs {
  const void* x = nullptr;       // [n_rows, d_in], of `dtype`
  const void* weight = nullptr;  // [d_out, d_in] row-major, of `dtype`
  void* y = nullptr;             // [n_rows, d_out], of `y_dtype`
  int64_t n_rows = 0;
  int64_t d_in = 0;
  int64_t d_out = 0;
  Format dtype = Format::kBF16;    // kBF16 or kF32
  Format y_dtype = Format::kBF16;  // kBF16 or kF32; kF32 if `dtype` is
  bool add = false;                // to what is in y: y += x W^T
};

// cuBLASLt with the memory that it works in and the ways that it chose, one for each shape: asking
// it takes longer than a small product. Not thread-safe; products of one object must not overlap,
// since they share the memory. Move-only.
class Gemm {
 public:
  Gemm();  // of the current device
  Gemm(Gemm&&) noexcept;
  Gemm& operator=(Gemm&&) noexcept;
  ~Gemm();

  // y = x W^T, or y += x W^T; sums in f32; f32 products are true f32, never TF32. x, weight and y
  // are aligned to 16 bytes. The order of a row's sum depends on all of the shape, n_rows too: that
  // is the library's affair. Asynchronous on `stream`; may be captured, once the shape has been
  // used before. Throws std::runtime_error with the library's words.
  void Run(const GemmArgs& args, cudaStream_t stream);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace aios::kernels::cuda
