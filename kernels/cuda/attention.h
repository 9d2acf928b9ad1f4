// Attention over a paged KV cache: one layer, one flat ragged batch of prefill, decode or their
// mix.
//
//     out[t, h] = softmax(scale * q[t, h] . K[kv head of h, 0 .. position of t]) V[same]
//
// The batch must not change the answer. A row (one token's query of one head) is defined by one
// order of sums that knows only the row's own keys: chunks of 256 keys from position 0, each with
// its own maximum, sum and weighted values, folded from the left (attention_common.cuh). A decode
// step gives chunks to different blocks and folds them afterwards; a prefill walks them in one
// block; the bits are the same. So a row's output is bitwise the same whatever else is in the
// batch, whichever pages hold its keys, however its prefill was chunked, and whether it was
// computed by a decode step or by a prefill after a preemption.
//
//   f32                          CUDA cores, true f32                    attention_generic.cu
//   bf16, other head_dims        CUDA cores, sums in f32                 attention_generic.cu
//   bf16, head_dim 64/80/96/128  tensor cores through mma.sync (sm_80+)  attention_mma_*.cu
//   bf16, head_dim 64/128,       Hopper's wgmma, thrice as fast          attention_prefill_sm90.cu
//     64 rows or more at once
//
// Scores, maxima, sums and weighted values are f32 throughout; on tensor cores the probabilities
// are rounded to bf16 before they meet V, as in FlashAttention.
//
// The exception, unless `deterministic` asks for none: on Hopper, a sequence that brings 64 rows or
// more in one step goes to attention_prefill_sm90.cu, which has an order of its own (one running
// maximum over tiles of 128 keys). Then a row's bits still do not depend on the batch, the pages or
// where a prefill was cut, but they do depend on whether its step had 64 rows: a prefill's row
// differs in its last bits from the same row computed by decode steps.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/formats.h"

namespace aios::kernels::cuda {

// All pointers are to device memory. q, out, the pages and the workspace are aligned to 16 bytes.
struct AttentionArgs {
  Format dtype = Format::kBF16;  // Of q, the pages and out: kF32 or kBF16.

  const void* q = nullptr;        // [n_tokens, n_heads, head_dim], with RoPE applied
  const void* k_pages = nullptr;  // [n_pages, n_kv_heads, page_size, head_dim]
  const void* v_pages = nullptr;  // [n_pages, n_kv_heads, page_size, head_dim]
  void* out = nullptr;            // [n_tokens, n_heads, head_dim]

  // Position p of sequence s lies in page page_table[s * page_table_stride + p / page_size], slot
  // p % page_size. Entries past the last position, and slots past it, are never used: they may hold
  // anything (a slot even NaN).
  const int32_t* page_table = nullptr;  // [n_seqs, page_table_stride]
  int page_table_stride = 0;

  // Sequence s has the rows seq_offsets[s] to seq_offsets[s + 1]; they are its last ones: the keys
  // of the last row are all kv_lengths[s], those of the row before it one fewer. A row without keys
  // gives zeros.
  const int32_t* seq_offsets = nullptr;  // [n_seqs + 1], from first_row up by at most n_tokens
  int first_row = 0;                     // the rows of q and out are counted from it
  const int32_t* kv_lengths = nullptr;   // [n_seqs]: at least the sequence's number of rows, or 0

  // What the host knows of the batch; the launch depends on these alone, so that a launch captured
  // in a CUDA graph stays right while the device arrays change within them.
  int n_seqs = 0;
  int n_tokens = 0;
  int max_rows = 0;       // rows of any sequence, at most
  int max_kv_length = 0;  // kv_lengths[s], at most

  int page_size = 0;   // at least 1
  int n_heads = 0;     // a multiple of n_kv_heads
  int n_kv_heads = 0;  // head h reads the keys of kv head h / (n_heads / n_kv_heads)
  int head_dim = 0;    // a multiple of 8, at most 256
  float scale = 0;     // 1 / sqrt(head_dim) in every model so far; positive

  // Keep to the one order of sums even where a kernel with another one is faster (see above).
  bool deterministic = false;

  void* workspace = nullptr;  // contents need no preparation, and mean nothing afterwards
  size_t workspace_bytes = 0;
};

// What `workspace` must hold for these sizes (dtype and pointers do not matter). It grows with
// n_seqs, max_rows and max_kv_length: with the largest ones, it serves every batch. About a
// sixtieth of the bytes of the sequences' keys and values, in bf16 with groups of 4.
size_t AttentionWorkspaceBytes(const AttentionArgs& args);

// Enqueues the above on `stream`: one to three launches, no allocation, no synchronization. Can be
// captured. Thread-safe, if the workspaces are different. Throws std::invalid_argument for sizes
// outside of the above, CudaError if a launch fails.
void Attention(const AttentionArgs& args, cudaStream_t stream);

}  // namespace aios::kernels::cuda
