// Level 4: each thread makes 8 x 8 numbers of C, held in registers.
//
// What changed: reuse once more, one step closer to the arithmetic. For one k a thread loads 8
// numbers of A and 8 of B from shared memory (four loads of 16 bytes) and makes 64 multiply-adds of
// them, where level 3 made one of two: 16 multiply-adds a load instead of half a one.
//
// The tiles lie transposed in shared memory, [k][row], so that a thread's 8 rows are contiguous,
// and as f32, so that the conversion from bf16 is done once a number and not once a use. While the
// block computes on one tile, its threads already hold the loads of the next in registers.
//
// What limits now: the f32 units, 128 multiply-adds a cycle and SM, 67 TFLOP/s in all by the
// datasheet. No arrangement of plain arithmetic does better; the tensor cores do 15 times that.
#include "kernels/cuda/check.h"
#include "kernels/ladder/gemm/gemm.h"

namespace aios::ladder::gemm {
namespace {

constexpr int kTile = 128;  // of C, both ways
constexpr int kTileK = 16;  // of k at a time
constexpr int kThreads = 256;
constexpr int kPitch = kTile + 4;  // a multiple of 4 keeps 16-byte loads aligned

// A thread's share of one operand's tile: 8 numbers along k, one 16-byte load.
__device__ uint4 LoadShare(const __nv_bfloat16* matrix, int n_rows, int k, int row, int first_k) {
  if (row >= n_rows || first_k >= k) return uint4{};  // zeros
  return *reinterpret_cast<const uint4*>(matrix + int64_t{row} * k + first_k);
}

__device__ void StoreShare(float (*tile)[kPitch], int row, int first_k, const uint4& bits) {
  const auto* pairs = reinterpret_cast<const __nv_bfloat162*>(&bits);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 pair = __bfloat1622float2(pairs[i]);
    tile[first_k + 2 * i][row] = pair.x;
    tile[first_k + 2 * i + 1][row] = pair.y;
  }
}

// Rows (or columns) 4 i to 4 i + 3 and 64 + 4 i to 64 + 4 i + 3: two 16-byte loads, in each of
// which neighbouring threads read neighbouring addresses.
__device__ void LoadFragment(const float* k_row, int i, float (&fragment)[8]) {
  const float4 low = *reinterpret_cast<const float4*>(k_row + 4 * i);
  const float4 high = *reinterpret_cast<const float4*>(k_row + kTile / 2 + 4 * i);
  fragment[0] = low.x, fragment[1] = low.y, fragment[2] = low.z, fragment[3] = low.w;
  fragment[4] = high.x, fragment[5] = high.y, fragment[6] = high.z, fragment[7] = high.w;
}

__global__ __launch_bounds__(kThreads, 2) void RegisterTilesKernel(GemmArgs g) {
  __shared__ __align__(16) float a_tile[kTileK][kPitch];
  __shared__ __align__(16) float b_tile[kTileK][kPitch];
  const int first_row = blockIdx.y * kTile, first_column = blockIdx.x * kTile;
  // For loading: row 0 to 127 of the tile, and which half of its 16 numbers.
  const int load_row = threadIdx.x / 2, load_k = threadIdx.x % 2 * 8;
  // For computing: 16 x 16 threads.
  const int ty = threadIdx.x / 16, tx = threadIdx.x % 16;

  float sums[8][8] = {};
  uint4 a_next = LoadShare(g.a, g.m, g.k, first_row + load_row, load_k);
  uint4 b_next = LoadShare(g.b, g.n, g.k, first_column + load_row, load_k);
  for (int first_k = 0; first_k < g.k; first_k += kTileK) {
    StoreShare(a_tile, load_row, load_k, a_next);
    StoreShare(b_tile, load_row, load_k, b_next);
    __syncthreads();
    a_next = LoadShare(g.a, g.m, g.k, first_row + load_row, first_k + kTileK + load_k);
    b_next = LoadShare(g.b, g.n, g.k, first_column + load_row, first_k + kTileK + load_k);
#pragma unroll
    for (int i = 0; i < kTileK; ++i) {
      float a[8], b[8];
      LoadFragment(a_tile[i], ty, a);
      LoadFragment(b_tile[i], tx, b);
#pragma unroll
      for (int y = 0; y < 8; ++y)
#pragma unroll
        for (int x = 0; x < 8; ++x) sums[y][x] += a[y] * b[x];
    }
    __syncthreads();
  }

#pragma unroll
  for (int y = 0; y < 8; ++y) {
    const int row = first_row + y / 4 * (kTile / 2) + 4 * ty + y % 4;
#pragma unroll
    for (int x = 0; x < 8; ++x) {
      const int column = first_column + x / 4 * (kTile / 2) + 4 * tx + x % 4;
      if (row < g.m && column < g.n)
        g.c[int64_t{row} * g.n + column] = __float2bfloat16(sums[y][x]);
    }
  }
}

bool Accepts(int m, int, int k) { return k % 8 == 0 && m <= 65535 * kTile; }

void Launch(const GemmArgs& g, cudaStream_t stream) {
  const dim3 grid((g.n + kTile - 1) / kTile, (g.m + kTile - 1) / kTile);
  RegisterTilesKernel<<<grid, kThreads, 0, stream>>>(g);
  AIOS_CUDA_CHECK_LAUNCH();
}

}  // namespace

Level RegisterTiles() { return {4, "register tiles", Accepts, Launch}; }

}  // namespace aios::ladder::gemm
