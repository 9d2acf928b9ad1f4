// How the chunks of a sequence and kv head become one: of DecodeAttention alone. The order is that
// of attention_common.cuh, from the left.
#pragma once

#include <cooperative_groups.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/ampere.cuh"
#include "kernels/cuda/attention_common.cuh"
#include "kernels/cuda/attention_mma.cuh"

namespace aios::kernels::cuda {

inline constexpr int kMaxCluster = 8;  // that every Hopper GPU can launch

// A row's fold, by a warp: kPairs pairs of columns a lane.
template <int kPairs>
struct WarpFold {
  RowFold fold;
  float2 total[kPairs] = {};

  // The next n chunks, at most 32; stats: of the lane's chunk, {-inf, 0} past the last. value_at(i,
  // j): pair j of chunk i.
  template <typename ValueAt>
  __device__ __forceinline__ void Add(int n, float2 stats, const ValueAt& value_at) {
    float max_after;
    const RowFold of_lane = FoldOfLane(fold.max, stats, &max_after);
#pragma unroll 8
    for (int i = 0; i < n; ++i) {
      fold.keep = __shfl_sync(~0u, of_lane.keep, i);
      fold.take = __shfl_sync(~0u, of_lane.take, i);
      fold.sum = fold.Fold(fold.sum, __shfl_sync(~0u, stats.y, i));
#pragma unroll
      for (int j = 0; j < kPairs; ++j) {
        const float2 x = value_at(i, j);
        total[j] = {fold.Fold(total[j].x, x.x), fold.Fold(total[j].y, x.y)};
      }
    }
    fold.max = max_after;
  }
  __device__ __forceinline__ uint32_t Result(int j) const {
    const float norm = fold.Normalizer();
    return PackBF16(__fmul_rn(total[j].x, norm), __fmul_rn(total[j].y, norm));
  }
};

// ---- In a cluster -------------------------------------------------------------------------------

// Blocks 0 to n_chunks - 1 of the cluster have a chunk each; the others end at once. A row is cut
// into items of 64 columns, which the blocks share: each block writes what it has of an item to the
// shared memory of the block that folds it.
template <int kHeadDim>
struct ClusterFold {
  static constexpr int kParts = (kHeadDim + 63) / 64;  // items of a row

  // Of chunk c, number i of the block's items is values[i * n_chunks + c].
  float values[kWarpRows * kParts + kMaxCluster - 1][64];
  float2 stats[kMaxCluster][kWarpRows];  // maximum and sum, of each chunk

#if __CUDA_ARCH__ >= 900
  // Two halves: all blocks that have a chunk must run before one writes to another.
  static __device__ void Arrive() { cooperative_groups::this_cluster().barrier_arrive(); }
  static __device__ void Wait() { cooperative_groups::this_cluster().barrier_wait(); }
  template <typename T>
  static __device__ T* At(int rank, T* mine) {
    return cooperative_groups::this_cluster().map_shared_rank(mine, rank);
  }
#else
  static __device__ void Arrive() {}
  static __device__ void Wait() {}
  template <typename T>
  static __device__ T* At(int, T* mine) {
    return mine;
  }
#endif

  // What this block's chunk has, to where it is folded. After it, Arrive and Wait.
  template <typename Chunk>
  __device__ void Send(const Chunk& sums, int chunk, int n_chunks, int n_rows) {
    sums.Store(
        n_rows,
        [&](int row, float2 x) {
          for (int rank = 0; rank < n_chunks; ++rank) *At(rank, &stats[chunk][row]) = x;
        },
        [&](int row, int part, int column, float2 x) {
          const int item = row * kParts + part;
          float* const to = &values[item / n_chunks * n_chunks + chunk][column % 64];
          *reinterpret_cast<float2*>(At(item % n_chunks, to)) = x;
        });
  }

