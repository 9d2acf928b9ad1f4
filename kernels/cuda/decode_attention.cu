// A block has a chunk of 256 keys of one sequence and kv head, as in attention_mma_decode.cu, and
//
//   1. starts to copy the chunk's keys, but for the newest, to shared memory; and with few chunks
//      the values, too;
//   2. waits for the kernel before it, which made qkv;
//   3. turns the group's queries, and, if it has the newest key, that one and its value;
//   4. sums the chunk up (attention_mma_chunk.cuh);
//   5. folds the chunks of the sequence and kv head: in a cluster, each block some columns, which
//      the others have written to its shared memory; else the last block to arrive folds what all
//      have left in the workspace (decode_fold.cuh).
//
// Where sequences are many, on Hopper, a warp does the same for all chunks of a sequence and kv
// head, one after the other (decode_walk.cuh).
//
// Step 1 reads, before the wait, what earlier steps wrote: the header says what must hold. What
// this very launch writes, or one that it overlaps with, are the slots of newest positions, which
// step 1 leaves out. It goes past the L1, which may hold what an earlier kernel saw. No block
// writes before the wait; one whose chunk has no key ends without it, but a sequence's first block
// never does, so that the launch is not complete before the one before it is.
#include <stdexcept>
#include <string>
#include <type_traits>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_common.cuh"
#include "kernels/cuda/attention_mma.cuh"
#include "kernels/cuda/attention_mma_chunk.cuh"
#include "kernels/cuda/check.h"
#include "kernels/cuda/decode_attention.h"
#include "kernels/cuda/decode_fold.cuh"
#include "kernels/cuda/decode_heads.cuh"
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/pdl.cuh"

#ifdef AIOS_CUDA_SM90A
#include "kernels/cuda/decode_walk.cuh"
#endif

namespace aios::kernels::cuda {
namespace {

enum class Mode {
  kCluster,  // the chunks of a sequence and kv head are a cluster; values asked for with the keys
  kAtOnce,   // through the workspace; values asked for with the keys
  kInTurn,   // through the workspace; values take the keys' place
};

template <int kHeadDim, Mode kMode>
struct Decode {
  static constexpr bool kAtOnce = kMode != Mode::kInTurn;
  struct Extra {
    alignas(16) uint8_t newest_value[kHeadDim * 2];  // until there is room among the values
    std::conditional_t<kMode == Mode::kCluster, ClusterFold<kHeadDim>, char> fold;
    bool is_last;
  };
  using Chunk = MmaChunk<kHeadDim, kAtOnce, Extra>;
  using Rows = typename Chunk::Rows;
  static constexpr int kThreads = Chunk::kThreads;

