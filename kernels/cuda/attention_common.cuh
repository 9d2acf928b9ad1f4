// What the kernels of attention share: who computes what, where keys lie, and the order of sums.
//
// Query heads of a group read the same keys, so the rows of a sequence are packed: packed row r of
// a kv head is token r / group, query head r % group of the group. A tile of packed rows loads each
// key once for all of them.
//
// The order of sums of a row. Its keys are cut into chunks of kChunkKeys from position 0. A chunk
// gives its maximum score m, its sum of probabilities l and its weighted sum of values o, both
// relative to m, in an order which the kernel's file tells; chunks are folded from the left
// (FoldChunk). Two kernels differ only in where a chunk is computed:
//
//   whole: one block walks all chunks of a tile of rows and keeps the fold in registers (prefill);
//   split: blocks write chunks to the workspace, a second launch folds them (decode, where a
//          sequence has a row or a few, and blocks for them alone would leave the GPU idle).
//
// Multiplications and additions whose result two kernels must share are written as __fmul_rn and
// __fmaf_rn, which the compiler may not contract differently in the two.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstdint>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/page_division.cuh"

namespace aios::kernels::cuda {

inline constexpr int kChunkKeys = 256;

// A sequence with at most so many packed rows is split. (One tile of tensor cores has 16 rows.)
inline constexpr int kSplitRows = 16;

// ---- Who computes what --------------------------------------------------------------------------

struct Sequence {
  int index;
  int first_token;  // row of q
  int n_rows;       // tokens of this step
  int kv_length;
  const int32_t* pages;

  // Keys that packed row r sees: those up to its own token.
  __device__ int KeysOfRow(int r, int group) const {
    return min(kv_length - n_rows + r / group + 1, kv_length);
  }
};

__device__ inline Sequence LoadSequence(const AttentionArgs& args, int index) {
  const int first = args.seq_offsets[index];
  return {index, first - args.first_row, args.seq_offsets[index + 1] - first,
          args.kv_lengths[index],
          args.page_table + static_cast<int64_t>(index) * args.page_table_stride};
}

// Row `r` of the tile, in q and in out.
__device__ inline int64_t RowOffset(const AttentionArgs& args, const Sequence& sequence,
                                    int kv_head, int r) {
  const int group = args.n_heads / args.n_kv_heads;
  const int64_t token = sequence.first_token + r / group;
  return (token * args.n_heads + kv_head * group + r % group) * args.head_dim;
}

// A tile of at most `tile_rows` packed rows of one sequence that is not split.
struct RowTile {
  int sequence;   // -1: no such tile
  int first_row;  // packed
};

// Tiles are counted over the sequences in order. A sequence with few rows has none, nor one with
// `too_many_tokens` or more. All threads of a warp call this together.
__device__ inline RowTile FindRowTile(const AttentionArgs& args, int tile, int tile_rows,
                                      int too_many_tokens = INT_MAX) {
  const int group = args.n_heads / args.n_kv_heads;
  const int lane = threadIdx.x % 32;
  for (int begin = 0; begin < args.n_seqs; begin += 32) {
    const int s = begin + lane;
    int n_tiles = 0;
    if (s < args.n_seqs) {
      const int tokens = args.seq_offsets[s + 1] - args.seq_offsets[s];
      const int rows = tokens * group;
      const bool is_whole = rows > kSplitRows && tokens < too_many_tokens;
      n_tiles = is_whole ? (rows + tile_rows - 1) / tile_rows : 0;
    }
    int end = n_tiles;  // Becomes the number of tiles of sequences begin to s.
    for (int offset = 1; offset < 32; offset *= 2) {
      const int other = __shfl_up_sync(~0u, end, offset);
      if (lane >= offset) end += other;
    }
    const unsigned past = __ballot_sync(~0u, tile < end);
    if (past != 0) {
      const int owner = __ffs(past) - 1;
      const int before = __shfl_sync(~0u, end - n_tiles, owner);
      return {begin + owner, (tile - before) * tile_rows};
    }
    tile -= __shfl_sync(~0u, end, 31);
  }
  return {-1, 0};
}

// ---- Where keys lie -----------------------------------------------------------------------------

struct Pages {
  const int32_t* table;  // of the sequence
  PageDivision paging;
  int kv_head;
  int n_kv_heads;
  int head_dim;