  // Folds the items of this block, a warp an item, from what is now in its own shared memory.
  __device__ void Fold(int chunk, int n_chunks, int n_rows, __nv_bfloat16* out) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    for (int i = static_cast<int>(threadIdx.x) / 32;; i += static_cast<int>(blockDim.x) / 32) {
      const int item = i * n_chunks + chunk;
      if (item >= n_rows * kParts) return;
      const int row = item / kParts;
      const int column = item % kParts * 64 + 2 * lane;
      RowFold fold;
      float2 total = {0, 0};
#pragma unroll
      for (int c = 0; c < kMaxCluster; ++c) {
        if (c >= n_chunks) break;
        const float2 x = *reinterpret_cast<const float2*>(&values[i * n_chunks + c][2 * lane]);
        fold.Begin(stats[c][row].x, stats[c][row].y);
        total = {fold.Fold(total.x, x.x), fold.Fold(total.y, x.y)};
      }
      const float norm = fold.Normalizer();
      if (column < kHeadDim) {
        *reinterpret_cast<uint32_t*>(out + row * kHeadDim + column) =
            PackBF16(__fmul_rn(total.x, norm), __fmul_rn(total.y, norm));
      }
    }
  }
};

// ---- Through the workspace ----------------------------------------------------------------------

// Whether this block is the last of n to have arrived: then all that they wrote before is visible
// to it (past the L1). *arrived is zero before the first and after the last. Called by the whole
// block; `answer`: in its shared memory.
__device__ inline bool ArriveLast(uint32_t* arrived, int n, bool* answer) {
  __syncthreads();
  if (threadIdx.x == 0) {
    uint32_t before;
    asm volatile("atom.acq_rel.gpu.global.inc.u32 %0, [%1], %2;"
                 : "=r"(before)
                 : "l"(arrived), "r"(n - 1)
                 : "memory");
    *answer = before == static_cast<uint32_t>(n - 1);
  }
  __syncthreads();
  return *answer;
}

// values: [n_chunks, row_stride, kHeadDim], stats: [n_chunks, row_stride]. buffer: shared memory
// for 32 chunks of a row for each warp.
template <int kHeadDim>
__device__ void FoldWorkspace(const float* values, const float2* stats, int row_stride,
                              int n_chunks, int n_rows, uint8_t* buffer, __nv_bfloat16* out) {
  constexpr int kPairs = (kHeadDim + 63) / 64;
  constexpr int kUnits = kHeadDim / 4;  // of 16 bytes, in a row
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float* const mine = reinterpret_cast<float*>(buffer) + warp * 32 * kHeadDim;
  for (int row = warp; row < n_rows; row += static_cast<int>(blockDim.x) / 32) {
    WarpFold<kPairs> fold;
    for (int first = 0; first < n_chunks; first += 32) {
      const int n = min(n_chunks - first, 32);
      const int64_t slot = static_cast<int64_t>(first) * row_stride + row;
      for (int i = lane; i < n * kUnits; i += 32) {
        const float* const from =
            values + (slot + i / kUnits * row_stride) * kHeadDim + i % kUnits * 4;
        CopyAsync16(SharedAddress(mine + i * 4), from, true);
      }
      CommitCopies();
      const float2 of_lane =
          lane < n ? __ldcg(stats + slot + lane * row_stride) : float2{-INFINITY, 0};
      WaitForCopies<0>();
      __syncwarp();
      fold.Add(n, of_lane, [&](int i, int j) {
        const int column = j * 64 + 2 * lane;
        return *reinterpret_cast<const float2*>(mine + i * kHeadDim +
                                                (column < kHeadDim ? column : 0));
      });
      __syncwarp();  // All have read: the next chunks may come.
    }
#pragma unroll
    for (int j = 0; j < kPairs; ++j) {
      const int column = j * 64 + 2 * lane;
      const uint32_t pair = fold.Result(j);
      if (column < kHeadDim) *reinterpret_cast<uint32_t*>(out + row * kHeadDim + column) = pair;
    }
  }
}

}  // namespace aios::kernels::cuda
