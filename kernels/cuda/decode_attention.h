// The attention side of a decode step, one layer, in one launch: from the product with Wq, Wk, Wv
// to what goes into the product with Wo.
//
//     q, k, v = qkv + bias; q, k normed by head; q, k turned by RoPE    (RopeAndStoreKv)
//     pages[position] = k, v
//     out = softmax(scale q . K) V, over all keys, the new one included  (Attention)
//
// Each sequence has one new token. The bits of `out`, and those in the pages, are the ones that
// RopeAndStoreKv and Attention give with deterministic = true: chunks of 256 keys from position 0,
// each summed up by a block of its own, folded from the left. So a row's bits depend on nothing but
// the row's own keys: not on the batch, the pages, max_kv_length, or how its prefill was cut.
//
// Three launches are one because blocks do three things twice, or for each other:
//
//   * every block of a sequence turns the queries for itself; they are few;
//   * the block that has the newest key turns that, and takes it from its own shared memory; it
//     alone writes it to the pages, where the next step finds it;
//   * the last block of a sequence and kv head to arrive folds; or, where they are few enough to be
//     a cluster (Hopper), all of them do, each some columns.
//
//     DecodeAttention({.rope = {.qkv = qkv, ..., .q = scratch, .overlap_previous = true},
//                      .kv_lengths = lengths, .max_kv_length = 1024, .scale = scale, .out = out,
//                      .arrivals = arrivals, .workspace = w, .workspace_bytes = w_bytes}, stream);
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/rope_kv.h"

namespace aios::kernels::cuda {

// All pointers are to device memory; qkv, q, out, the pages and the workspace are aligned to 16
// bytes.
struct DecodeAttentionArgs {
  // As for RopeAndStoreKv, and:
  //   n_tokens = n_seqs, seq_offsets = first_row + 0, 1, 2, ...: sequence s has row s, at
  //   positions[s]; or, where that is -1, none: its row of `out` becomes zeros, and nothing is
  //   stored in the pages (a batch padded to a size that comes more often);
  //   head_dim is a multiple of 8, at most 256; n_heads a multiple of n_kv_heads;
  //   q is scratch: it may be written or not;
  //   entries of page_table past the newest position, and slots past it, are never used: they may
  //   hold anything (a slot even NaN).
  //
  // overlap_previous: before it waits for the kernel before it, the kernel reads positions,
  // page_table, cos and sin, and the keys and values of the positions before the newest: the time
  // of the kernel before hides most of the reading. That kernel, and those before it, may not be
  // complete by then, as far back as each let the next one start early. So what is read must be
  // older than the last launch that did not: older than a copy, the beginning of a graph, or an
  // Embed, Gather or Sample, which let nothing start before they end. Then it holds for what
  // earlier steps wrote, and for what is copied at the beginning of this one. It holds in a step
  // of which only some sequences go through here, too, if no other sequence of the step writes a
  // page that these read; RopeAndStoreKv and Attention may follow at once for those others, in the
  // same workspace: they wait for this to be complete.
  RopeKvArgs rope;

  const int32_t* kv_lengths = nullptr;  // [n_seqs]: positions[s] + 1, so 0 where it is -1
  int max_kv_length = 0;                // kv_lengths[s], at most; the launch depends on it
  float scale = 0;                      // 1 / sqrt(head_dim) in every model so far; positive
  void* out = nullptr;                  // [n_seqs, n_heads, head_dim]; does not overlap qkv

  // [n_seqs * n_kv_heads]: zeros before the first launch. Each launch leaves zeros.
  uint32_t* arrivals = nullptr;

  void* workspace = nullptr;  // contents need no preparation, and mean nothing afterwards
  size_t workspace_bytes = 0;
};

// What `workspace` must hold for these sizes (pointers do not matter). It grows with n_seqs and
// max_kv_length. Attention's own workspace may be the same memory: AttentionWorkspaceBytes of the
// same n_seqs and max_kv_length is at least as much.
size_t DecodeAttentionWorkspaceBytes(const DecodeAttentionArgs& args);

// Enqueues the above on `stream`: one launch in bf16 with head_dim 64, 80, 96 or 128, groups of up
// to 16 query heads a kv head, and everything aligned to 16 bytes; else RopeAndStoreKv and
// Attention. No allocation, no synchronization.
//
// Can be captured: the launch depends on the sizes above alone (n_seqs, max_kv_length, heads, page
// size), and a captured one stays right while positions, kv_lengths and page_table change within
// them. Blocks past a sequence's length end at once: a max_kv_length of twice the length costs half
// a microsecond at most, or 1.5 us where it makes the blocks too many for the faster ways to
// compute them (more than there are multiprocessors). Thread-safe, if workspace and arrivals are
// different. Throws std::invalid_argument for sizes outside of the above, CudaError if a launch
// fails.
void DecodeAttention(const DecodeAttentionArgs& args, cudaStream_t stream);

}  // namespace aios::kernels::cuda
