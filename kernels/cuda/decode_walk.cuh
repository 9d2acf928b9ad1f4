// Decode attention where sequences are many, on Hopper: a warp walks the keys of a sequence and kv
// head, 64 at a time, as in prefill on mma.sync (attention_mma.cuh), and folds its chunks in
// registers. With a block a chunk (decode_attention.cu) 256 texts of 1,056 keys write 21 MB to the
// workspace, and read them again, beside 1,107 MB of keys and values, and each of 10,240 blocks
// begins and ends with nothing on its way.
//
// Tiles come by the tensor copy engine, a page's 64 rows of 128 bytes in one instruction, to a ring
// of the warp's own: what comes next is on its way whatever the warp does. Measured on an H100, of
// its read stream: 256 texts of 1,056 keys 91.0%, a block a chunk 87.4%; 128 texts 90.4 and 86.8%;
// 64 texts 89.3 and 84.6%. Without any arithmetic these copies give 96%. Not kept: rows by bulk
// copies of 256 bytes, 86% (the engine takes 30 ns for each); 16-byte copies by the threads, 88%.
//
// A sequence's first 2,048 keys are walked by one warp. Longer ones are cut in such parts, side by
// side, and the last to arrive folds what is in the workspace: of the first part its fold, of the
// others each chunk's sums.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/attention_common.cuh"
#include "kernels/cuda/attention_mma.cuh"
#include "kernels/cuda/decode_attention.h"
#include "kernels/cuda/decode_fold.cuh"
#include "kernels/cuda/decode_heads.cuh"
#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/pdl.cuh"

namespace aios::kernels::cuda {

inline constexpr int kWalkChunks = 8;  // of a part
// Tiles of a warp's ring. With three of them four warps of 128 columns fit on a multiprocessor: for
// many texts. (Two tiles and six warps, or four and three: within 0.4% for 256 texts, but 14 and 4%
// slower for 64.) With six of them two warps keep as much on its way: for fewer, as 32 texts with 8
// kv heads, 88% of the read stream instead of a block a chunk's 80%.
inline constexpr int kRingOfMany = 3;
inline constexpr int kRingOfFewer = 6;

template <int kHeadDim, int kRing>
struct WalkShared {
  static_assert(kHeadDim % 64 == 0);
  static constexpr int kTileBytes = kTileKeys * kHeadDim * 2;

  uint8_t ring[kRing][kTileBytes];  // aligned to 1,024 bytes; keys and values by turns
  uint64_t full[kRing];
  alignas(16) uint8_t newest[2][kHeadDim * 2];  // the newest position's key and value
  bool is_last;
  alignas(16) __nv_bfloat16 queries[kSplitRows][kHeadDim];  // comes last: the group's alone

  static size_t Bytes(int group) {
    return sizeof(WalkShared) + 1024 - (kSplitRows - group) * sizeof(queries[0]);
  }
};

// A tile as the copy engine leaves it: 64 columns beside each other, and in them 16-byte unit u of
// row r at u ^ (r % 8).
struct SwizzledTile {
  static __device__ uint32_t At(uint32_t tile, int row, int unit) {
    return tile + unit / 8 * (kTileKeys * 128) + row * 128 + (unit ^ row) % 8 * 16;
  }
};

// Grid: [parts, n_kv_heads, n_seqs], a part being kWalkChunks chunks. Pages are of a multiple of
// 64 positions; groups of up to 8 query heads.
template <int kHeadDim, int kRing>
__global__ void __launch_bounds__(32)
    DecodeWalkKernel(const __grid_constant__ CUtensorMap k_map,
                     const __grid_constant__ CUtensorMap v_map, const DecodeAttentionArgs args,
                     const PageDivision paging, const Partials partials) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using Shared = WalkShared<kHeadDim, kRing>;
  using Rows = WarpRows<kHeadDim>;
  const RopeKvArgs& rope = args.rope;
  const int group = rope.n_heads / rope.n_kv_heads;
  const int part = blockIdx.x;
  const int kv_head = blockIdx.y;
  const int sequence = blockIdx.z;
  const int lane = static_cast<int>(threadIdx.x);

  // Through the L2, as are the copies: an L1 may hold what an earlier kernel saw.
  const int position = __ldcg(rope.positions + sequence);
  const int first_key = part * kWalkChunks * kChunkKeys;
  const int end_key = min(position + 1, first_key + kWalkChunks * kChunkKeys);
  if (end_key <= first_key) {
    if (position < 0 && part == 0) StoreNothingSeen(rope, sequence, kv_head, kHeadDim, args.out);
    return;
  }

