// A chunk of 256 keys on tensor cores, for the 1 to 16 packed rows of a sequence and kv head: what
// the two kernels of decode share (attention_mma_decode.cu, decode_attention.cu). 12 or more of the
// 16 rows of a multiplication are often empty; it does not matter, since the time is that of
// reading the keys. All is done for these reads: each of four warps asks for all keys of its tile
// of 64 at once, and makes their scores; then, the tiles' maxima being known, its probabilities,
// which are passed around in shared memory; then each warp adds up all values, of a quarter of the
// columns. Tile after tile as ever: the bits are those of a prefill.
//
// Three blocks fit on a multiprocessor, 192 KB of keys or values, of which much is on its way at
// any moment; 25 KB would cover the memory's latency (4.7 TB/s x 0.7 us / 132). When there are few
// chunks, as in short contexts of a single sequence, a chunk's time counts and not its share of the
// bandwidth: then values are asked for along with the keys (kAtOnce).
//
// Where there are many sequences another kernel is faster (decode_walk.cuh). Measured on an H100
// and not kept: page numbers read beside the position, and values of a short chunk beside its keys:
// no difference. Values brought to the L2 while their place in shared memory still has keys: 1%
// faster beyond 256 MB, 6% slower below.
#pragma once

#include <cstdint>
#include <type_traits>
#include <variant>

#include "kernels/cuda/attention_common.cuh"
#include "kernels/cuda/attention_mma.cuh"
#include "kernels/cuda/check.h"

namespace aios::kernels::cuda {

// Where the keys of a warp's tile lie: a lane knows some, and tells the others.
struct TileOffsets {
  bool steps_in_pages;  // 16 keys from a multiple of 16 are in one page: one lookup for all
  int64_t of_lane[2];   // of step lane % 4; else of keys lane and lane + 32

  // The tile is keys first, first + 1, ... of the sequence, of which n_keys are there (may be zero
  // or less): no page past them is looked up. page_at(i): entry i of the page table.
  template <typename PageAt>
  __device__ TileOffsets(const Pages& pages, int first, int n_keys, const PageAt& page_at) {
    const int lane = threadIdx.x % 32;
    steps_in_pages = pages.paging.size() % kStepKeys == 0;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int key = steps_in_pages ? lane % (kTileKeys / kStepKeys) * kStepKeys : lane + 32 * i;
      of_lane[i] = 0;
      if (key >= n_keys || (steps_in_pages && i > 0)) continue;
      const int page = pages.paging.Page(first + key);
      of_lane[i] = pages.OffsetIn(page_at(page), pages.paging.Slot(first + key, page));
    }
  }
};

// Starts to copy a tile to `to`, [kTileKeys, MmaPaddedRow]: a group of copies of each thread of the
// warp. Keys from n_keys on become 0: their slots may hold NaN, and 0 * NaN would reach the values.
// Key `except` is left alone.
template <int kHeadDim>
__device__ void StartTileCopy(const void* pages, const TileOffsets& offsets, int n_keys, int except,
                              uint32_t to) {
  constexpr int kUnits = kHeadDim / 8;  // of 16 bytes, in a row
  const auto* const numbers = static_cast<const __nv_bfloat16*>(pages);
  const int lane = threadIdx.x % 32;
  const auto copy = [&](auto steps_in_pages) {
#pragma unroll
    for (int step = 0; step < kTileKeys / kStepKeys; ++step) {
      const int64_t from_step = __shfl_sync(~0u, offsets.of_lane[0], step);
#pragma unroll
      for (int j = 0; j < kStepKeys * kUnits / 32; ++j) {
        const int i = lane + j * 32;
        const int key = step * kStepKeys + i / kUnits;
        int64_t from = from_step + i * 8;
        if constexpr (!decltype(steps_in_pages)::value) {
          from =
              __shfl_sync(~0u, offsets.of_lane[step * kStepKeys / 32], key % 32) + i % kUnits * 8;
        }
        if (key == except) continue;
        CopyAsync16(to + key * MmaPaddedRow(kHeadDim) * 2 + i % kUnits * 16,
                    numbers + (key < n_keys ? from : 0), key < n_keys);
      }
    }
  };
  if (offsets.steps_in_pages) {
    copy(std::true_type());
  } else {
    copy(std::false_type());
  }
  CommitCopies();
}

