// Level 7: warps with different jobs. One thread only copies; two warpgroups only multiply.
//
// What changed:
//   - a ring of four stages between them. The producer runs up to four tiles ahead, so that a copy
//   has
//     the time of three products (about 1.5 us) to arrive, more than the latency of device memory.
//     Two barriers a stage: `full` (its bytes have come) and `empty` (both consumers have read it).
//   - a tile of 128 x 256: each warpgroup makes 64 x 256, the largest wgmma. For 64 of k the block
//     loads (128 + 256) x 64 numbers for 128 x 256 x 64 multiply-adds, 85 a number, where level 6
//     had 64; and one product stays in flight while the next is started.
//   - setmaxnreg: 64 x 256 sums are 128 registers a thread. The producer's warpgroup gives back
//   what it
//     does not need: 128 x 40 + 256 x 232 = 64,512 of the SM's 65,536.
//
// What limits now: what surrounds the loop. A block fills its ring with nobody multiplying, and at
// its end stores its tile with nobody copying; only one block fits an SM, so nothing covers for it.
#include <cuda_runtime.h>

#include "kernels/cuda/check.h"
#include "kernels/ladder/gemm/gemm.h"
#include "kernels/ladder/gemm/store.cuh"

#ifdef AIOS_CUDA_SM90A
#include "kernels/cuda/hopper.cuh"

namespace aios::ladder::gemm {
namespace {

using namespace aios::kernels::cuda::hopper;

constexpr int kTileM = 128, kTileN = 256, kTileK = 64;
constexpr int kStages = 4;
constexpr int kConsumers = 2;  // warpgroups, each with 64 rows of the tile
constexpr int kThreads = 128 * (1 + kConsumers);
constexpr int kABytes = kTileM * kTileK * 2, kBBytes = kTileN * kTileK * 2;
constexpr int kStageBytes = kABytes + kBBytes;              // 48 KB
constexpr int kSharedBytes = 1024 + kStages * kStageBytes;  // 1,024 to align the tiles

__global__ __launch_bounds__(kThreads, 1) void ProducerConsumerKernel(
    const __grid_constant__ CUtensorMap a_map, const __grid_constant__ CUtensorMap b_map,
    __nv_bfloat16* c, int m, int n, int k) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ uint8_t shared[];
  uint8_t* const stages = shared + (1024 - SharedAddress(shared) % 1024) % 1024;
  __shared__ uint64_t full[kStages], empty[kStages];
  if (threadIdx.x == 0) {
    for (int s = 0; s < kStages; ++s) {
      InitBarrier(&full[s], 1);                // the producer, with the bytes
      InitBarrier(&empty[s], 4 * kConsumers);  // one lane of each consuming warp
    }
    FenceBarrierInit();
  }
  __syncthreads();

  const int first_row = blockIdx.x * kTileM, first_column = blockIdx.y * kTileN;
  const int n_steps = (k + kTileK - 1) / kTileK;
  if (threadIdx.x < 128) {  // the producer's warpgroup
    DecreaseRegisters<40>();
    if (threadIdx.x == 0) {
      for (int step = 0; step < n_steps; ++step) {
        const int s = step % kStages, round = step / kStages;
        Wait(&empty[s], round % 2 ^ 1);  // of round 0: returns at once
        ArriveExpectTx(&full[s], kStageBytes);
        uint8_t* const stage = stages + s * kStageBytes;
        TmaLoad2D(stage, &a_map, &full[s], step * kTileK, first_row);
        TmaLoad2D(stage + kABytes, &b_map, &full[s], step * kTileK, first_column);
      }
    }
  } else {
    IncreaseRegisters<232>();
    const int consumer = threadIdx.x / 128 - 1;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
    float sums[kTileN / 2];
    for (int step = 0; step < n_steps; ++step) {
      const int s = step % kStages;
      Wait(&full[s], step / kStages % 2);
      const uint64_t a = Descriptor(stages + s * kStageBytes + consumer * 64 * 128);
      const uint64_t b = Descriptor(stages + s * kStageBytes + kABytes);
      WgmmaFence();
#pragma unroll
      for (int k16 = 0; k16 < kTileK / 16; ++k16)  // 32 bytes further: 2 of the descriptor's units
        WgmmaSS<kTileN>(sums, a + 2 * k16, b + 2 * k16, step > 0 || k16 > 0);
      WgmmaCommit();
      WgmmaWait<1>();  // the products of the step before are done: its stage may be filled again
      if (step > 0 && lane == 0) Arrive(&empty[(step - 1) % kStages]);
    }
    WgmmaWait<0>();
    PinRegisters(sums);
#pragma unroll
    for (int j = 0; j < kTileN / 8; ++j) {
      const int row = first_row + 64 * consumer + 16 * warp + lane / 4;
      const int column = first_column + 8 * j + lane % 4 * 2;
      StorePair(c, m, n, row, column, sums[4 * j], sums[4 * j + 1]);
      StorePair(c, m, n, row + 8, column, sums[4 * j + 2], sums[4 * j + 3]);
    }
  }
#endif
}

bool Accepts(int, int n, int k) { return k % 8 == 0 && n <= 65535 * kTileN; }

void Launch(const GemmArgs& g, cudaStream_t stream) {
  const CUtensorMap a_map = MakeMatrixMap(g.a, g.m, g.k, g.k, kTileM, kTileK, Swizzle::k128B);
  const CUtensorMap b_map = MakeMatrixMap(g.b, g.n, g.k, g.k, kTileN, kTileK, Swizzle::k128B);
  AIOS_CUDA_CHECK(cudaFuncSetAttribute(ProducerConsumerKernel,
                                       cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes));
  const dim3 grid((g.m + kTileM - 1) / kTileM, (g.n + kTileN - 1) / kTileN);
  ProducerConsumerKernel<<<grid, kThreads, kSharedBytes, stream>>>(a_map, b_map, g.c, g.m, g.n,
                                                                   g.k);
  AIOS_CUDA_CHECK_LAUNCH();
}

}  // namespace

Level ProducerConsumer() { return {7, "producer and consumers", Accepts, Launch}; }

}  // namespace aios::ladder::gemm
#endif