  extern __shared__ uint8_t shared_bytes[];
  auto& shared = *reinterpret_cast<Shared*>(
      shared_bytes + (1024 - hopper::SharedAddress(shared_bytes) % 1024) % 1024);
  if (lane == 0) {
    for (uint64_t& full : shared.full) hopper::InitBarrier(&full, 1);
    hopper::FenceBarrierInit();
  }
  __syncwarp();

  // Asks for the next tile: a tile's keys, its values, the next one's keys, and so on. A page's
  // number is looked up a tile ahead of its use.
  const int32_t* const table =
      rope.page_table + static_cast<int64_t>(sequence) * rope.page_table_stride;
  const auto page_of = [&](int key) {
    return key < end_key ? __ldcg(table + paging.Page(key)) : 0;
  };
  const auto row_of = [&](int64_t page, int key) {
    return static_cast<int>((page * rope.n_kv_heads + kv_head) * paging.size() +
                            paging.Slot(key, paging.Page(key)));
  };
  int asked = first_key;
  bool asks_values = false;
  int asked_place = 0;
  int page = page_of(asked), next_page = page_of(asked + kTileKeys);
  const auto ask = [&] {
    if (asked >= end_key) return;
    if (lane == 0) {
      const CUtensorMap* const map = asks_values ? &v_map : &k_map;
      uint64_t* const full = &shared.full[asked_place];
      hopper::ArriveExpectTx(full, Shared::kTileBytes);
      const int row = row_of(page, asked);
#pragma unroll
      for (int column = 0; column < kHeadDim; column += 64) {
        hopper::TmaLoad2D(shared.ring[asked_place] + column * kTileKeys * 2, map, full, column,
                          row);
      }
    }
    if (++asked_place == kRing) asked_place = 0;
    if (asks_values) {
      asked += kTileKeys;
      page = next_page;
      next_page = page_of(asked + kTileKeys);
    }
    asks_values = !asks_values;
  };
#pragma unroll
  for (int i = 0; i < kRing; ++i) ask();

  const bool has_newest = end_key == position + 1;
  int64_t newest_offset = 0;
  if (has_newest) newest_offset = int64_t{row_of(page_of(position), position)} * kHeadDim;
  const NewestHeads<kHeadDim, 32> heads(rope, position);
  LetNextKernelStart();
  WaitForPreviousKernel();
  heads.Turn(
      rope, sequence, kv_head, [&](int i) { return shared.queries[i]; }, has_newest,
      shared.newest[0], shared.newest[1], newest_offset);
  __syncwarp();
  Rows rows;
  rows.LoadQueries([&](int row) { return row < group ? shared.queries[row] : nullptr; });

  // Waits for the next tile; what is not there yet, or not at all, is added to the last one: the
  // newest key (or value), and zeros for values after it, whose slots may hold NaN.
  int place = 0;
  uint32_t parity = 0;
  const auto wait = [&](int tile, bool is_value) {
    hopper::Wait(&shared.full[place], parity);
    if (!has_newest || position - tile >= kTileKeys) return;
    constexpr int kUnits = kHeadDim / 8;
    const int newest = position - tile;
    for (int i = newest * kUnits + lane; i < kTileKeys * kUnits; i += 32) {
      const int row = i / kUnits, unit = i % kUnits;
      if (!is_value && row > newest) break;
      const uint4 x =
          row == newest ? reinterpret_cast<const uint4*>(shared.newest[is_value])[unit] : uint4{};
      *reinterpret_cast<uint4*>(shared.ring[place] + SwizzledTile::At(0, row, unit)) = x;
    }
    __syncwarp();
  };
  const auto give_back = [&] {
    __syncwarp();  // All lanes have read the tile.
    if (++place == kRing) place = 0, parity ^= 1;
    ask();
  };

  const float scale_log2 = args.scale * 1.44269504088896341f;
  const int n_chunks = position / kChunkKeys + 1;
  const int n_parts = (n_chunks + kWalkChunks - 1) / kWalkChunks;
  const int64_t head = static_cast<int64_t>(sequence) * rope.n_kv_heads + kv_head;
  const int row = Rows::Row(0);
  // To the workspace, as the sums of a chunk.
  const auto store = [&](int chunk, float max, float sum, const auto& value_at) {
    if (row >= group) return;
    const int64_t slot = partials.Slot(head, chunk, row);
    if (lane % 4 == 0) partials.stats[slot] = {max, sum};
#pragma unroll
    for (int block = 0; block < Rows::kBlocks; ++block) {
      *reinterpret_cast<float2*>(partials.values + slot * kHeadDim + Rows::Column(block)) =
          value_at(block);
    }
  };

