// Dequantize: numbers of any weight format become a matrix of the lane's dtype. It is the way of
// quantized files to the GPU: their bytes cross the bus, a quarter to a half of the numbers' own.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/formats.h"

namespace aios::kernels::cuda {

struct DequantizeArgs {
  Format format = Format::kF32;  // any
  // n / block_size blocks on the device, aligned to 2 bytes (kF32: 4); fast from 16.
  const void* blocks = nullptr;
  int64_t n = 0;                    // a multiple of the format's block size
  Format out_dtype = Format::kF32;  // kF32 or kBF16
  void* out = nullptr;              // [n] on the device, aligned to 16 bytes; does not overlap
};

// out[i] = the i-th number. In f32 bitwise what kernels/cpu/dequantize.h gives (which NaN apart),
// in bf16 that rounded to nearest, ties to even. Asynchronous on `stream`. Thread-safe. Throws
// std::invalid_argument for another out_dtype, an n that splits a block or an `out` that is not
// aligned; CudaError if the launch fails.
void Dequantize(const DequantizeArgs& args, cudaStream_t stream);

}  // namespace aios::kernels::cuda
