// Pack: 16 bytes of f32 or bf16 as floats in registers. A thread that moves 16 bytes at a time
// keeps enough of them in flight to reach the memory's rate.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <initializer_list>

namespace aios::kernels::cuda {

template <typename T>
inline constexpr int kPackSize = 16 / sizeof(T);  // numbers in 16 bytes: 4 of f32, 8 of bf16

__device__ __forceinline__ float ToFloat(float x) { return x; }
__device__ __forceinline__ float ToFloat(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ void FromFloat(float x, float* out) { *out = x; }
__device__ __forceinline__ void FromFloat(float x, __nv_bfloat16* out) {
  *out = __float2bfloat16_rn(x);
}

// REQUIRES: `from` is aligned to 16 bytes. A bf16 is the upper half of its f32.
__device__ __forceinline__ void LoadPack(const float* from, float (&x)[4]) {
  const float4 v = *reinterpret_cast<const float4*>(from);
  x[0] = v.x, x[1] = v.y, x[2] = v.z, x[3] = v.w;
}
__device__ __forceinline__ void LoadPack(const __nv_bfloat16* from, float (&x)[8]) {
  const uint4 v = *reinterpret_cast<const uint4*>(from);
  const uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    x[2 * i] = __uint_as_float(words[i] << 16);
    x[2 * i + 1] = __uint_as_float(words[i] & 0xFFFF0000U);
  }
}

// Rounds to nearest, ties to even.
__device__ __forceinline__ void StorePack(const float (&x)[4], float* to) {
  *reinterpret_cast<float4*>(to) = make_float4(x[0], x[1], x[2], x[3]);
}
__device__ __forceinline__ void StorePack(const float (&x)[8], __nv_bfloat16* to) {
  uint32_t words[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(x[2 * i], x[2 * i + 1]);
    words[i] = *reinterpret_cast<const uint32_t*>(&pair);
  }
  *reinterpret_cast<uint4*>(to) = make_uint4(words[0], words[1], words[2], words[3]);
}

// N numbers that are a multiple of a pack, always f32 in memory: biases, norms, tables.
template <int N>
__device__ __forceinline__ void LoadFloats(const float* from, float (&x)[N]) {
  static_assert(N % 4 == 0);
#pragma unroll
  for (int i = 0; i < N; i += 4) {
    const float4 v = *reinterpret_cast<const float4*>(from + i);
    x[i] = v.x, x[i + 1] = v.y, x[i + 2] = v.z, x[i + 3] = v.w;
  }
}

// Whether all of them may be read and written 16 bytes at a time.
inline bool AlignedTo16(std::initializer_list<const void*> pointers) {
  for (const void* p : pointers) {
    if (reinterpret_cast<uintptr_t>(p) % 16 != 0) return false;
  }
  return true;
}

inline int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace aios::kernels::cuda
