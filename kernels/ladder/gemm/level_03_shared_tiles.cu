// Level 3: a block loads a tile of A and a tile of B into shared memory, and all its threads use
// them.
//
// What changed: reuse. A block makes 32 x 32 numbers of C; each number that it loads is used 32
// times from shared memory. Traffic beyond the SM falls by 32: m n k x 4 / 32 = 8.6 GB for 4096^3,
// no longer what limits. A warp makes 32 neighbours of one row of C: it reads A as a broadcast, and
// of B 32 different rows, 8 numbers of k (16 bytes) at a time.
//
// What limits now: shared memory gives 128 bytes a cycle. For 8 of k the warp takes 16 bytes of A
// (one cycle) and 512 of B (four cycles) to do 8 x 32 multiply-adds, and needs 16 instructions more
// to make f32 of the bf16: 5 cycles of loads beside 6 of arithmetic (24 warp instructions, four a
// cycle) where the multiply-adds alone take 2. A third of 67 TFLOP/s at best, if nothing else ever
// waits.
//
// Measured on an H200: 8.8 TFLOP/s, no more than level 2: two barriers for each tile, nothing
// loaded while a tile is computed on, and each multiply-add still pays its share of two loads. The
// tile is worth its price only with level 4's reuse in registers.
#include "kernels/cuda/check.h"
#include "kernels/ladder/gemm/gemm.h"

namespace aios::ladder::gemm {
namespace {

constexpr int kTile = 32;   // of C, both ways
constexpr int kTileK = 64;  // of k at a time
constexpr int kVector = 8;  // numbers in 16 bytes
// 16 bytes more than used: the rows that 8 neighbouring lanes read then begin in different banks
// (8 lanes x 16 bytes are all 32 banks; without the gap, all 8 rows would begin in bank 0).
constexpr int kPitch = kTileK + kVector;

// The tile of `matrix` [n_rows, k] at (first_row, first_k); zeros beyond its ends.
__device__ void LoadTile(__nv_bfloat16 (*tile)[kPitch], const __nv_bfloat16* matrix, int n_rows,
                         int k, int first_row, int first_k) {
  const int row = first_row + threadIdx.y;
#pragma unroll
  for (int i = threadIdx.x; i < kTileK; i += kTile) {  // x along k: a warp reads contiguous bytes
    const bool inside = row < n_rows && first_k + i < k;
    tile[threadIdx.y][i] = inside ? matrix[int64_t{row} * k + first_k + i] : __float2bfloat16(0.0f);
  }
}

__global__ __launch_bounds__(kTile* kTile) void SharedTilesKernel(GemmArgs g) {
  __shared__ __align__(16) __nv_bfloat16 a_tile[kTile][kPitch];  // [row of C][k]
  __shared__ __align__(16) __nv_bfloat16 b_tile[kTile][kPitch];  // [column of C][k]
  const int first_row = blockIdx.y * kTile, first_column = blockIdx.x * kTile;
  float sum = 0;
  for (int first_k = 0; first_k < g.k; first_k += kTileK) {
    LoadTile(a_tile, g.a, g.m, g.k, first_row, first_k);
    LoadTile(b_tile, g.b, g.n, g.k, first_column, first_k);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kTileK; i += kVector) {
      const uint4 a_bits = *reinterpret_cast<const uint4*>(&a_tile[threadIdx.y][i]);
      const uint4 b_bits = *reinterpret_cast<const uint4*>(&b_tile[threadIdx.x][i]);
      const auto* a_pairs = reinterpret_cast<const __nv_bfloat162*>(&a_bits);
      const auto* b_pairs = reinterpret_cast<const __nv_bfloat162*>(&b_bits);
#pragma unroll
      for (int j = 0; j < kVector / 2; ++j) {
        const float2 x = __bfloat1622float2(a_pairs[j]), y = __bfloat1622float2(b_pairs[j]);
        sum += x.x * y.x;
        sum += x.y * y.y;
      }
    }
    __syncthreads();  // all are done with the tiles before they are overwritten
  }
  const int row = first_row + threadIdx.y, column = first_column + threadIdx.x;
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