  ChunkSums<kHeadDim, 1, SwizzledTile> chunk;
  chunk.Begin();
  float2 total[Rows::kBlocks] = {};
  RowFold fold;
  for (int tile = first_key; tile < end_key; tile += kTileKeys) {
    wait(tile, /*is_value=*/false);
    rows.template Scores<0, kTileKeys, SwizzledTile>(hopper::SharedAddress(shared.ring[place]));
    give_back();
    const int seen[1] = {end_key - tile};
    if (seen[0] >= kTileKeys) {
      chunk.template Softmax<false>(rows, scale_log2, seen);
    } else {
      chunk.template Softmax<true>(rows, scale_log2, seen);
    }
    wait(tile, /*is_value=*/true);
#pragma unroll
    for (int step = 0; step < kTileKeys / 16; ++step) {
      chunk.Add(rows, step, hopper::SharedAddress(shared.ring[place]));
    }
    give_back();

    const int next = tile + kTileKeys;
    if (next % kChunkKeys != 0 && next < end_key) continue;
    const float sum = RowSum(chunk.sum[0]);
    const auto value_at = [&](int block) {
      return float2{chunk.values[block][0], chunk.values[block][1]};
    };
    if (part > 0) {
      store(tile / kChunkKeys, chunk.max[0], sum, value_at);
    } else {
      fold.Begin(chunk.max[0], sum);
#pragma unroll
      for (int block = 0; block < Rows::kBlocks; ++block) {
        const float2 x = value_at(block);
        total[block] = {fold.Fold(total[block].x, x.x), fold.Fold(total[block].y, x.y)};
      }
    }
    chunk.Begin();
  }

  auto* const out = static_cast<__nv_bfloat16*>(args.out) + head * group * kHeadDim;
  if (n_parts == 1) {
    if (row >= group) return;
    const float norm = fold.Normalizer();
#pragma unroll
    for (int block = 0; block < Rows::kBlocks; ++block) {
      *reinterpret_cast<uint32_t*>(out + row * kHeadDim + Rows::Column(block)) =
          PackBF16(__fmul_rn(total[block].x, norm), __fmul_rn(total[block].y, norm));
    }
    return;
  }
  // The first part's fold, in place of its last chunk: to begin a fold with it changes no bit.
  const int first_chunk = kWalkChunks - 1;
  if (part == 0) store(first_chunk, fold.max, fold.sum, [&](int block) { return total[block]; });
  if (!ArriveLast(args.arrivals + head, n_parts, &shared.is_last)) return;
  const int64_t slot = partials.Slot(head, first_chunk, 0);
  static_assert(sizeof(shared.ring) >= 32 * kHeadDim * sizeof(float));
  FoldWorkspace<kHeadDim>(partials.values + slot * kHeadDim, partials.stats + slot, partials.n_rows,
                          n_chunks - first_chunk, group, shared.ring[0], out);
#endif
}

template <int kHeadDim, int kRing>
void LaunchDecodeWalk(const DecodeAttentionArgs& args, const Partials& partials,
                      cudaStream_t stream) {
  const RopeKvArgs& rope = args.rope;
  // The pages as one matrix. How many there are is not known here; no more are asked for.
  const auto map_of = [&](const void* pages) {
    return hopper::MakeMatrixMap(pages, int64_t{1} << 31, kHeadDim, kHeadDim, kTileKeys, 64,
                                 hopper::Swizzle::k128B);
  };
  const size_t shared_bytes = WalkShared<kHeadDim, kRing>::Bytes(rope.n_heads / rope.n_kv_heads);
  const auto kernel = DecodeWalkKernel<kHeadDim, kRing>;
  AIOS_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                       static_cast<int>(shared_bytes)));
  Launch(kernel,
         {.grid = dim3(static_cast<unsigned>(CeilDiv(partials.n_chunks, kWalkChunks)),
                       rope.n_kv_heads, rope.n_seqs),
          .block = dim3(32),
          .shared_bytes = shared_bytes,
          .overlap_previous = rope.overlap_previous},
         stream, map_of(rope.k_pages), map_of(rope.v_pages), args, PageDivision(rope.page_size),
         partials);
}

}  // namespace aios::kernels::cuda
