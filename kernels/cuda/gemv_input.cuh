// How Gemv's blocks get their vectors x into shared memory: by a copy, or normalized from the
// residual stream.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/cuda/gemv.h"
#include "kernels/cuda/gemv_sums.cuh"
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/rms_norm.cuh"

namespace aios::kernels::cuda {

// Copies of every row of x the columns that this warp of kWarps will use: bytes
// [128 warp, 128 warp + 128) of every 128 kWarps. Only this warp may read them, after it returns.
constexpr int kStaged = 4;  // loads of 16 bytes that a lane has on the way

// How many of them a row takes.
template <int kWarps>
__host__ __device__ constexpr int StagedOfRow(int64_t row_bytes) {
  constexpr int kStep = 4 * kWarps * kPieceBytes;  // a quarter of the lanes a piece
  return static_cast<int>((row_bytes + kStep - 1) / kStep);
}

template <int kWarps>
__device__ __forceinline__ void StageX(const char* x, int n_rows, int row_bytes, char* to,
                                       int to_stride) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int first = (lane / 8 * kWarps + warp) * kPieceBytes + lane % 8 * 16;
  const int of_row = StagedOfRow<kWarps>(row_bytes);
  for (int row = 0, step = 0; row < n_rows;) {
    uint4 loaded[kStaged];
    int place[kStaged];
#pragma unroll
    for (int i = 0; i < kStaged; ++i) {
      const int at = first + step * 4 * kWarps * kPieceBytes;
      const bool valid = row < n_rows && at < row_bytes;
      place[i] = valid ? row * to_stride + at : -1;
      if (valid) loaded[i] = *reinterpret_cast<const uint4*>(x + int64_t{row} * row_bytes + at);
      if (++step == of_row) step = 0, ++row;
    }
#pragma unroll
    for (int i = 0; i < kStaged; ++i) {
      if (place[i] >= 0) *reinterpret_cast<uint4*>(to + place[i]) = loaded[i];
    }
  }
  __syncwarp();
}

// Normalizing. To give the bits of RmsNorm, whose thread t squares the 8 numbers of vector t, this
// adds in its order: vectors [32 c, 32 c + 32) in a butterfly, then these chunks c in a butterfly.
constexpr int kNormVector = 8;
constexpr int kNormChunk = 32 * kNormVector;
constexpr int kMaxNormChunks = 32;  // d_in of at most 8,192; beyond, RmsNorm does it differently

// x = RmsNorm(residual) into shared memory, by the whole block. The chunks of all rows, one row
// after another, go round the warps; a warp has kBatch of them in its registers.
// REQUIRES: n_rows chunks of a row each are at most kWarps * kBatch; d_in is a multiple of 8.
template <typename T, int kWarps, int kBatch>
class Normalizer {
 public:
  // Before WaitForPreviousKernel: the norm's weights, and all that can be worked out.
  __device__ __forceinline__ explicit Normalizer(const GemvArgs& args)
      : eps_(args.norm_eps),
        d_in_(static_cast<int>(args.d_in)),
        n_chunks_((d_in_ + kNormChunk - 1) / kNormChunk) {
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int number = i * kWarps + static_cast<int>(threadIdx.x / 32);
      row_[i] = number / n_chunks_;
      chunk_[i] = number % n_chunks_;
      at_[i] = chunk_[i] * kNormChunk + static_cast<int>(threadIdx.x % 32) * kNormVector;
      has_chunk_[i] = row_[i] < args.n_rows;
      has_vector_[i] = has_chunk_[i] && at_[i] < d_in_;
      residual_[i] = args.residual + int64_t{row_[i]} * d_in_ + at_[i];
      if (has_vector_[i]) LoadFloats(args.norm_weight + at_[i], weights_[i]);
    }
  }

  // After it. Ends with a barrier.
  __device__ __forceinline__ void Run(char* to, int to_stride) {
    __shared__ float of_chunk[kGemvMaxRows][kMaxNormChunks];
    const int lane = threadIdx.x % 32;
    float numbers[kBatch][kNormVector] = {};
    float sum[kBatch] = {};
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      if (has_vector_[i]) LoadFloats(residual_[i], numbers[i]);
    }
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
#pragma unroll
      for (const float number : numbers[i]) sum[i] = fmaf(number, number, sum[i]);
    }
    AddLanes(sum, 31);
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      if (lane == 0 && has_chunk_[i]) of_chunk[row_[i]][chunk_[i]] = sum[i];
    }
    __syncthreads();
    // The butterfly over 32 chunks, without its steps that would add zeros.
    const int mask = (1 << (32 - __clz(n_chunks_ - 1))) - 1;
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      sum[i] = has_chunk_[i] && (lane & mask) < n_chunks_ ? of_chunk[row_[i]][lane & mask] : 0;
    }
    AddLanes(sum, mask);
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const float scale = InverseRms(sum[i], d_in_, eps_);
      if (!has_vector_[i]) continue;
#pragma unroll
      for (int k = 0; k < kNormVector; ++k) numbers[i][k] *= scale * weights_[i][k];
      Store(numbers[i], reinterpret_cast<T*>(to + row_[i] * to_stride) + at_[i]);
    }
    __syncthreads();
  }

 private:
  // All of the batch at once: shuffles take long, but many can be on the way.
  __device__ static void AddLanes(float (&sums)[kBatch], int mask) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
      if (step > mask) continue;
#pragma unroll
      for (float& sum : sums) sum += __shfl_xor_sync(0xFFFFFFFF, sum, step);
    }
  }
  __device__ static void Store(const float (&x)[kNormVector], __nv_bfloat16* to) {
    StorePack(x, to);
  }
  __device__ static void Store(const float (&x)[kNormVector], float* to) {
    reinterpret_cast<float4*>(to)[0] = {x[0], x[1], x[2], x[3]};
    reinterpret_cast<float4*>(to)[1] = {x[4], x[5], x[6], x[7]};
  }

  const float eps_;
  const int d_in_, n_chunks_;
  int row_[kBatch], chunk_[kBatch], at_[kBatch];
  bool has_chunk_[kBatch], has_vector_[kBatch];  // the latter: of this lane
  const float* residual_[kBatch];
  float weights_[kBatch][kNormVector];
};

}  // namespace aios::kernels::cuda