// Extra: what else the block keeps in shared memory.
template <int kHeadDim, bool kAtOnce, typename Extra = std::monostate>
struct MmaChunk {
  static constexpr int kWarps = kChunkKeys / kTileKeys;
  static constexpr int kThreads = kWarps * 32;
  static constexpr int kRowBytes = MmaPaddedRow(kHeadDim) * 2;
  static constexpr int kPairs = kHeadDim / 16;  // of blocks of 8 columns
  static constexpr int kPairsOfWarp = (kPairs + kWarps - 1) / kWarps;
  using Rows = WarpRows<kHeadDim>;

  struct Shared {
    uint8_t keys[kChunkKeys * kRowBytes];
    uint8_t values[kAtOnce ? kChunkKeys * kRowBytes : 16];  // else where the keys were
    float max[kWarps][kWarpRows];                           // of tiles
    float sum[2][kWarps][32];                               // of tiles, parts of the lanes
    Extra extra;
    // Fragments of the lanes, of rows 0 to 7 and of those from 8 on; which comes last, for without
    // such rows there is no room for it. (Three blocks with 128 columns fit on a Hopper GPU's
    // multiprocessor, two if each had it.)
    alignas(16) uint2 weights[2][kWarps][kTileKeys / 16][32];
  };
  static size_t SharedBytes(int n_rows) {
    return sizeof(Shared) - (n_rows > 8 ? 0 : sizeof(Shared::weights[1]));
  }

  // The chunk's sums: those of values are of the warp's columns.
  float sums[kPairsOfWarp][2][4];
  float max[2];
  float sum[2];

