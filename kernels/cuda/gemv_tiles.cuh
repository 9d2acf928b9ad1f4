// The kernel of Gemv: tiles of 16 rows of W. Every weight is read once and used n_rows times: the
// memory's bandwidth is the limit, and all that matters is that enough bytes are on the way at
// every moment. Little's law: 4.7 TB/s x about 0.8 us of loaded latency = 3.8 MB, 29 KB a
// multiprocessor.
//
// - The warps of a block split d_in: of 8, warp w takes bytes [128 w, 128 w + 128) of every 1,024
//   of a row. Who sums what, in what order, depends on d_in alone.
// - A lane has kDepth pieces on the way, in registers; a piece that was used is replaced by the one
//   kDepth further, also across the end of a tile. The first are asked for before the kernel waits
//   for the one before: up to 128 KB a multiprocessor, what the registers hold. They come while the
//   last results are waited for, and while x comes and is normalized.
// - Loads on the way take room in the L1, which is what shared memory leaves: blocks take little.
// - bf16: tensor cores (mma m16n8k16: 16 rows of W, 8 vectors x). One vector could do without, but
//   8 would need all of the GPU's FMAs; and so a row's sums are the same with 1 row and with 8.
// - f32: fused multiply-add.
// - The warps' partial sums meet in shared memory and are added in the order of the warps.
// - x goes through shared memory: a warp reads all of its columns at once, not piece by piece with
//   the latency of the L2 before each.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/cuda/gemv.h"
#include "kernels/cuda/gemv_input.cuh"
#include "kernels/cuda/gemv_sums.cuh"
#include "kernels/cuda/pdl.cuh"
#include "kernels/cuda/silu.cuh"

