// What levels 3 and 4 share: the product of 8 bf16 numbers with 8 others.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

namespace aios::ladder::gemv {

inline constexpr int kVector = 8;  // bf16 numbers in 16 bytes

// sum + w . x, of 8 numbers each. A bf16 is the upper half of an f32: no conversion instruction.
__device__ __forceinline__ float Dot(uint4 w, uint4 x, float sum) {
  const uint32_t ws[] = {w.x, w.y, w.z, w.w}, xs[] = {x.x, x.y, x.z, x.w};
#pragma unroll
  for (int i = 0; i < kVector / 2; ++i) {
    sum = fmaf(__uint_as_float(ws[i] << 16), __uint_as_float(xs[i] << 16), sum);
    sum = fmaf(__uint_as_float(ws[i] & 0xFFFF0000), __uint_as_float(xs[i] & 0xFFFF0000), sum);
  }
  return sum;
}

__device__ __forceinline__ float SumOverWarp(float sum) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xFFFFFFFF, sum, step);
  return sum;
}

}  // namespace aios::ladder::gemv
