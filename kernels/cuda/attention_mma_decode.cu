// Decode on tensor cores: a block has a chunk of a sequence and kv head (attention_mma_chunk.cuh)
// and leaves its sums in the workspace. A step whose sequences all have one row has a kernel that
// does more at once (decode_attention.cu); this one is for mixed batches, and for several rows.
#include <cstdint>
#include <type_traits>

#include "kernels/cuda/attention_common.cuh"
#include "kernels/cuda/attention_mma.cuh"
#include "kernels/cuda/attention_mma_chunk.cuh"
#include "kernels/cuda/check.h"
#include "kernels/cuda/pdl.cuh"

namespace aios::kernels::cuda {
namespace {

// Grid: [chunks, n_kv_heads, n_seqs].
template <int kHeadDim, bool kAtOnce>
__global__ void __launch_bounds__(MmaChunk<kHeadDim, kAtOnce>::kThreads)
    DecodeKernel(AttentionArgs args, PageDivision paging, Partials partials) {
  using Chunk = MmaChunk<kHeadDim, kAtOnce>;
  using Rows = typename Chunk::Rows;
  const int group = args.n_heads / args.n_kv_heads;
  const int chunk = blockIdx.x;
  const int kv_head = blockIdx.y;
  const Sequence sequence = LoadSequence(args, blockIdx.z);
  const int n_rows = sequence.n_rows * group;
  const int first_key = chunk * kChunkKeys;
  const int n_keys = min(sequence.kv_length - first_key, kChunkKeys);
  if (n_rows == 0 || n_rows > kSplitRows || n_keys <= 0) return;
  LetNextKernelStart();  // The fold, which waits for our results.

  extern __shared__ __align__(16) uint8_t shared_bytes[];
  auto& shared = *reinterpret_cast<typename Chunk::Shared*>(shared_bytes);
  const int tile = static_cast<int>(threadIdx.x) / 32 * kTileKeys;
  const TileOffsets offsets(PagesOf(args, paging, sequence, kv_head), first_key + tile,
                            n_keys - tile, [&](int i) { return sequence.pages[i]; });
  const auto copy_tile = [&](const void* pages, uint8_t* to) {
    StartTileCopy<kHeadDim>(pages, offsets, n_keys - tile, /*except=*/-1,
                            SharedAddress(to) + tile * Chunk::kRowBytes);
  };
  copy_tile(args.k_pages, shared.keys);
  if (kAtOnce) copy_tile(args.v_pages, shared.values);

  Rows rows;
  rows.LoadQueries(args, sequence, kv_head, 0, n_rows);
  const int seen[2] = {sequence.KeysOfRow(Rows::Row(0), group) - first_key,
                       sequence.KeysOfRow(Rows::Row(1), group) - first_key};
  Chunk sums;
  const auto attend = [&](auto halves) {
    sums.template Attend<decltype(halves)::value>(shared, rows, args.scale * 1.44269504088896341f,
                                                  seen, n_keys,
                                                  [&] { copy_tile(args.v_pages, shared.keys); });
  };
  if (n_rows <= 8) {
    attend(std::integral_constant<int, 1>());
  } else {
    attend(std::integral_constant<int, 2>());
  }
  const int64_t slot =
      partials.Slot(static_cast<int64_t>(sequence.index) * args.n_kv_heads + kv_head, chunk, 0);
  sums.Store(n_rows, partials.values + slot * kHeadDim, partials.stats + slot);
}

template <int kHeadDim, bool kAtOnce>
void LaunchDecode(const AttentionArgs& args, cudaStream_t stream) {
  const Partials partials = PartialsIn(args);
  const auto shared_bytes =
      static_cast<int>(MmaChunk<kHeadDim, kAtOnce>::SharedBytes(partials.n_rows));
  const auto kernel = DecodeKernel<kHeadDim, kAtOnce>;
  AIOS_CUDA_CHECK(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes));
  const dim3 grid(partials.n_chunks, args.n_kv_heads, args.n_seqs);
  kernel<<<grid, MmaChunk<kHeadDim, kAtOnce>::kThreads, shared_bytes, stream>>>(
      args, PageDivision(args.page_size), partials);
  AIOS_CUDA_CHECK_LAUNCH();
}

template <int kHeadDim>
void LaunchFor(const AttentionArgs& args, const AttentionPlan& plan, cudaStream_t stream) {
  const int64_t n_chunks =
      static_cast<int64_t>(PartialsIn(args).n_chunks) * args.n_kv_heads * args.n_seqs;
  const bool has_room = HasRoomFor(sizeof(typename MmaChunk<kHeadDim, true>::Shared));
  if (has_room && n_chunks <= plan.n_sms) {
    LaunchDecode<kHeadDim, true>(args, stream);
  } else {
    LaunchDecode<kHeadDim, false>(args, stream);
  }
}

}  // namespace

void LaunchMmaDecode(const AttentionArgs& args, const AttentionPlan& plan, cudaStream_t stream) {
  switch (args.head_dim) {
    case 64:
      return LaunchFor<64>(args, plan, stream);
    case 80:
      return LaunchFor<80>(args, plan, stream);
    case 96:
      return LaunchFor<96>(args, plan, stream);
    default:
      return LaunchFor<128>(args, plan, stream);
  }
}

}  // namespace aios::kernels::cuda
