// The dispatch of attention, and the fold of the sequences whose keys were split.
#include <algorithm>
#include <stdexcept>
#include <string>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_common.cuh"
#include "kernels/cuda/attention_prefill_sm90.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/pdl.cuh"

namespace aios::kernels::cuda {
namespace {

// A block folds the chunks of one row of a split sequence, a thread a column. The chain of folds is
// short on arithmetic (one fused multiply-add a chunk) and would be long on waiting: so the values
// of 32 chunks are asked for at once, and those of the next 32 before these are folded. Meanwhile
// each warp computes the factors of 32 chunks, one a lane.
// Grid: [packed rows, n_kv_heads, n_seqs].
constexpr int kFoldChunks = 32;

template <typename T>
__global__ void __launch_bounds__(256) FoldChunksKernel(AttentionArgs args, Partials partials) {
  const int group = args.n_heads / args.n_kv_heads;
  const int row = blockIdx.x;
  const int kv_head = blockIdx.y;
  const Sequence sequence = LoadSequence(args, blockIdx.z);
  const int n_rows = sequence.n_rows * group;
  WaitForPreviousKernel();  // The batch's arrays are older than it.
  if (n_rows > kSplitRows || row >= n_rows) return;

  const int n_chunks = (sequence.KeysOfRow(row, group) + kChunkKeys - 1) / kChunkKeys;
  const int64_t first_slot =
      partials.Slot(static_cast<int64_t>(sequence.index) * args.n_kv_heads + kv_head, 0, row);
  const int column = min(static_cast<int>(threadIdx.x), args.head_dim - 1);
  const int lane = threadIdx.x % 32;

  // Past the last chunk: what changes nothing.
  const int64_t stride = static_cast<int64_t>(partials.n_rows) * args.head_dim;
  const float* const values = partials.values + first_slot * args.head_dim + column;
  const auto load = [&](int first, float(&of)[kFoldChunks], float2& stats) {
    const float* from = values + first * stride;
#pragma unroll
    for (int i = 0; i < kFoldChunks; ++i, from += stride) of[i] = first + i < n_chunks ? *from : 0;
    const int64_t slot = first_slot + static_cast<int64_t>(first + lane) * partials.n_rows;
    stats = first + lane < n_chunks ? partials.stats[slot] : float2{-INFINITY, 0};
  };
  float next[kFoldChunks];
  float2 next_stats;
  load(0, next, next_stats);
  RowFold fold;
  float total = 0;
  for (int first = 0; first < n_chunks; first += kFoldChunks) {
    float now[kFoldChunks];
#pragma unroll
    for (int i = 0; i < kFoldChunks; ++i) now[i] = next[i];
    const float2 stats = next_stats;
    if (first + kFoldChunks < n_chunks) load(first + kFoldChunks, next, next_stats);

    float max_after;
    const RowFold of_lane = FoldOfLane(fold.max, stats, &max_after);
#pragma unroll
    for (int i = 0; i < kFoldChunks; ++i) {
      fold.keep = __shfl_sync(~0u, of_lane.keep, i);
      fold.take = __shfl_sync(~0u, of_lane.take, i);
      fold.sum = fold.Fold(fold.sum, __shfl_sync(~0u, stats.y, i));
      total = fold.Fold(total, now[i]);
    }
    fold.max = max_after;
  }
  if (threadIdx.x < args.head_dim) {
    static_cast<T*>(args.out)[RowOffset(args, sequence, kv_head, row) + column] =
        static_cast<T>(__fmul_rn(total, fold.Normalizer()));
  }
}

void LaunchFold(const AttentionArgs& args, cudaStream_t stream) {
  const Partials partials = PartialsIn(args);
  const dim3 grid(partials.n_rows, args.n_kv_heads, args.n_seqs);
  const int n_threads = CeilDiv(args.head_dim, 32) * 32;
  const auto kernel =
      args.dtype == Format::kF32 ? FoldChunksKernel<float> : FoldChunksKernel<__nv_bfloat16>;
  Launch(kernel, {.grid = grid, .block = dim3(n_threads), .overlap_previous = true}, stream, args,
         partials);
}

#ifdef AIOS_CUDA_SM90A
constexpr int kSm90Tokens = 64;  // a step's tokens from which Hopper's own kernel pays
#endif

void Require(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(std::string("attention: ") + what);
}

void CheckSizes(const AttentionArgs& args) {
  Require(args.dtype == Format::kF32 || args.dtype == Format::kBF16, "dtype is not F32 or BF16");
  Require(args.head_dim > 0 && args.head_dim <= 256 && args.head_dim % 8 == 0,
          "head_dim is not a multiple of 8 up to 256");
  Require(args.n_kv_heads > 0 && args.n_heads > 0 && args.n_heads % args.n_kv_heads == 0,
          "n_heads is not a multiple of n_kv_heads");
  Require(args.n_kv_heads <= 65535 && args.n_seqs >= 0 && args.n_seqs <= 65535,
          "more than 65535 sequences or kv heads");
  Require(args.page_size > 0, "page_size is less than 1");
  Require(args.scale > 0, "scale is not positive");
  Require(args.workspace_bytes >= AttentionWorkspaceBytes(args), "the workspace is too small");
}

}  // namespace

size_t AttentionWorkspaceBytes(const AttentionArgs& args) {
  const Partials partials = PartialsIn(args);
  const size_t slots =
      static_cast<size_t>(args.n_seqs) * args.n_kv_heads * partials.n_chunks * partials.n_rows;
  // At least the counter of attention_prefill_sm90.cu, which runs before these slots are filled.
  return std::max<size_t>(slots * (sizeof(float) * args.head_dim + sizeof(float2)), 16);
}

void Attention(const AttentionArgs& args, cudaStream_t stream) {
  CheckSizes(args);
  if (args.n_seqs == 0 || args.n_tokens == 0) return;

  const int group = args.n_heads / args.n_kv_heads;
  AttentionPlan plan;
  plan.whole = args.max_rows * group > kSplitRows;
  // If every sequence has as many rows as the longest, then all are of one kind.
  const bool alike = static_cast<int64_t>(args.n_seqs) * args.max_rows == args.n_tokens;
  plan.split = MaxSplitRows(args) > 0 && !(plan.whole && alike);
#ifdef AIOS_CUDA_SM90A
  if (!args.deterministic && plan.whole && args.max_rows >= kSm90Tokens &&
      PrefillSm90Supports(args)) {
    AttentionPrefillSm90(args, stream, kSm90Tokens);
    if (alike) return;
    plan.too_many_tokens = kSm90Tokens;
  }
#endif
  int device = 0;
  AIOS_CUDA_CHECK(cudaGetDevice(&device));
  AIOS_CUDA_CHECK(cudaDeviceGetAttribute(&plan.n_sms, cudaDevAttrMultiProcessorCount, device));

  if (MmaAttentionSupports(args)) {
    if (plan.split) LaunchMmaDecode(args, plan, stream);
    if (plan.whole) LaunchMmaPrefill(args, plan, stream);
  } else {
    LaunchGenericAttention(args, plan, stream);
  }
  if (plan.split) LaunchFold(args, stream);
}

}  // namespace aios::kernels::cuda
