// Level 4: four loads of each thread on the way at once.
//
//   bazel run -c opt //kernels/ladder/gemv:ladder_gemv -- --level 4
//
// What changed: a thread asks for four pieces of its row before it uses the first, 64 bytes a
// thread on the way: with 2,048 threads a multiprocessor, 17 MB on the GPU, more than Little's law
// asks for. And W, which is read once, no longer pushes x out of the L1 (no_allocate).
// It pays where warps are few (2,048 outputs); with 128,256 of them there were enough already.
// What is left: what happens between two kernels. The last blocks drain, the next kernel starts,
// its first loads are a microsecond on the way: of the 7 us that 32 MB take, that is much.
#include <cuda_bf16.h>

#include "kernels/cuda/check.h"
#include "kernels/ladder/gemv/dot.cuh"
#include "kernels/ladder/gemv/gemv.h"

namespace aios::ladder::gemv {
namespace {

constexpr int kWarps = 8;  // of a block
constexpr int kLoads = 4;  // on the way a thread

__device__ uint4 LoadOnce(const uint4* from) {
  uint4 v;
  asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
      : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
      : "l"(from));
  return v;
}

__global__ void LoadsInFlight(const uint4* x, const uint4* weight, __nv_bfloat16* y,
                              int64_t n_vectors, int64_t d_out) {
  const int64_t row = blockIdx.x * int64_t{kWarps} + threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  if (row >= d_out) return;
  const uint4* const w = weight + row * n_vectors;
  float sum = 0;
  int64_t k = lane;
  for (; k + (kLoads - 1) * 32 < n_vectors; k += kLoads * 32) {
    uint4 loaded[kLoads];
#pragma unroll
    for (int i = 0; i < kLoads; ++i) loaded[i] = LoadOnce(w + k + i * 32);
#pragma unroll
    for (int i = 0; i < kLoads; ++i) sum = Dot(loaded[i], x[k + i * 32], sum);
  }
  for (; k < n_vectors; k += 32) sum = Dot(LoadOnce(w + k), x[k], sum);
  sum = SumOverWarp(sum);
  if (lane == 0) y[row] = static_cast<__nv_bfloat16>(sum);
}

}  // namespace

void GemvLevel4(const GemvArgs& args, cudaStream_t stream) {
  const auto n_blocks = static_cast<unsigned>((args.d_out + kWarps - 1) / kWarps);
  LoadsInFlight<<<n_blocks, 32 * kWarps, 0, stream>>>(
      static_cast<const uint4*>(args.x), static_cast<const uint4*>(args.weight),
      static_cast<__nv_bfloat16*>(args.y), args.d_in / kVector, args.d_out);
  AIOS_CUDA_CHECK_LAUNCH();
}

}  // namespace aios::ladder::gemv
