// Level 6: Hopper's own tensor-core instruction and copy engine: wgmma and TMA.
//
// What changed:
//   - wgmma: four warps together multiply 64 x 16 by 16 x 128, 131,072 multiply-adds an
//   instruction,
//     64 times mma.sync's. Both operands come straight from shared memory: no ldmatrix, no operand
//     registers, and the warps do nothing while it runs.
//   - TMA: one thread asks for a whole tile with one instruction; the engine computes the
//   addresses,
//     fills in zeros outside of the matrix and writes the 128-byte swizzle that wgmma reads. Level
//     5 spent 16 copy instructions and their address arithmetic in each of 128 threads on that.
//
// What limits now: this block waits for its tile, multiplies, and only then asks for the next.
// Three such blocks share an SM and fill some of each other's waits, by chance rather than by
// design.
#include <cuda_runtime.h>

#include "kernels/cuda/check.h"
#include "kernels/ladder/gemm/gemm.h"
#include "kernels/ladder/gemm/store.cuh"

#ifdef AIOS_CUDA_SM90A
#include "kernels/cuda/hopper.cuh"

namespace aios::ladder::gemm {
namespace {

using namespace aios::kernels::cuda::hopper;

constexpr int kTileM = 128, kTileN = 128;
constexpr int kTileK = 64;  // 128 bytes: one row of the swizzle
constexpr int kThreads = 128;
constexpr int kABytes = kTileM * kTileK * 2, kBBytes = kTileN * kTileK * 2;
constexpr int kSharedBytes = 1024 + kABytes + kBBytes;  // 1,024 to align the tiles

__global__ __launch_bounds__(kThreads,
                             3) void WgmmaTmaKernel(const __grid_constant__ CUtensorMap a_map,
                                                    const __grid_constant__ CUtensorMap b_map,
                                                    __nv_bfloat16* c, int m, int n, int k) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ uint8_t shared[];
  uint8_t* const a_tile = shared + (1024 - SharedAddress(shared) % 1024) % 1024;
  uint8_t* const b_tile = a_tile + kABytes;
  __shared__ uint64_t full;
  const int first_row = blockIdx.x * kTileM, first_column = blockIdx.y * kTileN;
  if (threadIdx.x == 0) {
    InitBarrier(&full, 1);
    FenceBarrierInit();
  }
  __syncthreads();

  float sums[kTileM / 64][kTileN / 2];
  const int n_steps = (k + kTileK - 1) / kTileK;
  for (int step = 0; step < n_steps; ++step) {
    if (threadIdx.x == 0) {
      ArriveExpectTx(&full, kABytes + kBBytes);
      TmaLoad2D(a_tile, &a_map, &full, step * kTileK, first_row);
      TmaLoad2D(b_tile, &b_map, &full, step * kTileK, first_column);
    }
    Wait(&full, step % 2);
    WgmmaFence();
#pragma unroll
    for (int k16 = 0; k16 < kTileK / 16; ++k16)
#pragma unroll
      for (int i = 0; i < kTileM / 64; ++i)
        WgmmaSS<kTileN>(sums[i], Descriptor(a_tile + i * 64 * 128 + k16 * 32),
                        Descriptor(b_tile + k16 * 32), step > 0 || k16 > 0);
    WgmmaCommit();
    WgmmaWait<0>();
    __syncthreads();  // all four warps are done with the tiles
  }

  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int i = 0; i < kTileM / 64; ++i)
#pragma unroll
    for (int j = 0; j < kTileN / 8; ++j) {
      const int row = first_row + 64 * i + 16 * warp + lane / 4;
      const int column = first_column + 8 * j + lane % 4 * 2;
      StorePair(c, m, n, row, column, sums[i][4 * j], sums[i][4 * j + 1]);
      StorePair(c, m, n, row + 8, column, sums[i][4 * j + 2], sums[i][4 * j + 3]);
    }
#endif
}

bool Accepts(int, int n, int k) { return k % 8 == 0 && n <= 65535 * kTileN; }

void Launch(const GemmArgs& g, cudaStream_t stream) {
  const CUtensorMap a_map = MakeMatrixMap(g.a, g.m, g.k, g.k, kTileM, kTileK, Swizzle::k128B);
  const CUtensorMap b_map = MakeMatrixMap(g.b, g.n, g.k, g.k, kTileN, kTileK, Swizzle::k128B);
  AIOS_CUDA_CHECK(cudaFuncSetAttribute(WgmmaTmaKernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                       kSharedBytes));
  const dim3 grid((g.m + kTileM - 1) / kTileM, (g.n + kTileN - 1) / kTileN);
  WgmmaTmaKernel<<<grid, kThreads, kSharedBytes, stream>>>(a_map, b_map, g.c, g.m, g.n, g.k);
  AIOS_CUDA_CHECK_LAUNCH();
}

}  // namespace

Level WgmmaTma() { return {6, "wgmma and TMA", Accepts, Launch}; }

}  // namespace aios::ladder::gemm
#endif
