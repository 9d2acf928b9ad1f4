// silu(gate) * up, silu(z) = z / (1 + e^-z), on the device.
#pragma once

#include <cuda_runtime.h>

namespace aios::kernels::cuda {

// For results of T. With t = e^-|gate|, which cannot overflow, the sigmoid is 1 / (1 + t) for a
// positive gate and t / (1 + t) for a negative one.
template <typename T>
__device__ __forceinline__ float SiluMulOf(float gate, float up) {
  if constexpr (sizeof(T) == 2) {
    const float t = __expf(-fabsf(gate));
    return gate * __fdividef(gate < 0 ? t : 1.0F, 1 + t) * up;
  } else {
    const float t = expf(-fabsf(gate));
    return gate * ((gate < 0 ? t : 1.0F) / (1 + t)) * up;
  }
}

}  // namespace aios::kernels::cuda
