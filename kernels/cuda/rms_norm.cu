// Memory is the limit: a row is read once, kept in registers while its squares are summed, and
// written once. A block does one row; its threads hold 8 numbers each (16 when the row is long), so
// that one row alone is spread over many threads, and many rows keep many loads on the way.
#include <cuda_bf16.h>

#include <algorithm>
#include <stdexcept>

#include "kernels/cuda/pdl.cuh"
#include "kernels/cuda/rms_norm.cuh"
#include "kernels/cuda/rms_norm.h"

namespace aios::kernels::cuda {
namespace {

constexpr int kVector = 8;  // 16 bytes of bf16; f32 takes two loads of 16 bytes
constexpr int kMaxThreads = 1024;
constexpr int kMaxChunks = 2;  // vectors of a thread; more would not fit into the registers

__device__ __forceinline__ void Load(const float* from, float (&to)[kVector]) {
  const float4 low = reinterpret_cast<const float4*>(from)[0];
  const float4 high = reinterpret_cast<const float4*>(from)[1];
  to[0] = low.x, to[1] = low.y, to[2] = low.z, to[3] = low.w;
  to[4] = high.x, to[5] = high.y, to[6] = high.z, to[7] = high.w;
}
__device__ __forceinline__ void Load(const __nv_bfloat16* from, float (&to)[kVector]) {
  const uint4 raw = *reinterpret_cast<const uint4*>(from);
  const uint32_t words[kVector / 2] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
  for (int i = 0; i < kVector / 2; ++i) {  // bf16 is the upper half of an f32
    to[2 * i] = __uint_as_float(words[i] << 16);
    to[2 * i + 1] = __uint_as_float(words[i] & 0xFFFF0000);
  }
}

__device__ __forceinline__ void Store(const float (&from)[kVector], float* to) {
  reinterpret_cast<float4*>(to)[0] = {from[0], from[1], from[2], from[3]};
  reinterpret_cast<float4*>(to)[1] = {from[4], from[5], from[6], from[7]};
}
__device__ __forceinline__ void Store(const float (&from)[kVector], __nv_bfloat16* to) {
  __nv_bfloat162 pairs[kVector / 2];
#pragma unroll
  for (int i = 0; i < kVector / 2; ++i) {
    pairs[i] = __floats2bfloat162_rn(from[2 * i], from[2 * i + 1]);
  }
  *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(pairs);
}

// The sum over the block's threads, the same bits in all of them: the order depends only on how
// many they are.
__device__ float BlockSum(float sum) {
  __shared__ float of_warp[kMaxThreads / 32];
  const unsigned lane = threadIdx.x % 32;
  sum = WarpSum(sum);
  if (lane == 0) of_warp[threadIdx.x / 32] = sum;
  __syncthreads();
  return WarpSum(lane < blockDim.x / 32 ? of_warp[lane] : 0);
}

// Thread t holds vectors t, t + blockDim.x, ... of the row.
template <typename T, int kChunks>
__global__ __launch_bounds__(kMaxThreads) void RowInRegisters(const RmsNormArgs args) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * args.d_model;
  float* const x = args.x + row;
  const T* const delta = args.delta == nullptr ? nullptr : static_cast<const T*>(args.delta) + row;
  T* const out = static_cast<T*>(args.out) + row;

  float weight[kChunks][kVector];
  float numbers[kChunks][kVector];
#pragma unroll
  for (int c = 0; c < kChunks; ++c) {
    const int64_t at = (threadIdx.x + c * blockDim.x) * kVector;
    if (at < args.d_model) Load(args.weight + at, weight[c]);
  }
  LetNextKernelStart();
  WaitForPreviousKernel();

  float sum = 0;
#pragma unroll
  for (int c = 0; c < kChunks; ++c) {
    const int64_t at = (threadIdx.x + c * blockDim.x) * kVector;
    if (at >= args.d_model) continue;
    Load(x + at, numbers[c]);
    if (delta != nullptr) {
      float added[kVector];
      Load(delta + at, added);
#pragma unroll
      for (int i = 0; i < kVector; ++i) numbers[c][i] += added[i];
      Store(numbers[c], x + at);
    }
#pragma unroll
    for (int i = 0; i < kVector; ++i) sum = fmaf(numbers[c][i], numbers[c][i], sum);
  }
  const float scale = InverseRms(BlockSum(sum), args.d_model, args.eps);
#pragma unroll
  for (int c = 0; c < kChunks; ++c) {
    const int64_t at = (threadIdx.x + c * blockDim.x) * kVector;
    if (at >= args.d_model) continue;
#pragma unroll
    for (int i = 0; i < kVector; ++i) numbers[c][i] *= scale * weight[c][i];
    Store(numbers[c], out + at);
  }
}

// Any row: number by number, and x twice from memory.
template <typename T>
__global__ __launch_bounds__(kMaxThreads) void AnyRow(const RmsNormArgs args) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * args.d_model;
  float* const x = args.x + row;
  LetNextKernelStart();
  WaitForPreviousKernel();

  float sum = 0;
  for (int64_t i = threadIdx.x; i < args.d_model; i += blockDim.x) {
    if (args.delta != nullptr)
      x[i] += static_cast<float>(static_cast<const T*>(args.delta)[row + i]);
    sum = fmaf(x[i], x[i], sum);
  }
  const float scale = InverseRms(BlockSum(sum), args.d_model, args.eps);
  for (int64_t i = threadIdx.x; i < args.d_model; i += blockDim.x) {
    static_cast<T*>(args.out)[row + i] = static_cast<T>(x[i] * (scale * args.weight[i]));
  }
}

bool IsAligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

template <typename T>
void RmsNormOf(const RmsNormArgs& args, cudaStream_t stream) {
  LaunchShape shape = {.grid = dim3(static_cast<unsigned>(args.n_rows)),
                       .block = dim3(kMaxThreads / 2),
                       .overlap_previous = args.overlap_previous};
  const bool fast = args.d_model % kVector == 0 &&
                    args.d_model <= kMaxThreads * kMaxChunks * kVector && IsAligned(args.x) &&
                    IsAligned(args.delta) && IsAligned(args.weight) && IsAligned(args.out);
  if (!fast) return Launch(AnyRow<T>, shape, stream, args);
  const int64_t n_vectors = args.d_model / kVector;
  const int64_t n_chunks = n_vectors <= kMaxThreads ? 1 : 2;
  const int64_t n_warps = (n_vectors + 32 * n_chunks - 1) / (32 * n_chunks);
  shape.block = dim3(static_cast<unsigned>(32 * n_warps));
  Launch(n_chunks == 1 ? RowInRegisters<T, 1> : RowInRegisters<T, 2>, shape, stream, args);
}

}  // namespace

void RmsNorm(const RmsNormArgs& args, cudaStream_t stream) {
  if (args.n_rows < 0 || args.n_rows > INT32_MAX || args.d_model < 0) {
    throw std::invalid_argument("RmsNorm: n_rows must be 0 to 2^31 - 1, d_model not negative");
  }
  if (args.dtype != Format::kBF16 && args.dtype != Format::kF32) {
    throw std::invalid_argument("RmsNorm: dtype must be BF16 or F32");
  }
  if (args.n_rows == 0 || args.d_model == 0) return;
  if (args.dtype == Format::kBF16) {
    RmsNormOf<__nv_bfloat16>(args, stream);
  } else {
    RmsNormOf<float>(args, stream);
  }
}

}  // namespace aios::kernels::cuda
