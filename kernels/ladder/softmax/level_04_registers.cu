// Level 4: the row is read once, 16 bytes a load, and stays in registers until it is written.
//
//   bazel run -c opt //kernels/ladder/softmax -- --level 4
//
// What changed: a thread holds 8 numbers (16, 32 in the longest rows), and as many threads as that
// takes do a row. All of a thread's loads are on their way before the first is used. Memory sees 4
// bytes in and 4 bytes out for a number: the work of a copy, so the rate of a copy is the limit.
// With the row at hand, the online trick buys nothing here: first the maximum, then the sum.
//
// On an H200: the rate of a copy at rows of 1,024 and 4,096, 84% of it at 32,768, where a block of
// 1,024 threads fills half a multiprocessor and only one other covers its waiting.
//
// What is left: between the last load and the first store a block waits for its barriers; other
// blocks of the multiprocessor fill that time. Rows past 32,768 numbers do not fit in one block's
// registers; they would go to shared memory, or to several blocks (a cluster, on Hopper).
#include "kernels/cuda/check.h"
#include "kernels/ladder/softmax/reduce.cuh"
#include "kernels/ladder/softmax/softmax.h"

namespace aios::ladder {
namespace {

constexpr int kMaxThreads = 1024;

template <int kVectors>
__global__ void __launch_bounds__(kMaxThreads) RowInRegisters(SoftmaxProblem p) {
  __shared__ float max_of_warp[kMaxThreads / 32], sum_of_warp[kMaxThreads / 32];
  const auto* const x = reinterpret_cast<const float4*>(p.x + int64_t{blockIdx.x} * p.n_columns);
  auto* const out = reinterpret_cast<float4*>(p.out + int64_t{blockIdx.x} * p.n_columns);
  const int n_vectors = p.n_columns / 4;

  // Past the end of the row: -inf, which is no maximum and whose exp is 0.
  float4 row[kVectors];
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const int at = threadIdx.x + i * blockDim.x;
    row[i] = at < n_vectors ? __ldcs(x + at)  // cs: will not be read again
                            : float4{-INFINITY, -INFINITY, -INFINITY, -INFINITY};
  }
  float max = -INFINITY;
#pragma unroll
  for (const float4& v : row) max = fmaxf(max, fmaxf(fmaxf(v.x, v.y), fmaxf(v.z, v.w)));
  max = ReduceOverBlock(max, max_of_warp, [](float a, float b) { return fmaxf(a, b); });

  float sum = 0;
#pragma unroll
  for (float4& v : row) {
    v = {__expf(v.x - max), __expf(v.y - max), __expf(v.z - max), __expf(v.w - max)};
    sum += (v.x + v.y) + (v.z + v.w);
  }
  sum = ReduceOverBlock(sum, sum_of_warp, [](float a, float b) { return a + b; });

  const float norm = 1 / sum;
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const int at = threadIdx.x + i * blockDim.x;
    const float4 v = row[i];
    if (at < n_vectors) __stcs(out + at, float4{v.x * norm, v.y * norm, v.z * norm, v.w * norm});
  }
}

template <int kVectors>
void Launch(const SoftmaxProblem& p, cudaStream_t stream) {
  const int threads_wanted = (p.n_columns / 4 + kVectors - 1) / kVectors;
  const int n_threads = (threads_wanted + 31) / 32 * 32;
  RowInRegisters<kVectors><<<p.n_rows, n_threads, 0, stream>>>(p);
}

}  // namespace

void SoftmaxLevel4(const SoftmaxProblem& p, cudaStream_t stream) {
  if (p.n_columns % 4 != 0 || p.n_columns > 32768) return SoftmaxLevel3(p, stream);
  if (p.n_columns <= 8192) {
    Launch<2>(p, stream);
  } else if (p.n_columns <= 16384) {
    Launch<4>(p, stream);
  } else {
    Launch<8>(p, stream);
  }
  AIOS_CUDA_CHECK_LAUNCH();
}

}  // namespace aios::ladder