  // The group's queries, row after row, are where the weights will be.
  using Shared = typename Chunk::Shared;
  static_assert(8 * Chunk::kRowBytes <= sizeof(Shared::weights[0]));
  static __device__ uint8_t* Query(Shared& shared, int row) {
    return reinterpret_cast<uint8_t*>(shared.weights) + row * Chunk::kRowBytes;
  }
};

// Grid: [chunks, n_kv_heads, n_seqs].
template <int kHeadDim, Mode kMode>
__global__ void __launch_bounds__(Decode<kHeadDim, kMode>::kThreads, kMode == Mode::kInTurn ? 3 : 1)
    DecodeAttentionKernel(const DecodeAttentionArgs args, const PageDivision paging,
                          const Partials partials) {
  using Shape = Decode<kHeadDim, kMode>;
  using Rows = typename Shape::Rows;
  constexpr int kRowBytes = Shape::Chunk::kRowBytes;
  const RopeKvArgs& rope = args.rope;
  const int group = rope.n_heads / rope.n_kv_heads;
  const int chunk = blockIdx.x;
  const int kv_head = blockIdx.y;
  const int sequence = blockIdx.z;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int tile = warp * kTileKeys;

  // Through the L2, as are the copies: an L1 may hold what an earlier kernel saw.
  const int position = __ldcg(rope.positions + sequence);
  const int first_key = chunk * kChunkKeys;
  const int n_keys = min(position + 1 - first_key, kChunkKeys);
  if (n_keys <= 0) {
    if (position < 0 && chunk == 0) StoreNothingSeen(rope, sequence, kv_head, kHeadDim, args.out);
    return;
  }

  extern __shared__ __align__(16) uint8_t shared_bytes[];
  auto& shared = *reinterpret_cast<typename Shape::Shared*>(shared_bytes);
  if constexpr (kMode == Mode::kCluster) shared.extra.fold.Arrive();
  const int32_t* const table =
      rope.page_table + static_cast<int64_t>(sequence) * rope.page_table_stride;
  const auto page_at = [&](int i) { return __ldcg(table + i); };
  const Pages pages = {table, paging, kv_head, rope.n_kv_heads, kHeadDim};
  const TileOffsets offsets(pages, first_key + tile, n_keys - tile, page_at);
  const int newest = position - first_key < kChunkKeys ? position - first_key : -1;
  const auto copy_tile = [&](const void* from, uint8_t* to) {
    StartTileCopy<kHeadDim>(from, offsets, n_keys - tile, newest - tile,
                            SharedAddress(to) + tile * kRowBytes);
  };
  copy_tile(rope.k_pages, shared.keys);
  if constexpr (Shape::kAtOnce) copy_tile(rope.v_pages, shared.values);

  const NewestHeads<kHeadDim, Shape::kThreads> heads(rope, position);
  int64_t newest_offset = 0;
  if (newest >= 0) {
    const int page = paging.Page(position);
    newest_offset = pages.OffsetIn(page_at(page), paging.Slot(position, page));
  }

  // Measured: with few chunks the next kernel's copies, if they start before ours are needed, are
  // in the way; with many it has no room for more than a few.
  if (!Shape::kAtOnce) LetNextKernelStart();
  WaitForPreviousKernel();
  if (Shape::kAtOnce) LetNextKernelStart();
  heads.Turn(
      rope, sequence, kv_head, [&](int i) { return Shape::Query(shared, i); }, newest >= 0,
      shared.keys + newest * kRowBytes,
      Shape::kAtOnce ? shared.values + newest * kRowBytes : shared.extra.newest_value,
      newest_offset);
  __syncthreads();

  Rows rows;
  rows.LoadQueries([&](int row) {
    return row < group ? reinterpret_cast<const __nv_bfloat16*>(Shape::Query(shared, row))
                       : nullptr;
  });
  const int seen[2] = {n_keys, n_keys};
  typename Shape::Chunk sums;
  const auto attend = [&](auto halves) {
    sums.template Attend<decltype(halves)::value>(
        shared, rows, args.scale * 1.44269504088896341f, seen, n_keys, [&] {
          copy_tile(rope.v_pages, shared.keys);
          if (newest >= tile && newest < tile + kTileKeys && lane < kHeadDim / 8) {
            reinterpret_cast<uint4*>(shared.keys + newest * kRowBytes)[lane] =
                reinterpret_cast<const uint4*>(shared.extra.newest_value)[lane];
          }
        });
  };
  if (group <= 8) {
    attend(std::integral_constant<int, 1>());
  } else {
    attend(std::integral_constant<int, 2>());
  }

  const int n_chunks = position / kChunkKeys + 1;
  const int64_t head = static_cast<int64_t>(sequence) * rope.n_kv_heads + kv_head;
  auto* const out = static_cast<__nv_bfloat16*>(args.out) + head * group * kHeadDim;
  if constexpr (kMode == Mode::kCluster) {
    shared.extra.fold.Wait();  // since the beginning: all run
    shared.extra.fold.Send(sums, chunk, n_chunks, group);
    shared.extra.fold.Arrive();
    shared.extra.fold.Wait();  // All have sent.
    shared.extra.fold.Fold(chunk, n_chunks, group, out);
  } else {
    const int64_t slot = partials.Slot(head, chunk, 0);
    sums.Store(group, partials.values + slot * kHeadDim, partials.stats + slot);
    if (!ArriveLast(args.arrivals + head, n_chunks, &shared.extra.is_last)) return;
    const int64_t first = partials.Slot(head, 0, 0);
    static_assert(sizeof(shared.keys) >= kChunkKeys / kTileKeys * 32 * kHeadDim * 4);
    FoldWorkspace<kHeadDim>(partials.values + first * kHeadDim, partials.stats + first,
                            partials.n_rows, n_chunks, group, shared.keys, out);
  }
}

// ---- The launch ---------------------------------------------------------------------------------

// The same batch for the kernels of Attention.
AttentionArgs AttentionOf(const DecodeAttentionArgs& args) {
  const RopeKvArgs& rope = args.rope;
  return {.dtype = rope.dtype,
          .q = rope.q,
          .k_pages = rope.k_pages,
          .v_pages = rope.v_pages,
          .out = args.out,
          .page_table = rope.page_table,
          .page_table_stride = rope.page_table_stride,
          .seq_offsets = rope.seq_offsets,
          .first_row = rope.first_row,
          .kv_lengths = args.kv_lengths,
          .n_seqs = rope.n_seqs,
          .n_tokens = rope.n_tokens,
          .max_rows = 1,
          .max_kv_length = args.max_kv_length,
          .page_size = rope.page_size,
          .n_heads = rope.n_heads,
          .n_kv_heads = rope.n_kv_heads,
          .head_dim = rope.head_dim,
          .scale = args.scale,
          .deterministic = true,
          .workspace = args.workspace,
          .workspace_bytes = args.workspace_bytes};
}

int DeviceAttribute(cudaDeviceAttr attribute) {
  int device = 0, value = 0;
  AIOS_CUDA_CHECK(cudaGetDevice(&device));
  AIOS_CUDA_CHECK(cudaDeviceGetAttribute(&value, attribute, device));
  return value;
}

[[maybe_unused]] bool IsHopper() {
  return DeviceAttribute(cudaDevAttrComputeCapabilityMajor) == 9 &&
         DeviceAttribute(cudaDevAttrComputeCapabilityMinor) == 0;
}

template <int kHeadDim, Mode kMode>
void LaunchDecode(const DecodeAttentionArgs& args, const Partials& partials, cudaStream_t stream) {
  using Shape = Decode<kHeadDim, kMode>;
  const size_t shared_bytes = Shape::Chunk::SharedBytes(partials.n_rows);
  const auto kernel = DecodeAttentionKernel<kHeadDim, kMode>;
  AIOS_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                       static_cast<int>(shared_bytes)));
  Launch(kernel,
         {.grid = dim3(partials.n_chunks, args.rope.n_kv_heads, args.rope.n_seqs),
          .block = dim3(Shape::kThreads),
          .shared_bytes = shared_bytes,
          .overlap_previous = args.rope.overlap_previous,
          .cluster = kMode == Mode::kCluster ? partials.n_chunks : 1},
         stream, args, PageDivision(args.rope.page_size), partials);
}

