// Level 2: a block of 256 threads computes one row.
//
//   bazel run -c opt //kernels/ladder/rms_norm:ladder_rms_norm -- --level 2
//
// What changed: neighbouring threads read neighbouring numbers, so that a warp's load is one piece
// of 128 bytes, all of it used (it is "coalesced"); and one row has 256 threads. The price is that
// they must add up what each of them found: by halves, through shared memory. What is left: x comes
// from memory for the addition, and twice here (the second time mostly from the caches); loads are
// 4 bytes a thread, of which too few are on the way.
#include <cuda_bf16.h>

#include "kernels/cuda/check.h"
#include "kernels/ladder/rms_norm/rms_norm.h"

namespace aios::ladder::rms_norm {
namespace {

constexpr int kThreads = 256;

__global__ void BlockPerRow(const RmsNormArgs args) {
  __shared__ float sums[kThreads];
  const float* const x = args.x + blockIdx.x * args.d_model;
  __nv_bfloat16* const out = static_cast<__nv_bfloat16*>(args.out) + blockIdx.x * args.d_model;
  float sum = 0;
  for (int64_t i = threadIdx.x; i < args.d_model; i += kThreads) sum += x[i] * x[i];
  sums[threadIdx.x] = sum;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  __syncthreads();
  const float scale = 1 / sqrtf(sums[0] / static_cast<float>(args.d_model) + args.eps);
  for (int64_t i = threadIdx.x; i < args.d_model; i += kThreads) {
    out[i] = static_cast<__nv_bfloat16>(x[i] * scale * args.weight[i]);
  }
}

}  // namespace

void RmsNormLevel2(const RmsNormArgs& args, cudaStream_t stream) {
  AddToStream(args, stream);
  BlockPerRow<<<static_cast<unsigned>(args.n_rows), kThreads, 0, stream>>>(args);
  AIOS_CUDA_CHECK_LAUNCH();
}

}  // namespace aios::ladder::rms_norm