  // From queries and keys to the sums. The warp's keys, and with kAtOnce its values, are on their
  // way as its last groups of copies; else copy_values() starts to copy them to where the keys
  // were. Of the chunk's keys the lane's two rows see `seen`, and n_keys are there. kHalves: 1 if
  // there are no more than 8 rows; then nothing is computed of others.
  template <int kHalves, typename CopyValues>
  __device__ void Attend(Shared& shared, Rows& rows, float scale_log2, const int (&seen)[2],
                         int n_keys, const CopyValues& copy_values) {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int tile = warp * kTileKeys;
    const uint32_t keys = SharedAddress(shared.keys);
    const uint32_t values = SharedAddress(kAtOnce ? shared.values : shared.keys);
    WaitForCopies<kAtOnce ? 1 : 0>();
    __syncwarp();
    rows.template Scores<0, kTileKeys>(keys + tile * kRowBytes);
    if (!kAtOnce) {
      __syncwarp();  // All lanes have read the tile's keys.
      copy_values();
    }
    float tile_max[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int half = 0; half < kHalves; ++half) {
      tile_max[half] = rows.template TileMax<true>(half, scale_log2, seen[half] - tile);
      if (lane % 4 == 0) shared.max[warp][Rows::Row(half)] = tile_max[half];
    }
    __syncthreads();

#pragma unroll
    for (int half = 0; half < kHalves; ++half) {
      float max_before = -INFINITY;
      for (int t = 0; t < warp; ++t) max_before = fmaxf(max_before, shared.max[t][Rows::Row(half)]);
      const Join join(max_before, tile_max[half]);
      shared.sum[half][warp][lane] = rows.Probabilities(scale_log2, half, join.base);
    }
#pragma unroll
    for (int step = 0; step < kTileKeys / 16; ++step) {
      uint32_t p[4];
      rows.Weights(step, p);
      shared.weights[0][warp][step][lane] = {p[0], p[2]};
      if (kHalves == 2) shared.weights[1][warp][step][lane] = {p[1], p[3]};
    }
    WaitForCopies<0>();
    __syncthreads();  // The values are there, and the probabilities.

#pragma unroll
    for (int half = 0; half < 2; ++half) {
      max[half] = -INFINITY;
      sum[half] = 0;
    }
#pragma unroll
    for (int i = 0; i < kPairsOfWarp; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) sums[i][0][j] = sums[i][1][j] = 0;
    }
    const auto add_tile = [&](int t) {
#pragma unroll
      for (int half = 0; half < kHalves; ++half) {
        const Join join(max[half], shared.max[t][Rows::Row(half)]);
        max[half] = join.max;
        sum[half] = JoinSum(sum[half], join, shared.sum[half][t][lane]);
#pragma unroll
        for (int i = 0; i < kPairsOfWarp; ++i) {
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            float& x = sums[i][j / 2][2 * half + j % 2];
            x = __fmul_rn(x, join.rescale);
          }
        }
      }
#pragma unroll
      for (int step = 0; step < kTileKeys / 16; ++step) {
        const uint2 above = shared.weights[0][t][step][lane];
        const uint2 below = kHalves == 2 ? shared.weights[1][t][step][lane] : uint2{0, 0};
        const uint32_t p[4] = {above.x, below.x, above.y, below.y};
#pragma unroll
        for (int i = 0; i < kPairsOfWarp; ++i) {
          const int pair = warp + i * kWarps;
          if (pair >= kPairs) continue;
          AddValues(sums[i][0], sums[i][1], p,
                    PaddedTile<kHeadDim>::At(values, t * kTileKeys + step * 16 + lane % 16,
                                             2 * pair + lane / 16));
        }
      }
    };
    if (n_keys > kChunkKeys - kTileKeys) {  // Known to be all tiles: their loads can go ahead.
#pragma unroll
      for (int t = 0; t < kWarps; ++t) add_tile(t);
    } else {
      for (int t = 0; t * kTileKeys < n_keys; ++t) add_tile(t);
    }
  }

  // The first n_rows rows: store_stats(row, {maximum, sum}) by one thread, store_values(row, i,
  // column, two values), column in [64 i, 64 i + 64), by others.
  template <typename StoreStats, typename StoreValues>
  __device__ void Store(int n_rows, const StoreStats& store_stats,
                        const StoreValues& store_values) const {
    static_assert(kWarps * 16 == 64);
    const int warp = static_cast<int>(threadIdx.x) / 32;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float row_sum = RowSum(sum[half]);
      const int row = Rows::Row(half);
      if (row >= n_rows) continue;
      if (warp == 0 && threadIdx.x % 4 == 0) store_stats(row, float2{max[half], row_sum});
#pragma unroll
      for (int i = 0; i < kPairsOfWarp; ++i) {
        const int pair = warp + i * kWarps;
        if (pair >= kPairs) continue;
#pragma unroll
        for (int side = 0; side < 2; ++side) {
          store_values(row, i, Rows::Column(2 * pair + side),
                       float2{sums[i][side][2 * half], sums[i][side][2 * half + 1]});
        }
      }
    }
  }
  // To `values` [n_rows, kHeadDim] and `stats` [n_rows].
  __device__ void Store(int n_rows, float* values, float2* stats) const {
    Store(
        n_rows, [&](int row, float2 x) { stats[row] = x; },
        [&](int row, int, int column, float2 x) {
          *reinterpret_cast<float2*>(values + row * kHeadDim + column) = x;
        });
  }
};

// Whether a block can have the shared memory of values beside keys: 227 KB on Hopper; on some
// Ampere and Ada GPUs 99.
inline bool HasRoomFor(size_t shared_bytes) {
  int device = 0, most = 0;
  AIOS_CUDA_CHECK(cudaGetDevice(&device));
  AIOS_CUDA_CHECK(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  return shared_bytes <= static_cast<size_t>(most);
}

}  // namespace aios::kernels::cuda
