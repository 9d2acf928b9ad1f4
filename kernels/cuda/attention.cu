// The dispatch of attention, and the fold of the sequences whose keys were split.
#include <algorithm>
#include <bit>
#include <stdexcept>
#include <string>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_common.cuh"
#include "kernels/cuda/check.h"

namespace aios::kernels::cuda {
namespace {

// A block folds the chunks of one row of a split sequence, a thread a column.
// Grid: [packed rows, n_kv_heads, n_seqs].
template <typename T>
__global__ void FoldChunksKernel(AttentionArgs args, Partials partials) {
  const int group = args.n_heads / args.n_kv_heads;
  const int row = blockIdx.x;
  const int kv_head = blockIdx.y;
  const Sequence sequence = LoadSequence(args, blockIdx.z);
  const int n_rows = sequence.n_rows * group;
  if (n_rows > kSplitRows || row >= n_rows) return;

  const int n_chunks = (sequence.KeysOfRow(row, group) + kChunkKeys - 1) / kChunkKeys;
  const int64_t first =
      partials.Slot(static_cast<int64_t>(sequence.index) * args.n_kv_heads + kv_head, 0, row);
  RowFold fold;
  float total = 0;
#pragma unroll 8
  for (int chunk = 0; chunk < n_chunks; ++chunk) {
    const int64_t slot = first + static_cast<int64_t>(chunk) * partials.n_rows;
    const float2 stats = partials.stats[slot];
    const float value = partials.values[slot * args.head_dim + threadIdx.x];
    fold.Begin(stats.x, stats.y);
    total = fold.Fold(total, value);
  }
  static_cast<T*>(args.out)[RowOffset(args, sequence, kv_head, row) + threadIdx.x] =
      static_cast<T>(__fmul_rn(total, fold.Normalizer()));
}

void LaunchFold(const AttentionArgs& args, cudaStream_t stream) {
  const Partials partials = PartialsIn(args);
  const dim3 grid(partials.n_rows, args.n_kv_heads, args.n_seqs);
  if (args.dtype == Format::kF32) {
    FoldChunksKernel<float><<<grid, args.head_dim, 0, stream>>>(args, partials);
  } else {
    FoldChunksKernel<__nv_bfloat16><<<grid, args.head_dim, 0, stream>>>(args, partials);
  }
  AIOS_CUDA_CHECK_LAUNCH();
}

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
  Require(args.page_size > 0 && std::has_single_bit(static_cast<unsigned>(args.page_size)),
          "page_size is not a power of two");
  Require(args.scale > 0, "scale is not positive");
  Require(args.workspace_bytes >= AttentionWorkspaceBytes(args), "the workspace is too small");
}

}  // namespace

size_t AttentionWorkspaceBytes(const AttentionArgs& args) {
  const Partials partials = PartialsIn(args);
  return static_cast<size_t>(args.n_seqs) * args.n_kv_heads * partials.n_chunks * partials.n_rows *
         (sizeof(float) * args.head_dim + sizeof(float2));
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
  int device = 0;
  AIOS_CUDA_CHECK(cudaGetDevice(&device));
  AIOS_CUDA_CHECK(cudaDeviceGetAttribute(&plan.n_sms, cudaDevAttrMultiProcessorCount, device));

  LaunchGenericAttention(args, plan, stream);
  if (plan.split) LaunchFold(args, stream);
}

}  // namespace aios::kernels::cuda
