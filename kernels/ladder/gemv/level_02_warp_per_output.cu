// Level 2: a warp computes one output.
//
//   bazel run -c opt //kernels/ladder/gemv:ladder_gemv -- --level 2
//
// What changed: the 32 threads of a warp read 32 neighbouring numbers of one row, one piece of 64
// bytes all of which is used (the load is "coalesced"), and there are 32 times as many threads, so
// that more loads are on the way. Their partial sums meet through shuffles: a butterfly.
// What is left: a load instruction brings 2 bytes a thread. The memory could bring more than the
// threads ask for.
#include <cuda_bf16.h>

#include "kernels/cuda/check.h"
#include "kernels/ladder/gemv/gemv.h"

namespace aios::ladder::gemv {
namespace {

constexpr int kWarps = 8;  // of a block

__global__ void WarpPerOutput(const __nv_bfloat16* x, const __nv_bfloat16* weight, __nv_bfloat16* y,
                              int64_t d_in, int64_t d_out) {
  const int64_t row = blockIdx.x * int64_t{kWarps} + threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  if (row >= d_out) return;
  float sum = 0;
  for (int64_t k = lane; k < d_in; k += 32) {
    sum += static_cast<float>(weight[row * d_in + k]) * static_cast<float>(x[k]);
  }
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xFFFFFFFF, sum, step);
  if (lane == 0) y[row] = static_cast<__nv_bfloat16>(sum);
}

}  // namespace

void GemvLevel2(const GemvArgs& args, cudaStream_t stream) {
  const auto n_blocks = static_cast<unsigned>((args.d_out + kWarps - 1) / kWarps);
  WarpPerOutput<<<n_blocks, 32 * kWarps, 0, stream>>>(
      static_cast<const __nv_bfloat16*>(args.x), static_cast<const __nv_bfloat16*>(args.weight),
      static_cast<__nv_bfloat16*>(args.y), args.d_in, args.d_out);
  AIOS_CUDA_CHECK_LAUNCH();
}

}  // namespace aios::ladder::gemv
