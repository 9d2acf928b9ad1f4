// Level 1: the formula as it stands, in three passes. Scores to memory, softmax of each row in
// place, weighted sum of the values.
//
//   bazel run -c opt //kernels/ladder/attention -- --level 1
//
// The scores of one head at 8,192 tokens are 67 M numbers, 268 MB in f32: far more than the 60 MB
// L2 holds, so they go to memory and back. Written once, read twice and rewritten by the softmax,
// read by the sum: 5 x 268 MB x 32 heads = 43 GB, 9 ms at 4.7 TB/s. What K and V themselves have is
// 4 MB.
//
// It never comes to that, since the arithmetic around it is slower still: each thread of the first
// kernel reads 2 numbers for one multiplication and addition, straight from the caches.
#include "kernels/cuda/check.h"
#include "kernels/ladder/attention/attention.h"

namespace aios::ladder {
namespace {

constexpr int kThreads = 128;

// A thread computes one score. Grid: [key blocks, n_tokens].
__global__ void Scores(AttentionProblem p, int head) {
  const int key = blockIdx.x * kThreads + threadIdx.x;
  const int token = blockIdx.y;
  if (key > token) return;  // Keys after the token are not seen.
  const int64_t kv_head = head / (p.n_heads / p.n_kv_heads);
  const __nv_bfloat16* q = p.q + (int64_t{token} * p.n_heads + head) * kHeadDim;
  const __nv_bfloat16* k = p.k + (kv_head * p.n_tokens + key) * kHeadDim;
  float sum = 0;
  for (int d = 0; d < kHeadDim; ++d) sum += static_cast<float>(q[d]) * static_cast<float>(k[d]);
  p.scores[int64_t{token} * p.n_tokens + key] = p.scale * sum;
}

// A warp makes one row of scores probabilities. Grid: [n_tokens].
__global__ void Softmax(AttentionProblem p) {
  const int token = blockIdx.x;
  const int lane = threadIdx.x;
  float* const row = p.scores + int64_t{token} * p.n_tokens;
  float max = -INFINITY;
  for (int key = lane; key <= token; key += 32) max = fmaxf(max, row[key]);
  for (int step = 16; step > 0; step /= 2) max = fmaxf(max, __shfl_xor_sync(~0u, max, step));
  float sum = 0;
  for (int key = lane; key <= token; key += 32) {
    row[key] = expf(row[key] - max);
    sum += row[key];
  }
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
  for (int key = lane; key <= token; key += 32) row[key] /= sum;
}

// A thread computes one number of the output. Grid: [n_tokens], a thread a column.
__global__ void WeightedSum(AttentionProblem p, int head) {
  const int token = blockIdx.x;
  const int d = threadIdx.x;
  const int64_t kv_head = head / (p.n_heads / p.n_kv_heads);
  const __nv_bfloat16* const v = p.v + kv_head * p.n_tokens * kHeadDim;
  const float* const row = p.scores + int64_t{token} * p.n_tokens;
  float sum = 0;
  for (int key = 0; key <= token; ++key) {
    sum += row[key] * static_cast<float>(v[int64_t{key} * kHeadDim + d]);
  }
  p.out[(int64_t{token} * p.n_heads + head) * kHeadDim + d] = static_cast<__nv_bfloat16>(sum);
}

}  // namespace

void AttentionLevel1(const AttentionProblem& p, cudaStream_t stream) {
  for (int head = 0; head < p.n_heads; ++head) {
    Scores<<<dim3((p.n_tokens + kThreads - 1) / kThreads, p.n_tokens), kThreads, 0, stream>>>(p,
                                                                                              head);
    AIOS_CUDA_CHECK_LAUNCH();
    Softmax<<<p.n_tokens, 32, 0, stream>>>(p);
    AIOS_CUDA_CHECK_LAUNCH();
    WeightedSum<<<p.n_tokens, kHeadDim, 0, stream>>>(p, head);
    AIOS_CUDA_CHECK_LAUNCH();
  }
}

}  // namespace aios::ladder