template <int kHeadDim>
void LaunchFor(const DecodeAttentionArgs& args, cudaStream_t stream) {
  const Partials partials = PartialsIn(AttentionOf(args));
  const int64_t n_blocks =
      static_cast<int64_t>(partials.n_chunks) * args.rope.n_kv_heads * args.rope.n_seqs;
  const int n_sms = DeviceAttribute(cudaDevAttrMultiProcessorCount);
#ifdef AIOS_CUDA_SM90A
  if constexpr (kHeadDim % 64 == 0) {
    const RopeKvArgs& rope = args.rope;
    const bool can_walk = partials.n_rows <= 8 && rope.page_size % kTileKeys == 0 && IsHopper();
    // Three warps on each multiprocessor keep the memory busy, or nearly two that ask for twice as
    // much ahead.
    const int64_t n_walks = int64_t{rope.n_kv_heads} * rope.n_seqs;
    if (can_walk && n_walks >= 3 * n_sms) {
      return LaunchDecodeWalk<kHeadDim, kRingOfMany>(args, partials, stream);
    }
    if (can_walk && 4 * n_walks >= 7 * n_sms) {
      return LaunchDecodeWalk<kHeadDim, kRingOfFewer>(args, partials, stream);
    }
  }
#endif
  const bool at_once =
      n_blocks <= n_sms && HasRoomFor(sizeof(typename Decode<kHeadDim, Mode::kAtOnce>::Shared));
  if (!at_once) return LaunchDecode<kHeadDim, Mode::kInTurn>(args, partials, stream);
  // A cluster is not spread over the whole GPU, and two launches should have room side by side, so
  // that one can ask for its keys while the one before it works.
  const bool cluster = n_blocks * 3 <= n_sms && partials.n_chunks <= kMaxCluster &&
                       DeviceAttribute(cudaDevAttrComputeCapabilityMajor) >= 9;
  if (cluster) return LaunchDecode<kHeadDim, Mode::kCluster>(args, partials, stream);
  return LaunchDecode<kHeadDim, Mode::kAtOnce>(args, partials, stream);
}

void Require(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(std::string("DecodeAttention: ") + what);
}

bool HasOneKernel(const DecodeAttentionArgs& args) {
  const RopeKvArgs& rope = args.rope;
  const AttentionArgs attention = AttentionOf(args);
  return MmaAttentionSupports(attention) && MaxSplitRows(attention) > 0 &&
         AlignedTo16({rope.qkv, rope.bias, rope.q_norm, rope.k_norm, rope.cos, rope.sin,
                      rope.k_pages, rope.v_pages, args.out, args.workspace});
}

}  // namespace

size_t DecodeAttentionWorkspaceBytes(const DecodeAttentionArgs& args) {
  return AttentionWorkspaceBytes(AttentionOf(args));
}

void DecodeAttention(const DecodeAttentionArgs& args, cudaStream_t stream) {
  const RopeKvArgs& rope = args.rope;
  Require(rope.dtype == Format::kF32 || rope.dtype == Format::kBF16, "dtype is not F32 or BF16");
  Require(rope.n_tokens == rope.n_seqs, "a sequence has not one token");
  Require(rope.head_dim > 0 && rope.head_dim <= 256 && rope.head_dim % 8 == 0,
          "head_dim is not a multiple of 8 up to 256");
  Require(rope.n_kv_heads > 0 && rope.n_heads > 0 && rope.n_heads % rope.n_kv_heads == 0,
          "n_heads is not a multiple of n_kv_heads");
  Require(rope.n_kv_heads <= 65535 && rope.n_seqs >= 0 && rope.n_seqs <= 65535,
          "more than 65535 sequences or kv heads");
  Require(rope.page_size > 0, "page_size is less than 1");
  Require(args.scale > 0, "scale is not positive");
  Require(args.workspace_bytes >= DecodeAttentionWorkspaceBytes(args),
          "the workspace is too small");
  if (rope.n_seqs == 0) return;
  if (!HasOneKernel(args)) {
    RopeAndStoreKv(rope, stream);
    return Attention(AttentionOf(args), stream);
  }
  switch (rope.head_dim) {
    case 64:
      return LaunchFor<64>(args, stream);
    case 80:
      return LaunchFor<80>(args, stream);
    case 96:
      return LaunchFor<96>(args, stream);
    default:
      return LaunchFor<128>(args, stream);
  }
}

}  // namespace aios::kernels::cuda
