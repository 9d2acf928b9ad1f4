// Level 5: the tensor cores, as Ampere (2020) has them: mma.sync, ldmatrix, cp.async.
//
// What changed: a warp instruction (mma.sync m16n8k16) makes 16 x 8 x 16 = 2,048 multiply-adds, 64
// a lane, where a fused multiply-add made one. To feed it:
//   - ldmatrix loads four 8 x 8 blocks at once from shared memory, already in the layout of the
//     operands' registers. A warp makes 64 x 64 of C: for 16 of k it loads 8 times x4 and
//     multiplies 32 times.
//   - cp.async copies from global to shared memory without passing through registers, three stages
//     deep: two tiles are on their way while one is multiplied.
//   - the swizzle: the 16-byte chunk c of row r lies at place c ^ (r % 8) of its row. ldmatrix
//   reads
//     one chunk of 8 consecutive rows, 128 bytes apart, which would be the same four banks 8 times;
//     swizzled they are all 32 banks once.
//
// What limits now: on Hopper mma.sync reaches about half of what cuBLASLt does. The tensor cores
// are built for operands that come straight from shared memory; passing all of them through
// registers takes the issue slots and the register ports of the same warps that must start the
// products.
#include <cuda_runtime.h>

#include "kernels/cuda/check.h"
#include "kernels/ladder/gemm/gemm.h"
#include "kernels/ladder/gemm/store.cuh"

namespace aios::ladder::gemm {
namespace {

constexpr int kTile = 128;  // of C, both ways
constexpr int kTileK = 64;  // 128 bytes: eight 16-byte chunks a row
constexpr int kStages = 3;
constexpr int kWarpTile = 64;  // of C, both ways: 2 x 2 warps
constexpr int kThreads = 128;
constexpr int kOperandBytes = kTile * kTileK * 2;
constexpr int kSharedBytes = kStages * 2 * kOperandBytes;  // 96 KB: two blocks an SM

__device__ uint32_t SharedAddress(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// Where chunk `chunk` (of 8 numbers along k) of a row of a tile lies.
__device__ int Swizzled(int row, int chunk) { return row * 128 + ((chunk ^ (row % 8)) << 4); }

// Starts copying the tile of `matrix` [n_rows, k] at (first_row, first_k); zeros beyond its ends.
__device__ void StartTile(uint32_t tile, const __nv_bfloat16* matrix, int n_rows, int k,
                          int first_row, int first_k) {
  constexpr int kChunks = kTileK / 8;
#pragma unroll
  for (int i = 0; i < kTile * kChunks / kThreads; ++i) {
    const int row = (i * kThreads + threadIdx.x) / kChunks, chunk = threadIdx.x % kChunks;
    const bool inside = first_row + row < n_rows && first_k + chunk * 8 < k;
    const __nv_bfloat16* from =
        inside ? matrix + int64_t{first_row + row} * k + first_k + chunk * 8 : matrix;
    // The last operand: how many of the 16 bytes are read; the others become zeros.
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(tile + Swizzled(row, chunk)),
                 "l"(from), "r"(inside ? 16 : 0)
                 : "memory");
  }
}

__device__ void LoadMatrixX4(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

__device__ void MultiplyAdd(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__global__ __launch_bounds__(kThreads, 2) void MmaKernel(GemmArgs g) {
  extern __shared__ __align__(128) uint8_t shared[];
  const uint32_t stages = SharedAddress(shared);  // of each: the tile of A, then that of B
  const int first_row = blockIdx.x * kTile, first_column = blockIdx.y * kTile;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int warp_row = warp / 2 * kWarpTile, warp_column = warp % 2 * kWarpTile;

  const int n_steps = (g.k + kTileK - 1) / kTileK;
  const auto start = [&](int step) {
    if (step < n_steps) {
      const uint32_t stage = stages + step % kStages * 2 * kOperandBytes;
      StartTile(stage, g.a, g.m, g.k, first_row, step * kTileK);
      StartTile(stage + kOperandBytes, g.b, g.n, g.k, first_column, step * kTileK);
    }
    asm volatile("cp.async.commit_group;" ::: "memory");  // empty at the end: the count stays right
  };
  for (int step = 0; step < kStages - 1; ++step) start(step);

  float sums[4][8][4] = {};  // 4 times 16 rows, 8 times 8 columns
  for (int step = 0; step < n_steps; ++step) {
    asm volatile("cp.async.wait_group %0;" ::"n"(kStages - 2) : "memory");  // mine of this step
    __syncthreads();            // everyone's of this step; and all are done with the step before,
    start(step + kStages - 1);  // whose stage this overwrites
    const uint32_t a_tile = stages + step % kStages * 2 * kOperandBytes;
    const uint32_t b_tile = a_tile + kOperandBytes;
#pragma unroll
    for (int k16 = 0; k16 < kTileK / 16; ++k16) {
      uint32_t a[4][4], b[4][4];
      // Lanes 0 to 15 give the rows of the lower 8 of k, lanes 16 to 31 those of the upper 8.
#pragma unroll
      for (int i = 0; i < 4; ++i)
        LoadMatrixX4(a[i], a_tile + Swizzled(warp_row + 16 * i + lane % 16, 2 * k16 + lane / 16));
        // Of B: {8 columns, lower k}, {same columns, upper k}, {next 8 columns, lower}, {next,
        // upper}.
#pragma unroll
      for (int j = 0; j < 4; ++j)
        LoadMatrixX4(b[j], b_tile + Swizzled(warp_column + 16 * j + lane / 16 * 8 + lane % 8,
                                             2 * k16 + lane / 8 % 2));
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 8; ++j)
          MultiplyAdd(sums[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
    }
  }

  // A lane holds columns 2 (lane % 4) and the next, of rows lane / 4 and lane / 4 + 8.
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      const int row = first_row + warp_row + 16 * i + lane / 4;
      const int column = first_column + warp_column + 8 * j + lane % 4 * 2;
      StorePair(g.c, g.m, g.n, row, column, sums[i][j][0], sums[i][j][1]);
      StorePair(g.c, g.m, g.n, row + 8, column, sums[i][j][2], sums[i][j][3]);
    }
}

bool Accepts(int, int n, int k) { return k % 8 == 0 && n <= 65535 * kTile; }

void Launch(const GemmArgs& g, cudaStream_t stream) {
  AIOS_CUDA_CHECK(
      cudaFuncSetAttribute(MmaKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes));
  const dim3 grid((g.m + kTile - 1) / kTile, (g.n + kTile - 1) / kTile);
  MmaKernel<<<grid, kThreads, kSharedBytes, stream>>>(g);
  AIOS_CUDA_CHECK_LAUNCH();
}

}  // namespace

Level Mma() { return {5, "mma.sync, ldmatrix, cp.async", Accepts, Launch}; }

}  // namespace aios::ladder::gemm