  // Where the key (and the value) at a position begins, in numbers.
  __device__ int64_t Offset(int position) const {
    const int index = paging.Page(position);
    return OffsetIn(table[index], paging.Slot(position, index));
  }
  __device__ int64_t OffsetIn(int64_t page, int slot) const {
    return ((page * n_kv_heads + kv_head) * paging.size() + slot) * head_dim;
  }
};

__device__ inline Pages PagesOf(const AttentionArgs& args, const PageDivision& paging,
                                const Sequence& sequence, int kv_head) {
  return {sequence.pages, paging, kv_head, args.n_kv_heads, args.head_dim};
}

// ---- The fold -----------------------------------------------------------------------------------

// Scores are kept in units of log2(e), so that exp is one exp2. How far a chunk's (or the fold's)
// sums must be scaled from the maximum they are relative to, to another.
__device__ inline float Rescale(float from, float to) { return exp2f(from - to); }

// What a row has summed up: acc = 0 and max = -inf at first.
struct RowFold {
  float max = -INFINITY;
  float sum = 0;
  float keep = 1;  // of the last Begin: what the accumulated values are multiplied by,
  float take = 0;  // and what the chunk's are

  // A chunk without a key of this row (max = -inf) changes no bit.
  __device__ void Begin(float chunk_max, float chunk_sum) {
    if (chunk_max == -INFINITY) {
      keep = 1;
      take = 0;
      return;
    }
    const float new_max = fmaxf(max, chunk_max);
    keep = Rescale(max, new_max);
    take = Rescale(chunk_max, new_max);
    sum = Fold(sum, chunk_sum);
    max = new_max;
  }
  __device__ float Fold(float acc, float chunk) const {
    return __fmaf_rn(acc, keep, __fmul_rn(chunk, take));
  }
  // Without a key the sums are 0, and so is the result.
  __device__ float Normalizer() const { return sum == 0 ? 0 : __frcp_rn(sum); }
};

// The factors of 32 chunks at once, one a lane: those of Begin, called chunk after chunk from the
// maximum `before` on, since the maximum before a chunk is an exact prefix. stats: of the lane's
// chunk, {-inf, 0} if there is none. *after: the maximum of all. All lanes of a warp call this.
__device__ inline RowFold FoldOfLane(float before, float2 stats, float* after) {
  const int lane = threadIdx.x % 32;
  float max = fmaxf(stats.x, before);  // Becomes that of all chunks up to the lane's.
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const float other = __shfl_up_sync(~0u, max, offset);
    if (lane >= offset) max = fmaxf(max, other);
  }
  const float max_before = __shfl_up_sync(~0u, max, 1);
  RowFold fold;
  fold.max = lane == 0 ? before : max_before;
  fold.Begin(stats.x, stats.y);
  *after = __shfl_sync(~0u, max, 31);
  return fold;
}

// ---- The workspace of split sequences -----------------------------------------------------------

// One slot for each (sequence, kv head, chunk, packed row), whether it is used or not.
struct Partials {
  float* values;  // [n_seqs, n_kv_heads, n_chunks, n_rows, head_dim]
  float2* stats;  // [n_seqs, n_kv_heads, n_chunks, n_rows]: maximum, sum
  int n_chunks;
  int n_rows;

  __host__ __device__ int64_t Slot(int64_t sequence_head, int chunk, int row) const {
    return (sequence_head * n_chunks + chunk) * n_rows + row;
  }
};

// Packed rows of a split sequence, at most. 0: none can be split.
inline int MaxSplitRows(const AttentionArgs& args) {
  const int group = args.n_heads / args.n_kv_heads;
  return std::min(kSplitRows / group, args.max_rows) * group;
}

inline Partials PartialsIn(const AttentionArgs& args) {
  const int n_chunks = CeilDiv(args.max_kv_length, kChunkKeys);
  const int n_rows = MaxSplitRows(args);
  const int64_t slots = static_cast<int64_t>(args.n_seqs) * args.n_kv_heads * n_chunks * n_rows;
  float* values = static_cast<float*>(args.workspace);
  return {values, reinterpret_cast<float2*>(values + slots * args.head_dim), n_chunks, n_rows};
}

// Chunks that one block of a split launch takes, one after another: enough to keep its loads in
// flight from chunk to chunk, few enough to fill the GPU. Changes no bit.
inline int ChunksPerBlock(int64_t chunks, int n_blocks_wanted) {
  return static_cast<int>(std::clamp<int64_t>(chunks / n_blocks_wanted, 1, 8));
}

// ---- Launchers, one for each file ---------------------------------------------------------------

struct AttentionPlan {
  bool split;  // launch the kernel for sequences with few packed rows (and the fold),
  bool whole;  // and the one for the others,
  int too_many_tokens = INT_MAX;  // but for those that have so many at once: they are done
  int n_sms = 0;
};

void LaunchGenericAttention(const AttentionArgs& args, const AttentionPlan& plan,
                            cudaStream_t stream);
bool MmaAttentionSupports(const AttentionArgs& args);
void LaunchMmaPrefill(const AttentionArgs& args, const AttentionPlan& plan, cudaStream_t stream);
void LaunchMmaDecode(const AttentionArgs& args, const AttentionPlan& plan, cudaStream_t stream);

}  // namespace aios::kernels::cuda
