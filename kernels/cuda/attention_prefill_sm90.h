// Prefill attention for Hopper (compute capability 9.0): wgmma, TMA, warp specialization.
//
// The order of sums of a row is its own: key tiles of 128 from position 0, a running maximum over
// them. Keys that a row must not see add exact zeros. So its bits depend on its position and its
// keys alone, not on how the prefill was cut, nor on the batch; but they are not the bits of
// attention.h's other kernels.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/cuda/attention.h"

namespace aios::kernels::cuda {

// Whether these sizes can go to AttentionPrefillSm90: bf16, head_dim 64 or 128, page_size 16, 32,
// 64 or a multiple of 128, or so large that a sequence has one page, k_pages, v_pages and q aligned
// to 16 bytes, on a device of compute capability 9.0 (the current one), by a build for sm_90a. It
// does not ask whether it pays: from about 64 rows a sequence.
bool PrefillSm90Supports(const AttentionArgs& args);

// Attention (attention.h) of every sequence with at least `min_rows` rows; the rows of the others
// are left alone.
//
// The first 4 bytes of `args.workspace` are written, whatever AttentionWorkspaceBytes is (a counter
// of tiles); without a workspace the tiles are scheduled less well. Enqueues a memset and a launch;
// can be captured, thread-safe if the workspaces are different. Requires PrefillSm90Supports.
void AttentionPrefillSm90(const AttentionArgs& args, cudaStream_t stream, int min_rows = 1);

}  // namespace aios::kernels::cuda
