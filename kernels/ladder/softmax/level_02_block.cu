// Level 2: a block of 256 threads does a row, still in three passes.
//
//   bazel run -c opt //kernels/ladder/softmax -- --level 2
//
// What changed: neighbouring threads read neighbouring numbers. A warp's load is 128 bytes in one
// piece, all of it used: a quarter as many sectors for a load, 4 instead of 32. And a row keeps 256
// threads busy, not one. The price: the threads must tell each other what they found, twice.
//
// What is left: x is read three times. The second and third time it mostly comes from the L1 or
// the L2, but a load has to be issued, waited for and paid in bandwidth there all the same, and
// each pass waits for the slowest thread of the one before.
#include "kernels/cuda/check.h"
#include "kernels/ladder/softmax/reduce.cuh"
#include "kernels/ladder/softmax/softmax.h"

namespace aios::ladder {
namespace {

constexpr int kThreads = 256;

__global__ void BlockPerRow(SoftmaxProblem p) {
  __shared__ float max_of_warp[kThreads / 32], sum_of_warp[kThreads / 32];
  const float* const x = p.x + int64_t{blockIdx.x} * p.n_columns;
  float* const out = p.out + int64_t{blockIdx.x} * p.n_columns;
  float max = -INFINITY;
  for (int c = threadIdx.x; c < p.n_columns; c += kThreads) max = fmaxf(max, x[c]);
  max = ReduceOverBlock(max, max_of_warp, [](float a, float b) { return fmaxf(a, b); });
  float sum = 0;
  for (int c = threadIdx.x; c < p.n_columns; c += kThreads) sum += expf(x[c] - max);
  sum = ReduceOverBlock(sum, sum_of_warp, [](float a, float b) { return a + b; });
  for (int c = threadIdx.x; c < p.n_columns; c += kThreads) out[c] = expf(x[c] - max) / sum;
}

}  // namespace

void SoftmaxLevel2(const SoftmaxProblem& p, cudaStream_t stream) {
  BlockPerRow<<<p.n_rows, kThreads, 0, stream>>>(p);
  AIOS_CUDA_CHECK_LAUNCH();
}

}  // namespace aios::ladder
