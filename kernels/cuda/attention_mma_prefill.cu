// Prefill on tensor cores: a block of 8 warps has 128 packed rows. K and V tiles of 64 keys pass
// through shared memory, two buffers deep, for all warps: 128 rows share each byte, so that the
// copies stay far below what the L2 gives.
//
// What the one order of sums costs: a chunk is summed up apart from those before it, in another 64
// registers of a lane, of which there are 255; without that (the attention ladder's level 3) the
// same kernel does 256 TFLOP/s of 8k tokens on an H200, not 216.
#include <algorithm>
#include <cstdint>

#include "kernels/cuda/attention_common.cuh"
#include "kernels/cuda/attention_mma.cuh"
#include "kernels/cuda/check.h"

namespace aios::kernels::cuda {
namespace {

template <int kHeadDim, int kWarps>
struct Whole {
  static constexpr int kThreads = kWarps * 32;
  static constexpr int kRows = kWarps * kWarpRows;
  static constexpr int kTileBytes = kTileKeys * MmaPaddedRow(kHeadDim) * 2;  // of K; V follows it
  static constexpr int kBuffers = 2;
  static constexpr int kSharedBytes = kBuffers * 2 * kTileBytes;
};

// Starts to copy K and V of kTileKeys keys. Keys past the sequence's last become 0: what their
// slots hold may be NaN, and 0 * NaN would reach the values.
template <int kHeadDim, int kThreads>
__device__ void CopyTile(const AttentionArgs& args, const Pages& pages, int first_key,
                         int kv_length, uint32_t to) {
  constexpr int kUnits = kHeadDim / 8;  // of 16 bytes, in a row
  constexpr int kTileBytes = kTileKeys * MmaPaddedRow(kHeadDim) * 2;
  constexpr int kCopies = kTileKeys * kUnits;
#pragma unroll
  for (int j = 0; j < (kCopies + kThreads - 1) / kThreads; ++j) {
    const int i = threadIdx.x + j * kThreads;
    if (kCopies % kThreads != 0 && i >= kCopies) break;
    const int key = i / kUnits;
    const int unit = i % kUnits;
    const bool exists = first_key + key < kv_length;
    const int64_t from = exists ? pages.Offset(first_key + key) + unit * 8 : 0;
    const uint32_t at = to + key * MmaPaddedRow(kHeadDim) * 2 + unit * 16;
    CopyAsync16(at, static_cast<const __nv_bfloat16*>(args.k_pages) + from, exists);
    CopyAsync16(at + kTileBytes, static_cast<const __nv_bfloat16*>(args.v_pages) + from, exists);
  }
}

// Grid: [row tiles x n_kv_heads], the heads of a tile side by side.
template <int kHeadDim, int kWarps>
__global__ void __launch_bounds__(kWarps * 32, kWarps == 4 ? 2 : 1)
    WholeKernel(AttentionArgs args, PageDivision paging, int n_tiles, int too_many_tokens) {
  using Shape = Whole<kHeadDim, kWarps>;
  using Rows = WarpRows<kHeadDim>;
  const int group = args.n_heads / args.n_kv_heads;
  const int kv_head = blockIdx.x % args.n_kv_heads;
  // The last tiles have the most keys: they start first.
  const RowTile tile =
      FindRowTile(args, n_tiles - 1 - blockIdx.x / args.n_kv_heads, Shape::kRows, too_many_tokens);
  if (tile.sequence < 0) return;
  const Sequence sequence = LoadSequence(args, tile.sequence);
  const Pages pages = PagesOf(args, paging, sequence, kv_head);
  const int n_packed_rows = sequence.n_rows * group;
  const int tile_end = min(tile.first_row + Shape::kRows, n_packed_rows);
  const int n_keys = sequence.KeysOfRow(tile_end - 1, group);
  const float scale_log2 = args.scale * 1.44269504088896341f;

  extern __shared__ __align__(16) uint8_t shared[];
  const uint32_t buffers = SharedAddress(shared);
  constexpr int kBufferBytes = 2 * Shape::kTileBytes;

  CopyTile<kHeadDim, Shape::kThreads>(args, pages, 0, sequence.kv_length, buffers);
  CommitCopies();

  Rows rows;
  const int first_row = tile.first_row + static_cast<int>(threadIdx.x) / 32 * kWarpRows;
  rows.LoadQueries(args, sequence, kv_head, first_row, n_packed_rows);
  ChunkSums<kHeadDim> chunk;
  chunk.Begin();
  const int row_keys[2] = {sequence.KeysOfRow(first_row + Rows::Row(0), group),
                           sequence.KeysOfRow(first_row + Rows::Row(1), group)};
  // Tiles before the first are seen whole by all rows of the warp, those from the last on by none.
  const int all_see = sequence.KeysOfRow(first_row, group);
  const int any_sees =
      first_row < n_packed_rows ? sequence.KeysOfRow(first_row + kWarpRows - 1, group) : 0;

  float total[Rows::kBlocks][4] = {};
  RowFold fold[2];
  int buffer = 0;
  for (int first_key = 0; first_key < n_keys; first_key += kTileKeys) {
    WaitForCopies<0>();
    __syncthreads();  // The tile is there for all, and all have done with the other buffer.
    const uint32_t keys = buffers + buffer * kBufferBytes;
    const uint32_t values = keys + Shape::kTileBytes;
    buffer ^= 1;
    if (first_key + kTileKeys < n_keys) {
      CopyTile<kHeadDim, Shape::kThreads>(args, pages, first_key + kTileKeys, sequence.kv_length,
                                          buffers + buffer * kBufferBytes);
      CommitCopies();
    }

    if (first_key < any_sees) {
      rows.template Scores<0, kTileKeys>(keys);
      const int seen[2] = {row_keys[0] - first_key, row_keys[1] - first_key};
      if (first_key + kTileKeys <= all_see) {
        chunk.template Softmax<false>(rows, scale_log2, seen);
      } else {
        chunk.template Softmax<true>(rows, scale_log2, seen);
      }
#pragma unroll
      for (int step = 0; step < kTileKeys / 16; ++step)
        chunk.Add(rows, step, values);
    }

    const int next_key = first_key + kTileKeys;
    if (next_key % kChunkKeys == 0 || next_key >= n_keys) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        fold[half].Begin(chunk.max[half], RowSum(chunk.sum[half]));
#pragma unroll
        for (int block = 0; block < Rows::kBlocks; ++block) {
#pragma unroll
          for (int i = 2 * half; i < 2 * half + 2; ++i)
            total[block][i] = fold[half].Fold(total[block][i], chunk.values[block][i]);
        }
      }
      chunk.Begin();
    }
  }

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = first_row + Rows::Row(half);
    if (row >= n_packed_rows) continue;
    auto* out = static_cast<__nv_bfloat16*>(args.out) + RowOffset(args, sequence, kv_head, row);
    const float norm = fold[half].Normalizer();
#pragma unroll
    for (int block = 0; block < Rows::kBlocks; ++block) {
      *reinterpret_cast<uint32_t*>(out + Rows::Column(block)) = PackBF16(
          __fmul_rn(total[block][2 * half], norm), __fmul_rn(total[block][2 * half + 1], norm));
    }
  }
}

