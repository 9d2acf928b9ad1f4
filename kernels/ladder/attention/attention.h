// The levels of attention, each a file of its own: causal prefill of one sequence in bf16,
//
//     out[t, h] = softmax(scale * q[t, h] . K[kv head of h, 0 .. t]) V[same]
//
// without pages, ragged batches and fixed orders of sums, which the engine's kernels
// (kernels/cuda/attention.h) add to the same ideas.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <vector>

namespace aios::ladder {

inline constexpr int kHeadDim = 128;  // of all levels, so that loops over it can be unrolled

// Device pointers, aligned to 16 bytes.
struct AttentionProblem {
  const __nv_bfloat16* q = nullptr;  // [n_tokens, n_heads, kHeadDim]
  const __nv_bfloat16* k = nullptr;  // [n_kv_heads, n_tokens, kHeadDim]
  const __nv_bfloat16* v = nullptr;  // [n_kv_heads, n_tokens, kHeadDim]
  __nv_bfloat16* out = nullptr;      // [n_tokens, n_heads, kHeadDim]
  float* scores = nullptr;           // [n_tokens, n_tokens]: scratch, level 1 alone uses it
  int n_tokens = 0;
  int n_heads = 0;
  int n_kv_heads = 0;  // head h reads kv head h / (n_heads / n_kv_heads)
  float scale = 0;     // 1 / sqrt(kHeadDim)
};

void AttentionLevel1(const AttentionProblem& problem, cudaStream_t stream);  // three passes
void AttentionLevel2(const AttentionProblem& problem, cudaStream_t stream);  // tiles, CUDA cores
void AttentionLevel3(const AttentionProblem& problem, cudaStream_t stream);  // mma.sync
void AttentionLevel4(const AttentionProblem& problem, cudaStream_t stream);  // wgmma; Hopper only

struct AttentionLevel {
  int number;
  const char* name;
  void (*run)(const AttentionProblem& problem, cudaStream_t stream);
  bool hopper_only = false;  // needs compute capability 9.0
};

inline std::vector<AttentionLevel> Levels() {
  return {
      {1, "three passes through memory", AttentionLevel1},
      {2, "tiles, online softmax", AttentionLevel2},
      {3, "tensor cores (mma.sync)", AttentionLevel3},
      {4, "wgmma, TMA, a producer", AttentionLevel4, /*hopper_only=*/true},
  };
}

}  // namespace aios::ladder
