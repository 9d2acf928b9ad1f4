// Level 8: blocks that stay, in pairs, and a tile's store under the next tile's loads.
//
// What changed:
//   - persistent: as many blocks as SMs, each walking over tiles. The ring never drains: while the
//     consumers store a tile, the producer already fills the four stages of the next.
//   - pairs (a cluster of two SMs) take two tiles one below the other, with the same columns. Each
//     loads half of that tile of B and the copy engine writes it to both SMs: 128 x 64 of A and
//     128 x 64 of B for 128 x 256 x 64 multiply-adds, 128 a number instead of 85, a third less from
//     L2.
//   - order: the 66 pairs take tiles in groups of kGroup rows of tiles, down the group first. At
//   one
//     time they work on about 8 x 8 tiles of 256 x 256: they read 2,048 rows of A and 2,112 of B,
//     not 256 and 16,896.
//   - the result goes through shared memory (stmatrix, swizzled) and out by TMA, full 128-byte
//   lines,
//     clipped to the matrix by the engine; the registers are free as soon as they are in shared
//     memory.
//
// A trap on the way: the consumers' arrivals at the other block's barrier, written with
// `.release.cluster`, became a fence of all memory in the middle of the loop: 536 TFLOP/s at
// 8192^3, less than level 7's 627; without it 690 (cuBLASLt in the same run: 673).
//
// What limits now: power. On random data the clock falls until the SMs take no more than the
// board's 700 W. What still helps is to move fewer bytes for the same product.
//
// Learned from: pranjalssh/fast.cu, CUTLASS's persistent cooperative schedule.
#include <cuda_runtime.h>

#include <algorithm>

#include "kernels/cuda/check.h"
#include "kernels/ladder/gemm/gemm.h"

#ifdef AIOS_CUDA_SM90A
#include "kernels/cuda/hopper.cuh"

namespace aios::ladder::gemm {
namespace {

using namespace aios::kernels::cuda::hopper;

constexpr int kCluster = 2;  // blocks, one below the other
constexpr int kGroup = 8;    // cluster tiles, down the columns of C
constexpr int kTileM = 128, kTileN = 256, kTileK = 64;
constexpr int kStages = 4;
constexpr int kConsumers = 2;  // warpgroups, each with 64 rows of the tile
constexpr int kThreads = 128 * (1 + kConsumers);
constexpr int kABytes = kTileM * kTileK * 2, kBBytes = kTileN * kTileK * 2;
constexpr int kStageBytes = kABytes + kBBytes;  // 48 KB
// The way out: for each consumer two panels of 64 rows x 64 columns, one written while the other is
// read by the copy engine.
constexpr int kPanelBytes = 64 * 64 * 2;
constexpr int kPanels = 2;
constexpr int kSharedBytes = 1024 + kStages * kStageBytes + kConsumers * kPanels * kPanelBytes;

// The tiles of C (of kRows x kColumns, one a cluster) in the order in which they are taken.
template <int kRows, int kColumns, int kGroupRows>
struct TileOrder {
  int n_rows, n_columns;  // in tiles
  __host__ __device__ TileOrder(int m, int n)
      : n_rows((m + kRows - 1) / kRows), n_columns((n + kColumns - 1) / kColumns) {}
  __host__ __device__ int size() const { return n_rows * n_columns; }
  __device__ void Find(int i, int* row, int* column) const {
    const int first_row = i / (kGroupRows * n_columns) * kGroupRows;
    const int rows = min(kGroupRows, n_rows - first_row);  // the last group may be lower
    const int within = i - first_row * n_columns;
    *row = first_row + within % rows;
    *column = within / rows;
  }
};

using ClusterTiles = TileOrder<kCluster * kTileM, kTileN, kGroup>;

// Where the ring stands, counted through all steps of all tiles that this block takes.
template <int kLength>
struct RingPlace {
  int stage = 0;
  uint32_t parity = 0;  // of the round through the ring
  __device__ void Next() {
    if (++stage == kLength) stage = 0, parity ^= 1;
  }
};

__global__ __launch_bounds__(kThreads,
                             1) void PersistentKernel(const __grid_constant__ CUtensorMap a_map,
                                                      const __grid_constant__ CUtensorMap b_map,
                                                      const __grid_constant__ CUtensorMap c_map,
                                                      int m, int n, int k) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ uint8_t shared[];
  // The same offset in both blocks: a multicast writes to the same place in each.
  uint8_t* const stages = shared + (1024 - SharedAddress(shared) % 1024) % 1024;
  __shared__ uint64_t full[kStages], empty[kStages];
  if (threadIdx.x == 0) {
    for (int s = 0; s < kStages; ++s) {
      InitBarrier(&full[s], 1);
      // Of both blocks: each writes half of B into the other's stage, so both must have read it.
      InitBarrier(&empty[s], kCluster * kConsumers * 4);
    }
    FenceBarrierInit();
  }
  ClusterSync();

