// Level 1: one thread computes one output, as the CPU would.
//
//   bazel run -c opt //kernels/ladder/gemv:ladder_gemv -- --level 1
//
// Why it is slow: the threads of a warp walk along 32 rows of W side by side, so that each load of
// the warp touches 32 places a whole row apart and uses 2 of the 32 bytes that memory brings from
// each. The L1 would keep the other 30 for the next 15 steps, if it had room for all warps' rows.
#include <cuda_bf16.h>

#include "kernels/cuda/check.h"
#include "kernels/ladder/gemv/gemv.h"

namespace aios::ladder::gemv {
namespace {

constexpr int kThreads = 256;

__global__ void ThreadPerOutput(const __nv_bfloat16* x, const __nv_bfloat16* weight,
                                __nv_bfloat16* y, int64_t d_in, int64_t d_out) {
  const int64_t row = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (row >= d_out) return;
  float sum = 0;
  for (int64_t k = 0; k < d_in; ++k) {
    sum += static_cast<float>(weight[row * d_in + k]) * static_cast<float>(x[k]);
  }
  y[row] = static_cast<__nv_bfloat16>(sum);
}

}  // namespace

void GemvLevel1(const GemvArgs& args, cudaStream_t stream) {
  const auto n_blocks = static_cast<unsigned>((args.d_out + kThreads - 1) / kThreads);
  ThreadPerOutput<<<n_blocks, kThreads, 0, stream>>>(
      static_cast<const __nv_bfloat16*>(args.x), static_cast<const __nv_bfloat16*>(args.weight),
      static_cast<__nv_bfloat16*>(args.y), args.d_in, args.d_out);
  AIOS_CUDA_CHECK_LAUNCH();
}

}  // namespace aios::ladder::gemv
