// What a block finds together.
#pragma once

#include <cuda_runtime.h>

namespace aios::ladder {

// combine(a, b) over the values of all threads of the block (whole warps, at most 32 of them), in
// every thread. By halves within a warp, through registers; then over the warps, through `of_warp`
// in shared memory, which may be used again after a barrier.
template <typename T, typename Combine>
__device__ T ReduceOverBlock(T value, T* of_warp, Combine combine) {
  for (int step = 16; step > 0; step /= 2)
    value = combine(value, __shfl_xor_sync(~0u, value, step));
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
  __syncthreads();
  const int n_warps = static_cast<int>(blockDim.x) / 32;
  value = of_warp[0];
  for (int warp = 1; warp < n_warps; ++warp) value = combine(value, of_warp[warp]);
  return value;
}

}  // namespace aios::ladder