  const int rank = static_cast<int>(ClusterRank());
  const ClusterTiles order(m, n);
  const int cluster = blockIdx.x / kCluster, n_clusters = gridDim.x / kCluster;
  const int n_steps = (k + kTileK - 1) / kTileK;
  RingPlace<kStages> at;
  if (threadIdx.x < 128) {  // the producer's warpgroup
    DecreaseRegisters<40>();
    if (threadIdx.x == 0) {
      for (int tile = cluster; tile < order.size(); tile += n_clusters) {
        int row, column;
        order.Find(tile, &row, &column);
        constexpr int kHalf = kTileN / kCluster;  // this block's share of the tile of B
        const int first_a = (row * kCluster + rank) * kTileM;
        const int first_b = column * kTileN + rank * kHalf;
        for (int step = 0; step < n_steps; ++step, at.Next()) {
          Wait(&empty[at.stage], at.parity ^ 1);
          uint64_t* const barrier = &full[at.stage];
          uint8_t* const stage = stages + at.stage * kStageBytes;
          ArriveExpectTx(barrier, kStageBytes);  // A, my half of B and the other block's
          TmaLoad2D(stage, &a_map, barrier, step * kTileK, first_a);
          TmaLoad2DMulticast(stage + kABytes + rank * kHalf * 128, &b_map, barrier, step * kTileK,
                             first_b, (1 << kCluster) - 1);
        }
      }
    }
    __syncwarp();
  } else {
    IncreaseRegisters<232>();
    const int consumer = threadIdx.x / 128 - 1;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
    const bool stores = threadIdx.x % 128 == 0;
    uint8_t* const panels = stages + kStages * kStageBytes + consumer * kPanels * kPanelBytes;
    const auto release = [&](int stage) {
      if (lane < kCluster) ArriveRemote(&empty[stage], lane);
    };
    float sums[kTileN / 2];
    for (int tile = cluster; tile < order.size(); tile += n_clusters) {
      int previous = 0;
      for (int step = 0; step < n_steps; ++step, at.Next()) {
        Wait(&full[at.stage], at.parity);
        const uint64_t a = Descriptor(stages + at.stage * kStageBytes + consumer * 64 * 128);
        const uint64_t b = Descriptor(stages + at.stage * kStageBytes + kABytes);
        WgmmaFence();
#pragma unroll
        for (int k16 = 0; k16 < kTileK / 16; ++k16)
          WgmmaSS<kTileN>(sums, a + 2 * k16, b + 2 * k16, step > 0 || k16 > 0);
        WgmmaCommit();
        WgmmaWait<1>();  // the step before is done with its stage
        if (step > 0) release(previous);
        previous = at.stage;
      }
      WgmmaWait<0>();
      PinRegisters(sums);
      release(previous);

      int row, column;
      order.Find(tile, &row, &column);
      const int first_row = (row * kCluster + rank) * kTileM + consumer * 64;
#pragma unroll
      for (int panel = 0; panel < kTileN / 64; ++panel) {
        uint8_t* const to = panels + panel % kPanels * kPanelBytes;
        if (stores) TmaStoreWaitRead<kPanels - 1>();  // the store before last has left `to`
        NamedBarrierSync(1 + consumer, 128);
#pragma unroll
        for (int i = 0; i < 4; ++i) {  // 16 columns each, in stmatrix's order of 8 x 8 blocks
          const float* d = sums + panel * 32 + i * 8;
          const auto pack = [](float low, float high) {
            const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
            return reinterpret_cast<const uint32_t&>(pair);
          };
          const int r = 16 * warp + lane % 16, chunk = 2 * i + lane / 16;
          StoreMatrixX4(to + r * 128 + ((chunk ^ (r % 8)) << 4), pack(d[0], d[1]), pack(d[2], d[3]),
                        pack(d[4], d[5]), pack(d[6], d[7]));
        }
        FenceAsyncProxy();
        NamedBarrierSync(1 + consumer, 128);
        if (stores) {
          TmaStore2D(&c_map, to, column * kTileN + panel * 64, first_row);
          TmaStoreCommit();
        }
      }
    }
    if (stores) TmaStoreWaitRead<0>();  // shared memory must outlive its readers
    __syncwarp();
  }
  ClusterSync();  // nobody leaves while the other may still write here or arrive at a barrier
#endif
}

// The copy engine wants rows of A, B and C that begin at multiples of 16 bytes.
bool Accepts(int, int n, int k) { return k % 8 == 0 && n % 8 == 0; }

void Launch(const GemmArgs& g, cudaStream_t stream) {
  const CUtensorMap a_map = MakeMatrixMap(g.a, g.m, g.k, g.k, kTileM, kTileK, Swizzle::k128B);
  const CUtensorMap b_map =
      MakeMatrixMap(g.b, g.n, g.k, g.k, kTileN / kCluster, kTileK, Swizzle::k128B);
  const CUtensorMap c_map = MakeMatrixMap(g.c, g.m, g.n, g.n, 64, 64, Swizzle::k128B);
  AIOS_CUDA_CHECK(cudaFuncSetAttribute(PersistentKernel,
                                       cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes));
  int device = 0, n_sms = 0;
  AIOS_CUDA_CHECK(cudaGetDevice(&device));
  AIOS_CUDA_CHECK(cudaDeviceGetAttribute(&n_sms, cudaDevAttrMultiProcessorCount, device));
  const int n_clusters = std::min(ClusterTiles(g.m, g.n).size(), n_sms / kCluster);
  // In pairs: <<<>>> cannot say that.
  cudaLaunchAttribute pairs = {};
  pairs.id = cudaLaunchAttributeClusterDimension;
  pairs.val.clusterDim.x = kCluster, pairs.val.clusterDim.y = 1, pairs.val.clusterDim.z = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(n_clusters * kCluster);
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = kSharedBytes;
  config.stream = stream;
  config.attrs = &pairs;
  config.numAttrs = 1;
  AIOS_CUDA_CHECK(
      cudaLaunchKernelEx(&config, PersistentKernel, a_map, b_map, c_map, g.m, g.n, g.k));
  AIOS_CUDA_CHECK_LAUNCH();
}

}  // namespace

Level Persistent() { return {8, "persistent pairs, grouped tiles", Accepts, Launch}; }

}  // namespace aios::ladder::gemm
#endif