namespace aios::kernels::cuda {

// How TilesPerBlock shall do it. None of this changes the bits of y.
struct GemvPlan {
  int n_tiles;
  bool x_in_shared;  // else x is read where it is
  int x_stride;      // bytes from one vector to the next, where it is read
};

// y = value for one output, or what args.output says. `before`: y for kAdd.
template <typename T>
__device__ __forceinline__ void StoreOutput(const GemvArgs& args, int64_t at, float value,
                                            float before) {
  if (args.output == GemvOutput::kAdd) value += before;
  if (args.y_dtype == Format::kBF16) {
    static_cast<__nv_bfloat16*>(args.y)[at] = __float2bfloat16_rn(value);
  } else {
    static_cast<float*>(args.y)[at] = value;
  }
}

// Normalizer's kBatch: as the registers allow.
template <int kSharing>
constexpr int kNormBatch = kSharing <= 2 ? 2 : 1;

// Outputs of a tile. kSiluMul: 8, each with its rows of the gate and of up.
__host__ __device__ constexpr int TileOutputs(GemvOutput output) {
  return output == GemvOutput::kSiluMul ? kTileRows / 2 : kTileRows;
}

// Block b: tiles b, b + gridDim.x, ... Rows of W are whole multiples of 16 bytes, under 128 MB.
// kMaxRows >= n_rows (bf16: any). kDepth: pieces of 64 bytes that a lane has on the way; kSharing:
// blocks, of this kernel and the next, that fit on a multiprocessor, which bounds their registers.
template <typename T, int kMaxRows, int kWarps, int kDepth, int kSharing>
__global__ __launch_bounds__(32 * kWarps, kSharing) void TilesPerBlock(const GemvArgs args,
                                                                       const GemvPlan plan) {
  constexpr int kStepBytes = kWarps * kPieceBytes;  // of a row: what the block takes at a time
  static_assert(32 * kWarps >= kGemvMaxRows * kTileRows);
  extern __shared__ __align__(16) char shared[];
  __shared__ PartialSums partials[2][kWarps];
  LetNextKernelStart();
  const Lane lane;
  const int n_rows = args.n_rows, d_out = static_cast<int>(args.d_out);
  const int row_bytes = static_cast<int>(args.d_in * sizeof(T));
  const int n_tiles = plan.n_tiles, tile_outputs = TileOutputs(args.output);
  const bool silu = args.output == GemvOutput::kSiluMul;
  const int first_byte = lane.warp * kPieceBytes + lane.quarter * 16;
  const int row_end = row_bytes - first_byte;  // as `offset` below counts

  // What to load next: at `load_offset` of this lane's rows of tile `load_tile`. `load_end`: 0 for
  // a row that is not there.
  int load_tile = blockIdx.x, load_offset = 0;
  int load_end[kLaneRows];
  const char* rows[kLaneRows];
  const int64_t tile_stride = int64_t{row_bytes} * tile_outputs * gridDim.x;
  const auto check_rows = [&] {
    const int output = load_tile * tile_outputs + lane.group;
#pragma unroll
    for (int i = 0; i < kLaneRows; ++i) {
      load_end[i] = output + (silu ? 0 : 8 * i) < d_out ? row_end : 0;
    }
  };
#pragma unroll
  for (int i = 0; i < kLaneRows; ++i) {
    const int64_t row = load_tile * tile_outputs + lane.group + int64_t{i} * (silu ? d_out : 8);
    rows[i] = static_cast<const char*>(args.weight) + row * row_bytes + first_byte;
  }
  check_rows();
  const auto load = [&](Piece& to) {
    if (load_tile >= n_tiles) return;
#pragma unroll
    for (int i = 0; i < kLaneRows; ++i) {
#pragma unroll
      for (int half = 0; half < kHalves; ++half) {
        const int at = load_offset + half * kHalfBytes;
        to[i][half] = at < load_end[i] ? LoadOnce(rows[i] + at) : uint4{0, 0, 0, 0};
      }
    }
    load_offset += kStepBytes;
    if (load_offset < row_bytes) return;
    load_offset = 0;
    load_tile += gridDim.x;
    check_rows();
#pragma unroll
    for (const char*& row : rows) row += tile_stride;
  };

  Piece pieces[kDepth];
#pragma unroll
  for (int i = 0; i < kDepth; ++i) load(pieces[i]);

  // This thread's output, if it has one, of the tile that is being computed.
  const int out_row = threadIdx.x / kTileRows, out_column = threadIdx.x % kTileRows;
  int tile = blockIdx.x;
  int output = tile * tile_outputs + out_column;
  const bool may_have_output = out_row < n_rows && out_column < tile_outputs;
  const int64_t out_base = int64_t{out_row} * d_out;
  float before = 0;
  const auto load_before = [&] {
    if (args.output == GemvOutput::kAdd && may_have_output && output < d_out) {
      before = static_cast<const float*>(args.y)[out_base + output];
    }
  };

  const char* x = static_cast<const char*>(args.x);
  const int x_stride = plan.x_stride;
  if (args.residual != nullptr) {
    Normalizer<T, kWarps, kNormBatch<kSharing>> normalizer(args);
    WaitForPreviousKernel();
    normalizer.Run(shared, x_stride);
    x = shared;
  } else {
    WaitForPreviousKernel();
    if (plan.x_in_shared) {
      StageX<kWarps>(x, n_rows, row_bytes, shared, x_stride);
      x = shared;
    }
  }
  x += first_byte;
  load_before();

  Sums<T, kMaxRows> sums;
  int offset = 0, buffer = 0;
  while (true) {
#pragma unroll
    for (int i = 0; i < kDepth; ++i) {
#pragma unroll
      for (int half = 0; half < kHalves; ++half) {
        const int at = offset + half * kHalfBytes;
        sums.Add(pieces[i], half, x + at, at < row_end, x_stride, n_rows, lane);
      }
      load(pieces[i]);
      offset += kStepBytes;
      if (offset < row_bytes) continue;

      // The tile is done. Two buffers: who writes the next has passed this barrier, so that the
      // one before has been read.
      sums.Write(partials[buffer][lane.warp], lane);
      __syncthreads();
      if (2 * lane.warp < n_rows) {
        float sum = partials[buffer][0][out_row][out_column];
#pragma unroll
        for (int w = 1; w < kWarps; ++w) sum += partials[buffer][w][out_row][out_column];
        if (silu) sum = SiluMulOf<T>(sum, __shfl_down_sync(0xFFFFFFFF, sum, kTileRows / 2));
        if (may_have_output && output < d_out) {
          StoreOutput<T>(args, out_base + output, sum, before);
        }
      }
      tile += gridDim.x;
      if (tile >= n_tiles) return;
      buffer ^= 1;
      offset = 0;
      sums = {};
      output += tile_outputs * gridDim.x;
      load_before();
    }
  }
}

}  // namespace aios::kernels::cuda
