// Level 1: one thread computes one row, as the CPU would.
//
//   bazel run -c opt //kernels/ladder/rms_norm:ladder_rms_norm -- --level 1
//
// Why it is slow: the 32 threads of a warp read 32 rows, so that each load touches 32 places that
// lie a whole row apart, and uses 4 of the 32 bytes that memory brings from each; the caches keep
// the rest only while few rows are open. And there are never more threads than rows: a GPU needs
// tens of thousands to keep its memory busy, and one row alone takes as long as 1,000.
#include <cuda_bf16.h>

#include "kernels/cuda/check.h"
#include "kernels/ladder/rms_norm/rms_norm.h"

namespace aios::ladder::rms_norm {
namespace {

constexpr int kThreads = 256;

__global__ void Add(float* x, const __nv_bfloat16* delta, int64_t n) {
  const int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (i < n) x[i] += static_cast<float>(delta[i]);
}

__global__ void ThreadPerRow(const RmsNormArgs args) {
  const int64_t row = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (row >= args.n_rows) return;
  const float* const x = args.x + row * args.d_model;
  __nv_bfloat16* const out = static_cast<__nv_bfloat16*>(args.out) + row * args.d_model;
  float sum = 0;
  for (int64_t i = 0; i < args.d_model; ++i) sum += x[i] * x[i];
  const float scale = 1 / sqrtf(sum / static_cast<float>(args.d_model) + args.eps);
  for (int64_t i = 0; i < args.d_model; ++i) {
    out[i] = static_cast<__nv_bfloat16>(x[i] * scale * args.weight[i]);
  }
}

unsigned Blocks(int64_t n) { return static_cast<unsigned>((n + kThreads - 1) / kThreads); }

}  // namespace

void AddToStream(const RmsNormArgs& args, cudaStream_t stream) {
  const int64_t n = args.n_rows * args.d_model;
  Add<<<Blocks(n), kThreads, 0, stream>>>(args.x, static_cast<const __nv_bfloat16*>(args.delta), n);
  AIOS_CUDA_CHECK_LAUNCH();
}

void RmsNormLevel1(const RmsNormArgs& args, cudaStream_t stream) {
  AddToStream(args, stream);
  ThreadPerRow<<<Blocks(args.n_rows), kThreads, 0, stream>>>(args);
  AIOS_CUDA_CHECK_LAUNCH();
}

}  // namespace aios::ladder::rms_norm
