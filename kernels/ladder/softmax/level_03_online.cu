// Level 3: maximum and sum in one pass, the "online softmax" (Milakov and Gimelshein 2018).
//
//   bazel run -c opt //kernels/ladder/softmax -- --level 3
//
// What changed: the sum can begin before the maximum is known. It is kept relative to the largest
// number so far, m; when a larger one, m', comes, the sum is off by a factor that is known:
//
//     sum of exp(x - m') = exp(m - m') * sum of exp(x - m)
//
// Two partial results (m, sum) combine in the same way, in any order, so threads and warps can each
// have their own. Two passes over x are left, and one exchange between the threads. The price is
// one exponential for each step of the maximum; so a thread lets four numbers join at a time, which
// also puts four loads on the way at once.
//
// Why it matters beyond softmax: it is what lets attention forget its scores (the attention ladder,
// level 2).
//
// What is left: x is still read twice, 12 bytes a number where 8 would do, and 4 bytes a load.
#include "kernels/cuda/check.h"
#include "kernels/ladder/softmax/softmax.h"

namespace aios::ladder {
namespace {

constexpr int kThreads = 256;
constexpr int kAtOnce = 4;  // numbers that join the maximum together: one more exp for all of them

struct Partial {
  float max;
  float sum;  // of exp(x - max)
};

__device__ Partial Combine(Partial a, Partial b) {
  const float max = fmaxf(a.max, b.max);
  if (max == -INFINITY) return {max, 0};  // Neither has a number yet: -inf - -inf is NaN.
  return {max, a.sum * __expf(a.max - max) + b.sum * __expf(b.max - max)};
}

__global__ void Online(SoftmaxProblem p) {
  __shared__ Partial of_warp[kThreads / 32];
  const float* const x = p.x + int64_t{blockIdx.x} * p.n_columns;
  float* const out = p.out + int64_t{blockIdx.x} * p.n_columns;
  Partial row = {-INFINITY, 0};
  for (int first = threadIdx.x; first < p.n_columns; first += kAtOnce * kThreads) {
    float v[kAtOnce];
    float max = row.max;
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int c = first + i * kThreads;
      v[i] = c < p.n_columns ? x[c] : -INFINITY;
      max = fmaxf(max, v[i]);
    }
    row = {max, row.sum * __expf(row.max - max)};
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) row.sum += __expf(v[i] - max);
  }
  for (int step = 16; step > 0; step /= 2) {
    row = Combine(row, {__shfl_xor_sync(~0u, row.max, step), __shfl_xor_sync(~0u, row.sum, step)});
  }
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = row;
  __syncthreads();
  row = of_warp[0];
  for (int warp = 1; warp < kThreads / 32; ++warp) row = Combine(row, of_warp[warp]);
  const float norm = 1 / row.sum;
  for (int c = threadIdx.x; c < p.n_columns; c += kThreads) out[c] = __expf(x[c] - row.max) * norm;
}

}  // namespace

void SoftmaxLevel3(const SoftmaxProblem& p, cudaStream_t stream) {
  Online<<<p.n_rows, kThreads, 0, stream>>>(p);
  AIOS_CUDA_CHECK_LAUNCH();
}

}  // namespace aios::ladder
