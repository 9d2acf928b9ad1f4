// Level 1: a thread does a row, as one would write it in C: maximum, sum, division.
//
//   bazel run -c opt //kernels/ladder/softmax -- --level 1
//
// The maximum comes first because exp(89) is past f32: relative to the maximum, every exponent is
// at most 0 and the largest term is 1.
//
// Why it is slow: the 32 threads of a warp read 32 rows. Memory is fetched in sectors of 32 bytes,
// of which a thread wants 4: each load of a warp touches 32 sectors, 1,024 bytes for 128. The other
// 28 bytes of a sector are wanted soon, but the threads of a multiprocessor walk over so many rows
// that little of it stays in the L1. And with 16,384 rows, 16,384 threads are all there are: 124 a
// multiprocessor, which could hold 2,048.
#include "kernels/cuda/check.h"
#include "kernels/ladder/softmax/softmax.h"

namespace aios::ladder {
namespace {

constexpr int kThreads = 128;

__global__ void ThreadPerRow(SoftmaxProblem p) {
  const int row = blockIdx.x * kThreads + threadIdx.x;
  if (row >= p.n_rows) return;
  const float* const x = p.x + int64_t{row} * p.n_columns;
  float* const out = p.out + int64_t{row} * p.n_columns;
  float max = -INFINITY;
  for (int c = 0; c < p.n_columns; ++c) max = fmaxf(max, x[c]);
  float sum = 0;
  for (int c = 0; c < p.n_columns; ++c) sum += expf(x[c] - max);
  for (int c = 0; c < p.n_columns; ++c) out[c] = expf(x[c] - max) / sum;
}

}  // namespace

void SoftmaxLevel1(const SoftmaxProblem& p, cudaStream_t stream) {
  ThreadPerRow<<<(p.n_rows + kThreads - 1) / kThreads, kThreads, 0, stream>>>(p);
  AIOS_CUDA_CHECK_LAUNCH();
}

}  // namespace aios::ladder
