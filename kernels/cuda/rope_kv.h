// RopeAndStoreKv: from the product with Wq, Wk, Wv to what attention reads: biases (Qwen2), norms
// of the heads (Qwen3), rotary position embedding, and the new keys and values in their pages.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/formats.h"
#include "kernels/rope.h"

namespace aios::kernels::cuda {

// All pointers are to device memory. q_dim = n_heads * head_dim, kv_dim = n_kv_heads * head_dim.
struct RopeKvArgs {
  Format dtype = Format::kBF16;  // of qkv, q and the pages: kBF16 or kF32

  const void* qkv = nullptr;      // [n_tokens, q_dim + 2 * kv_dim]: q, k, v
  const float* bias = nullptr;    // [q_dim + 2 * kv_dim], added first; may be null
  const float* q_norm = nullptr;  // [head_dim], RMSNorm of each head; may be null
  const float* k_norm = nullptr;  // [head_dim]; may be null
  float eps = 1e-6F;              // of these norms
  const float* cos = nullptr;     // [max_context, head_dim / 2]
  const float* sin = nullptr;     // [max_context, head_dim / 2]
  RopePairing pairing = RopePairing::kHalves;

  // The batch: sequence s has the rows seq_offsets[s] to seq_offsets[s + 1]. A token's position is
  // in [0, max_context) and in a page that exists; the kernel trusts that. Or it is -1: a row that
  // is no token, of which nothing is stored in any page, and q is anything finite if qkv is.
  const int32_t* seq_offsets = nullptr;  // [n_seqs + 1], from first_row to first_row + n_tokens
  int first_row = 0;                     // the rows of qkv, positions and q are counted from it
  const int32_t* positions = nullptr;    // [n_tokens]
  int n_seqs = 0;
  int n_tokens = 0;

  // Position p of sequence s lies in page page_table[s * page_table_stride + p / page_size], slot
  // p % page_size.
  const int32_t* page_table = nullptr;  // [n_seqs, page_table_stride]
  int page_table_stride = 0;
  int page_size = 64;       // at least 1
  void* k_pages = nullptr;  // out: [n_pages, n_kv_heads, page_size, head_dim]
  void* v_pages = nullptr;  // out: likewise

  int n_heads = 0;
  int n_kv_heads = 0;
  int head_dim = 0;   // even, at most 512
  void* q = nullptr;  // out: [n_tokens, n_heads, head_dim]; does not overlap qkv

  // Start while the kernel before on the stream still runs, and wait for it (kernels/cuda/pdl.cuh).
  bool overlap_previous = false;
};

// All between the reading of a number and its rounding when it is written is f32. The bits of a
// token depend on its row and position, and on head_dim (and dtype), alone.
//
// Fast where all pointers are aligned to 16 bytes and head_dim is a multiple of 16 (f32: of 8), at
// most 256; right, but slow, elsewhere; which of the two is taken can change bits where heads are
// normed. Asynchronous on `stream`, may be captured into a graph. Thread-safe. Throws
// std::invalid_argument for another dtype, an odd or larger head_dim, or a page_size below 1;
// CudaError if the launch fails.
void RopeAndStoreKv(const RopeKvArgs& args, cudaStream_t stream);

}  // namespace aios::kernels::cuda
