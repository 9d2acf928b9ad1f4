// The inner loop of Gemv: what a warp does with a piece of 16 rows of W and the same columns of x.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/cuda/gemv.h"

namespace aios::kernels::cuda {

constexpr int kTileRows = 16;     // rows of W of a block
constexpr int kPieceBytes = 128;  // of a row: what a warp takes of it at a time, a cache line

// Lane 4 g + t of a warp holds of a piece of rows g and g + 8 the bytes [16 t, 16 t + 16) of either
// half. That is what mma wants of it, up to the order of the columns, which is the same for W and x
// and so does not matter.
constexpr int kLaneRows = 2;
constexpr int kHalves = 2;
constexpr int kHalfBytes = kPieceBytes / kHalves;
using Piece = uint4[kLaneRows][kHalves];

// Of all that follows: where this lane is.
struct Lane {
  int group = threadIdx.x % 32 / 4;  // g above
  int quarter = threadIdx.x % 4;     // t
  int warp = threadIdx.x / 32;
};

// W is read once: not to be kept in the L1. Not ld.global.nc, which the assembler is free to move
// behind WaitForPreviousKernel, and it does: then the next kernel's weights are not on their way.
__device__ __forceinline__ uint4 LoadOnce(const char* from) {
  uint4 v;
  asm volatile("ld.global.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from));
  return v;
}

// A warp's sums of a tile, [vector][row of W], for the block to add up. The padding keeps the 32
// numbers that a warp writes at once in different banks.
using PartialSums = float[kGemvMaxRows][kTileRows + 4];

// A warp's partial sums of a tile, in registers.
template <typename T, int kMaxRows>
struct Sums;

// D = A B + D with A: 16 rows of W, B: 8 vectors. This lane's D: outputs g (sum[.][0], [1]) and
// g + 8 (sum[.][2], [3]) of vectors 2 t and 2 t + 1. Two D, taken in turn: a product must wait for
// the one before it of its own D only.
template <int kMaxRows>
struct Sums<__nv_bfloat16, kMaxRows> {
  float sum[2][4] = {};

  // x: this lane's first byte of vector 0 in the half; the next vector is x_stride bytes further.
  __device__ void Add(const Piece& w, int half, const char* x, bool valid, int x_stride, int n_rows,
                      Lane lane) {
    uint4 b = {0, 0, 0, 0};  // vectors from n_rows on are zeros
    if (valid && lane.group < n_rows) {
      b = *reinterpret_cast<const uint4*>(x + lane.group * x_stride);
    }
    const uint4 low = w[0][half], high = w[1][half];
    Mma(sum[0], low.x, high.x, low.y, high.y, b.x, b.y);
    Mma(sum[1], low.z, high.z, low.w, high.w, b.z, b.w);
  }
  __device__ static void Mma(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                             uint32_t b0, uint32_t b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  }
  __device__ void Write(PartialSums& partial, Lane lane) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      partial[2 * lane.quarter + i % 2][lane.group + i / 2 * 8] = sum[0][i] + sum[1][i];
    }
  }
};

// sum[i][r]: output g + 8 i of vector r, over the columns that lane t of 4 has.
template <int kMaxRows>
struct Sums<float, kMaxRows> {
  float sum[kLaneRows][kMaxRows] = {};

  __device__ void Add(const Piece& w, int half, const char* x, bool valid, int x_stride, int n_rows,
                      Lane) {
#pragma unroll
    for (int r = 0; r < kMaxRows; ++r) {  // no branch on n_rows, so that all loads come first
      const char* const from = x + min(r, n_rows - 1) * x_stride;
      const float4 b = valid ? *reinterpret_cast<const float4*>(from) : float4{0, 0, 0, 0};
#pragma unroll
      for (int i = 0; i < kLaneRows; ++i) {
        sum[i][r] = fmaf(__uint_as_float(w[i][half].x), b.x, sum[i][r]);
        sum[i][r] = fmaf(__uint_as_float(w[i][half].y), b.y, sum[i][r]);
        sum[i][r] = fmaf(__uint_as_float(w[i][half].z), b.z, sum[i][r]);
        sum[i][r] = fmaf(__uint_as_float(w[i][half].w), b.w, sum[i][r]);
      }
    }
  }
  __device__ void Write(PartialSums& partial, Lane lane) const {
#pragma unroll
    for (int r = 0; r < kMaxRows; ++r) {
#pragma unroll
      for (int i = 0; i < kLaneRows; ++i) {
        float all = sum[i][r];  // of the 4 lanes of the group
        all += __shfl_xor_sync(0xFFFFFFFF, all, 1);
        all += __shfl_xor_sync(0xFFFFFFFF, all, 2);
        if (lane.quarter == 0) partial[r][lane.group + 8 * i] = all;
      }
    }
  }
};

}  // namespace aios::kernels::cuda
