// Level 1: one thread for each number of C, as the formula says.
//
// Neighbouring threads take neighbouring rows. So the 32 loads of A of one warp instruction lie k
// numbers apart: 32 memory sectors of 32 bytes for 64 bytes of use, one after the other through the
// load unit. Per multiply-add that is two loads of 2 bytes, and the load unit, not the arithmetic,
// sets the pace: at 33 cycles for the two warp loads, 132 SMs x 32 lanes x 1.8 GHz / 33 = 0.23 T
// multiply-adds a second, 0.5 TFLOP/s of the 67 that the f32 units could do.
#include "kernels/cuda/check.h"
#include "kernels/ladder/gemm/gemm.h"

namespace aios::ladder::gemm {
namespace {

constexpr int kTile = 32;

__global__ void NaiveKernel(GemmArgs g) {
  const int row = blockIdx.x * kTile + threadIdx.x;
  const int column = blockIdx.y * kTile + threadIdx.y;
  if (row >= g.m || column >= g.n) return;
  float sum = 0;
  for (int i = 0; i < g.k; ++i)
    sum += __bfloat162float(g.a[int64_t{row} * g.k + i]) *
           __bfloat162float(g.b[int64_t{column} * g.k + i]);
  g.c[int64_t{row} * g.n + column] = __float2bfloat16(sum);
}

bool Accepts(int, int n, int) { return n <= 65535 * kTile; }  // the grid's second dimension

void Launch(const GemmArgs& g, cudaStream_t stream) {
  const dim3 grid((g.m + kTile - 1) / kTile, (g.n + kTile - 1) / kTile);
  NaiveKernel<<<grid, dim3(kTile, kTile), 0, stream>>>(g);
  AIOS_CUDA_CHECK_LAUNCH();
}

}  // namespace

Level Naive() { return {1, "naive", Accepts, Launch}; }

}  // namespace aios::ladder::gemm
