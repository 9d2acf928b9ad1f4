// RopeAndStoreKv: from the product with Wq, Wk, Wv to what attention reads: biases (Qwen2), norms
// of the heads (Qwen3), rotary position embedding, and the new keys and values in their pages.
#pragma once

#include <cstdint>

#include "kernels/cpu/kv_view.h"
#include "kernels/rope.h"

namespace aios::kernels::cpu {

// q_dim = n_heads * head_dim, kv_dim = kv.n_kv_heads * head_dim, head_dim = kv.head_dim (even).
struct RopeKvArgs {
  const float* qkv = nullptr;     // [n_tokens, q_dim + 2 * kv_dim]: q, k, v
  const float* bias = nullptr;    // [q_dim + 2 * kv_dim], added first; may be null
  const float* q_norm = nullptr;  // [head_dim], RMSNorm of each head; may be null
  const float* k_norm = nullptr;  // [head_dim]; may be null
  float eps = 1e-6F;              // of these norms
  const float* cos = nullptr;     // [max_context, head_dim / 2]
  const float* sin = nullptr;     // [max_context, head_dim / 2]
  int64_t max_context = 0;
  RopePairing pairing = RopePairing::kHalves;
  int n_heads = 0;
  BatchView batch;
  KvView kv;
  float* q = nullptr;  // out: [n_tokens, n_heads, head_dim]
};

// Does the tokens [begin, end): writes their rows of q and their slots of the pages. Thread-safe
// for ranges that do not overlap. The bits of a token depend on its row and position alone (and on
// the instruction set). Throws std::invalid_argument for a position outside max_context or outside
// the pages, an odd head_dim, or a page that does not exist; what came before it in the range is
// done.
void RopeAndStoreKv(const RopeKvArgs& args, int64_t begin, int64_t end);

}  // namespace aios::kernels::cpu
