// Attention on tensor cores, bf16, for every GPU since Ampere (mma.sync; Hopper's wgmma has its own
// file): what prefill (attention_mma_prefill.cu) and decode (attention_mma_decode.cu) share. A warp
// holds 16 packed rows, their queries and a tile's scores in registers.
//
// Order of sums in a chunk: a score is a chain of m16n8k16 steps over d; 64 keys at a time, a tile,
// join the running maximum; a value is a chain of m16n8k16 steps over the keys, 16 at a time; a
// lane sums the probabilities that it holds of a tile, then of the tiles, and the four lanes of a
// row are added last. The tensor cores' own rounding within a step depends on nothing but the
// step's operands.
#pragma once

#include <cstdint>

#include "kernels/cuda/ampere.cuh"
#include "kernels/cuda/attention_common.cuh"

namespace aios::kernels::cuda {

inline constexpr int kTileKeys = 64;  // that join the running maximum together
inline constexpr int kStepKeys = 16;  // one step of a multiplication
inline constexpr int kWarpRows = 16;
static_assert(kChunkKeys % kTileKeys == 0 && kSplitRows <= kWarpRows);

// Numbers in a row of K or V in shared memory: an odd number of 16-byte units, so that the 8 rows
// that ldmatrix reads at a time lie in different banks.
__host__ __device__ constexpr int MmaPaddedRow(int head_dim) { return head_dim + 8; }

// Where the 16-byte units of a tile's rows lie.
template <int kHeadDim>
struct PaddedTile {
  static __device__ uint32_t At(uint32_t tile, int row, int unit) {
    return tile + row * MmaPaddedRow(kHeadDim) * 2 + unit * 16;
  }
};

// A lane holds parts of two rows, lane / 4 and lane / 4 + 8: index i % 4 / 2 of a fragment's four
// numbers.
template <int kHeadDim>
struct WarpRows {
  static constexpr int kSteps = kHeadDim / 16;
  static constexpr int kBlocks = kHeadDim / 8;

  uint32_t q[kSteps][4];
  float scores[kTileKeys / 8][4];  // of a tile; probabilities afterwards

  static __device__ int Row(int half) { return threadIdx.x % 32 / 4 + half * 8; }
  static __device__ int Column(int block) { return block * 8 + threadIdx.x % 4 * 2; }

  // Packed rows first_row, first_row + 1, ...; those that do not exist become 0.
  __device__ void LoadQueries(const AttentionArgs& args, const Sequence& sequence, int kv_head,
                              int first_row, int n_packed_rows) {
    LoadQueries([&](int row) {
      row += first_row;
      return row < n_packed_rows ? static_cast<const __nv_bfloat16*>(args.q) +
                                       RowOffset(args, sequence, kv_head, row)
                                 : nullptr;
    });
  }
  // row_at(r): where row r of the warp is, or null.
  template <typename RowAt>
  __device__ void LoadQueries(const RowAt& row_at) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const __nv_bfloat16* const from = row_at(Row(half));
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
#pragma unroll
        for (int right = 0; right < 2; ++right) {
          q[step][half + 2 * right] =
              from == nullptr ? 0
                              : *reinterpret_cast<const uint32_t*>(from + Column(2 * step + right));
        }
      }
    }
  }

  // Scores of kKeys keys of the tile from its key kFirst on; `keys` is where they lie in shared
  // memory, as Tile says.
  template <int kFirst, int kKeys, typename Tile = PaddedTile<kHeadDim>>
  __device__ void Scores(uint32_t keys) {
    const int lane = threadIdx.x % 32;
    const int row = lane % 8 + lane / 16 * 8;
    const int unit = lane / 8 % 2;
#pragma unroll
    for (int i = 0; i < kKeys / 8; ++i) {
      float(&s)[4] = scores[kFirst / 8 + i];
      s[0] = s[1] = s[2] = s[3] = 0;
    }
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
#pragma unroll
      for (int i = 0; i < kKeys / 16; ++i) {
        uint32_t k[4];
        LoadMatrices(k, Tile::At(keys, i * 16 + row, 2 * step + unit));
        MmaBF16(scores[kFirst / 8 + 2 * i], q[step], k[0], k[1]);
        MmaBF16(scores[kFirst / 8 + 2 * i + 1], q[step], k[2], k[3]);
      }
    }
  }

  // The largest score of the tile, times scale_log2, of one of the lane's two rows. It sees
  // `n_keys` of the tile: may be zero or less, or more than the tile has.
  template <bool kMasked>
  __device__ float TileMax(int half, float scale_log2, int n_keys) {
    float top = -INFINITY;
#pragma unroll
    for (int block = 0; block < kTileKeys / 8; ++block) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float& s = scores[block][2 * half + i];
        if (kMasked && Column(block) + i >= n_keys) s = -INFINITY;
        top = fmaxf(top, s);
      }
    }
    top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
    top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
    return __fmul_rn(top, scale_log2);
  }

  // Scores to probabilities relative to `base`; the result is the sum of this lane's.
  __device__ float Probabilities(float scale_log2, int half, float base) {
    float sum = 0;
#pragma unroll
    for (int block = 0; block < kTileKeys / 8; ++block) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float& s = scores[block][2 * half + i];
        s = Exp2(__fmaf_rn(s, scale_log2, -base));
        sum = __fadd_rn(sum, s);
      }
    }
    return sum;
  }

  // The probabilities of keys 16 step to 16 step + 15, as left side of a product.
  __device__ void Weights(int step, uint32_t (&p)[4]) const {
    const float(&left)[4] = scores[2 * step];
    const float(&right)[4] = scores[2 * step + 1];
    p[0] = PackBF16(left[0], left[1]);
    p[1] = PackBF16(left[2], left[3]);
    p[2] = PackBF16(right[0], right[1]);
    p[3] = PackBF16(right[2], right[3]);
  }
};

