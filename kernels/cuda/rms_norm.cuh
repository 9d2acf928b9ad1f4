// What the kernels that normalize share, so that they give the same bits.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace aios::kernels::cuda {

__device__ __forceinline__ float InverseRms(float sum_of_squares, int64_t d_model, float eps) {
  return 1 / sqrtf(sum_of_squares / static_cast<float>(d_model) + eps);
}

// The sum over a warp, the same bits in all lanes: a butterfly adds the same two numbers on both of
// its sides.
__device__ __forceinline__ float WarpSum(float sum) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xFFFFFFFF, sum, step);
  return sum;
}

}  // namespace aios::kernels::cuda