template <int kHeadDim, int kWarps>
void LaunchWhole(const AttentionArgs& args, int too_many_tokens, cudaStream_t stream) {
  using Shape = Whole<kHeadDim, kWarps>;
  const int64_t group = args.n_heads / args.n_kv_heads;
  // Each sequence may have one tile that is not full; and with few tokens it has few tiles.
  const int64_t most_of_one =
      CeilDiv(std::min(args.max_rows, too_many_tokens) * group, Shape::kRows);
  const int n_tiles = static_cast<int>(
      std::min(args.n_tokens * group / Shape::kRows + args.n_seqs, args.n_seqs * most_of_one));
  const auto kernel = WholeKernel<kHeadDim, kWarps>;
  AIOS_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                       Shape::kSharedBytes));
  kernel<<<static_cast<unsigned>(n_tiles) * args.n_kv_heads, Shape::kThreads, Shape::kSharedBytes,
           stream>>>(args, PageDivision(args.page_size), n_tiles, too_many_tokens);
  AIOS_CUDA_CHECK_LAUNCH();
}

constexpr int kPrefillWarps = 8;

}  // namespace

bool MmaAttentionSupports(const AttentionArgs& args) {
  const int head_dim = args.head_dim;
  return args.dtype == Format::kBF16 &&
         (head_dim == 64 || head_dim == 80 || head_dim == 96 || head_dim == 128);
}

void LaunchMmaPrefill(const AttentionArgs& args, const AttentionPlan& plan, cudaStream_t stream) {
  switch (args.head_dim) {
    case 64:
      return LaunchWhole<64, kPrefillWarps>(args, plan.too_many_tokens, stream);
    case 80:
      return LaunchWhole<80, kPrefillWarps>(args, plan.too_many_tokens, stream);
    case 96:
      return LaunchWhole<96, kPrefillWarps>(args, plan.too_many_tokens, stream);
    default:
      return LaunchWhole<128, kPrefillWarps>(args, plan.too_many_tokens, stream);
  }
}

}  // namespace aios::kernels::cuda
