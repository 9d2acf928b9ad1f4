// Level 2: a warp for each number of C, its lanes side by side along k.
//
// What changed: both A and B lie along k, so that is where neighbouring threads must go. A lane
// loads 16 bytes (8 numbers) and the warp 512 contiguous ones: 16 sectors, all of them used, where
// level 1 fetched 32 sectors to use a sixteenth. A load now feeds 8 multiply-adds instead of one.
// The lanes' sums fold in five shuffles at the end.
//
// What limits now: nothing is reused. A multiply-add takes 4 bytes from L1 or L2, m n k x 4 = 275
// GB for 4096^3; at about 128 bytes a cycle for each SM's L1, 30 TB/s in all, that is 9 ms, 15
// TFLOP/s at the very best. Only fewer loads help.
#include "kernels/cuda/check.h"
#include "kernels/ladder/gemm/gemm.h"

namespace aios::ladder::gemm {
namespace {

constexpr int kWarps = 8;  // of a block: 8 numbers of one row of C, which share that row of A in L1

__global__ __launch_bounds__(kWarps * 32) void CoalescedKernel(GemmArgs g) {
  const int lane = threadIdx.x;
  const int row = blockIdx.y;
  const int column = blockIdx.x * kWarps + threadIdx.y;
  if (column >= g.n) return;  // the whole warp
  const __nv_bfloat16* const a = g.a + int64_t{row} * g.k;
  const __nv_bfloat16* const b = g.b + int64_t{column} * g.k;
  constexpr int kVector = 8;  // numbers in 16 bytes
  float sum = 0;
  for (int i = lane * kVector; i < g.k; i += 32 * kVector) {
    const uint4 a_bits = *reinterpret_cast<const uint4*>(a + i);
    const uint4 b_bits = *reinterpret_cast<const uint4*>(b + i);
    const auto* a_pairs = reinterpret_cast<const __nv_bfloat162*>(&a_bits);
    const auto* b_pairs = reinterpret_cast<const __nv_bfloat162*>(&b_bits);
#pragma unroll
    for (int j = 0; j < kVector / 2; ++j) {
      const float2 x = __bfloat1622float2(a_pairs[j]), y = __bfloat1622float2(b_pairs[j]);
      sum += x.x * y.x;
      sum += x.y * y.y;
    }
  }
  for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(~0u, sum, distance);
  if (lane == 0) g.c[int64_t{row} * g.n + column] = __float2bfloat16(sum);
}

bool Accepts(int m, int, int k) { return k % 8 == 0 && m <= 65535; }

void Launch(const GemmArgs& g, cudaStream_t stream) {
  CoalescedKernel<<<dim3((g.n + kWarps - 1) / kWarps, g.m), dim3(32, kWarps), 0, stream>>>(g);
  AIOS_CUDA_CHECK_LAUNCH();
}

}  // namespace

Level Coalesced() { return {2, "coalesced 16-byte loads", Accepts, Launch}; }

}  // namespace aios::ladder::gemm