// How tiles of a chunk join, for one row: what was summed up so far is multiplied by `rescale`, the
// new probabilities are relative to `base`.
struct Join {
  float max;
  float base;
  float rescale;

  __device__ Join(float max_before, float tile_max) {
    max = fmaxf(max_before, tile_max);
    // A row that has seen no key of this chunk: its maximum stays -inf, and -inf - -inf is NaN.
    base = max == -INFINITY ? 0 : max;
    rescale = Exp2(max_before - base);
  }
};
__device__ inline float JoinSum(float sum, const Join& join, float tile_sum) {
  return __fmaf_rn(sum, join.rescale, tile_sum);
}

// The four lanes of a row add their parts.
__device__ inline float RowSum(float sum) {
  sum = __fadd_rn(sum, __shfl_xor_sync(~0u, sum, 1));
  return __fadd_rn(sum, __shfl_xor_sync(~0u, sum, 2));
}

// Weighted values += p [16 x 16] times 16 rows of V in shared memory, 16 columns; `unit` is where
// the lane's 8 of them lie: columns lane / 16 * 8 on of row lane % 16.
__device__ inline void AddValues(float (&left)[4], float (&right)[4], const uint32_t (&p)[4],
                                 uint32_t unit) {
  uint32_t v[4];
  LoadMatricesTransposed(v, unit);
  MmaBF16(left, p, v[0], v[1]);
  MmaBF16(right, p, v[2], v[3]);
}

// What a warp has summed up of a chunk, all columns of its rows. kHalves: 1 if there are no more
// than 8 rows; then nothing is computed of others.
template <int kHeadDim, int kHalves = 2, typename Tile = PaddedTile<kHeadDim>>
struct ChunkSums {
  static constexpr int kBlocks = kHeadDim / 8;

  float values[kBlocks][4];
  float max[kHalves];
  float sum[kHalves];  // this lane's part

  __device__ void Begin() {
#pragma unroll
    for (int block = 0; block < kBlocks; ++block)
      values[block][0] = values[block][1] = values[block][2] = values[block][3] = 0;
#pragma unroll
    for (int half = 0; half < kHalves; ++half) max[half] = -INFINITY, sum[half] = 0;
  }

  // A tile's scores become probabilities, and what was summed up relative to the new maximum.
  template <bool kMasked>
  __device__ void Softmax(WarpRows<kHeadDim>& rows, float scale_log2,
                          const int (&n_keys)[kHalves]) {
#pragma unroll
    for (int half = 0; half < kHalves; ++half) {
      const Join join(max[half], rows.template TileMax<kMasked>(half, scale_log2, n_keys[half]));
      max[half] = join.max;
      sum[half] = JoinSum(sum[half], join, rows.Probabilities(scale_log2, half, join.base));
#pragma unroll
      for (int block = 0; block < kBlocks; ++block) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i)
          values[block][i] = __fmul_rn(values[block][i], join.rescale);
      }
    }
  }

  // Adds the values of the tile's keys 16 step to 16 step + 15; of a tile in shared memory.
  __device__ void Add(const WarpRows<kHeadDim>& rows, int step, uint32_t tile) {
    uint32_t p[4];
    rows.Weights(step, p);
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int block = 0; block < kBlocks; block += 2) {
      AddValues(values[block], values[block + 1], p,
                Tile::At(tile, step * 16 + lane % 16, block + lane / 16));
    }
  }
};

}  // namespace aios::kernels::cuda
