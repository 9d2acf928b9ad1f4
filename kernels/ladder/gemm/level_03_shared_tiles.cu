// Level 3: a block loads a tile of A and a tile of B into shared memory, and all its threads use
// them.
//
// What changed: reuse. A block makes 32 x 32 numbers of C; each number that it loads is used 32
// times from shared memory. Traffic beyond the SM falls by 32: m n k x 4 / 32 = 8.6 GB for 4096^3,
// no longer what limits.
//
// What limits now: shared memory itself. A multiply-add still needs two loads from it. Of A the
// warp reads one number (a broadcast), of B 32 different ones: two warp loads for 32 multiply-adds,
// one load a cycle, so that the f32 units (128 a cycle) run at an eighth at best: 67 / 8 = 8
// TFLOP/s.
#include "kernels/cuda/check.h"
#include "kernels/ladder/gemm/gemm.h"

namespace aios::ladder::gemm {
namespace {

constexpr int kTile = 32;

__global__ __launch_bounds__(kTile* kTile) void SharedTilesKernel(GemmArgs g) {
  // One more column than used: lanes that walk down a column then meet 32 different banks.
  __shared__ float a_tile[kTile][kTile + 1];  // [row of C][k]
  __shared__ float b_tile[kTile][kTile + 1];  // [column of C][k]
  const int x = threadIdx.x, y = threadIdx.y;
  const int first_row = blockIdx.y * kTile, first_column = blockIdx.x * kTile;
  float sum = 0;
  for (int first_k = 0; first_k < g.k; first_k += kTile) {
    // x runs along k: a warp reads 64 contiguous bytes. Outside of the matrices there are zeros.
    const int k = first_k + x;
    const int a_row = first_row + y, b_row = first_column + y;
    a_tile[y][x] = a_row < g.m && k < g.k ? __bfloat162float(g.a[int64_t{a_row} * g.k + k]) : 0.0f;
    b_tile[y][x] = b_row < g.n && k < g.k ? __bfloat162float(g.b[int64_t{b_row} * g.k + k]) : 0.0f;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kTile; ++i) sum += a_tile[y][i] * b_tile[x][i];
    __syncthreads();  // all are done with the tiles before they are overwritten
  }
  const int row = first_row + y, column = first_column + x;
  if (row < g.m && column < g.n) g.c[int64_t{row} * g.n + column] = __float2bfloat16(sum);
}

bool Accepts(int m, int, int) { return m <= 65535 * kTile; }

void Launch(const GemmArgs& g, cudaStream_t stream) {
  const dim3 grid((g.n + kTile - 1) / kTile, (g.m + kTile - 1) / kTile);
  SharedTilesKernel<<<grid, dim3(kTile, kTile), 0, stream>>>(g);
  AIOS_CUDA_CHECK_LAUNCH();
}

}  // namespace

Level SharedTiles() { return {3, "shared-memory tiles", Accepts, Launch}; }

}  // namespace aios::ladder::gemm
