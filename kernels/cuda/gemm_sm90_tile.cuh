// The kernel of gemm_sm90.cu: a tile of y, or a part of its sums, by a block.
//
// The left operand of the tensor cores is W, 64, 128 or 256 of its rows in a block; the right one
// is x, 16 to 256 of its rows. So with few rows little of a multiplication is empty, and each block
// reads its rows of W once. As in the gemm ladder's levels 6 and 7, a warp starts the copies of
// tiles of 64 columns to a ring in shared memory (TMA), and each of one or two warpgroups
// multiplies its rows of W with them.
//
// With many rows the L2 becomes the limit: it gives each block its rows of x beside those of W. So
// some blocks with neighbouring rows of W form a cluster, and each loads a share of x's rows for
// all of them (multicast).
//
// A narrow W has too few tiles for all multiprocessors: its columns are cut in parts, which blocks
// of the same cluster take side by side. Each leaves its sums in its own shared memory, where the
// ring was, and adds up all parts of some rows of x, reading those of the others: the order is that
// of the parts, from the left, and the way to y is along its rows.
//
// For kSiluMul the tile has the gate's and the up's rows of W of the same outputs, one above the
// other.
#pragma once

#include <cooperative_groups.h>

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/gemm_sm90.h"
#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/pdl.cuh"
#include "kernels/cuda/silu.cuh"

namespace aios::kernels::cuda::gemm_sm90 {

constexpr int kTileK = 64;  // columns of W and x in a stage: 128 bytes, what the swizzle spans

// kM: rows of W in a block; kN: rows of x; kSharing: blocks of a cluster with the same rows of x;
// kBlocks: on a multiprocessor, so that one multiplies while another begins or ends.
template <int kM, int kN, int kSharing, int kBlocks>
struct Tile {
  static_assert(kN % (8 * kSharing) == 0, "a share is whole groups of 8 rows, the swizzle's");
  static constexpr int kConsumers = kM == 64 ? 1 : 2;       // warpgroups
  static constexpr int kBlocksOf64 = kM / 64 / kConsumers;  // rows of W, of each
  static constexpr int kThreads = kConsumers * 128 + 32;    // the last warp starts the copies
  static constexpr int kStageBytes = (kM + kN) * kTileK * 2;
  static constexpr int kStages = std::min(8, (kBlocks == 2 ? 108 : 216) * 1024 / kStageBytes);
  static constexpr int kSumStride = kM + 4;  // lanes that write at once meet all banks
  static constexpr int kSumBytes = kN * kSumStride * static_cast<int>(sizeof(float));
  static constexpr int kSharedBytes = 1024 + std::max(kStages * kStageBytes, kSumBytes);
};

// Where the ring stands.
template <int kLength>
struct RingPlace {
  int stage = 0;
  uint32_t parity = 0;  // of the round through the ring
  __device__ void Next() {
    if (++stage == kLength) stage = 0, parity ^= 1;
  }
};

// The sums of four outputs of a row, of all parts, from the left. mine: where this block has its
// own; first_rank: the block of the cluster that has the first part.
template <int kParts>
__device__ __forceinline__ float4 AddParts(float* mine, int first_rank) {
  if constexpr (kParts == 1) return *reinterpret_cast<const float4*>(mine);
  const auto cluster = cooperative_groups::this_cluster();
  float4 parts[kParts];
#pragma unroll
  for (int i = 0; i < kParts; ++i) {  // all are asked for before the first is there
    parts[i] = *reinterpret_cast<const float4*>(cluster.map_shared_rank(mine, first_rank + i));
  }
  float4 sum = parts[0];
#pragma unroll
  for (int i = 1; i < kParts; ++i) {
    sum.x += parts[i].x, sum.y += parts[i].y, sum.z += parts[i].z, sum.w += parts[i].w;
  }
  return sum;
}

__device__ __forceinline__ void StoreFour(const GemmSm90Args& args, int64_t at, float4 x) {
  if (args.y_dtype == Format::kF32) {
    *reinterpret_cast<float4*>(static_cast<float*>(args.y) + at) = x;
  } else {
    const __nv_bfloat162 pairs[2] = {__floats2bfloat162_rn(x.x, x.y),
                                     __floats2bfloat162_rn(x.z, x.w)};
    *reinterpret_cast<uint2*>(static_cast<__nv_bfloat16*>(args.y) + at) =
        *reinterpret_cast<const uint2*>(pairs);
  }
}

// What a block adds up and stores of a tile: every kParts-th row of x, from `part` on.
struct Share {
  float* sums;  // [x rows][kM + 4], of this block
  int part, first_rank;
  int first_row, n_rows;  // of x, in the tile
  int first_output;
};

// By all threads. They wait for shared memory, other multiprocessors' too, and for what is in y:
// each asks for several outputs before it stores the first.
template <int kM, int kThreads, int kParts>
__device__ __forceinline__ void StoreShare(const GemmSm90Args& args, const Share& share) {
  constexpr int kBatch = kParts <= 3 ? 4 : kParts == 4 ? 3 : 2;
  const bool silu = args.output == GemvOutput::kSiluMul;
  const bool add = args.output == GemvOutput::kAdd;
  const int fours = silu ? kM / 8 : kM / 4;  // of outputs of the tile
  const int n = (share.n_rows - share.part + kParts - 1) / kParts * fours;
  for (int first = threadIdx.x; first < n; first += kBatch * kThreads) {
    float4 x[kBatch], before[kBatch];
    int64_t at[kBatch];
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      const int i = first + j * kThreads;
      const int row = i / fours * kParts + share.part;
      const int column = i % fours * 4;
      at[j] = -1;
      if (i >= n || share.first_output + column >= args.d_out) continue;
      at[j] = (share.first_row + row) * args.d_out + share.first_output + column;
      if (add) before[j] = *reinterpret_cast<const float4*>(static_cast<float*>(args.y) + at[j]);
      float* const from = share.sums + row * (kM + 4) + column;
      x[j] = AddParts<kParts>(from, share.first_rank);
      if (silu) {
        const float4 up = AddParts<kParts>(from + kM / 2, share.first_rank);
        using T = __nv_bfloat16;
        x[j] = {SiluMulOf<T>(x[j].x, up.x), SiluMulOf<T>(x[j].y, up.y), SiluMulOf<T>(x[j].z, up.z),
                SiluMulOf<T>(x[j].w, up.w)};
      }
    }
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      if (at[j] < 0) continue;
      if (add) {
        x[j] = {before[j].x + x[j].x, before[j].y + x[j].y, before[j].z + x[j].z,
                before[j].w + x[j].w};
      }
      StoreFour(args, at[j], x[j]);
    }
  }
}

// Grid: [parts, tiles of rows of x, tiles of outputs]; a cluster is the parts of kSharing tiles of
// outputs.
template <int kM, int kN, int kSharing, int kBlocks>
__global__ void __launch_bounds__(Tile<kM, kN, kSharing, kBlocks>::kThreads, kBlocks)
    Kernel(const __grid_constant__ CUtensorMap weight_map,
           const __grid_constant__ CUtensorMap x_map, const GemmSm90Args args) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using S = Tile<kM, kN, kSharing, kBlocks>;
  constexpr int kStages = S::kStages;
  extern __shared__ uint8_t shared[];
  // The same offset in all blocks of a cluster.
  uint8_t* const stages = shared + (1024 - hopper::SharedAddress(shared) % 1024) % 1024;
  __shared__ uint64_t full[kStages], empty[kStages];
  if (threadIdx.x == 0) {
    hopper::PrefetchTensorMap(&weight_map);
    hopper::PrefetchTensorMap(&x_map);
    for (int s = 0; s < kStages; ++s) {
      hopper::InitBarrier(&full[s], 1);
      hopper::InitBarrier(&empty[s], S::kConsumers * 4 * kSharing);  // a warp each
    }
    hopper::FenceBarrierInit();
  }
  __syncthreads();
  if constexpr (kSharing > 1) hopper::ClusterArrive();
  LetNextKernelStart();

  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int part = blockIdx.x, n_parts = gridDim.x;
  const int place = blockIdx.z % kSharing;  // among those that have the same rows of x
  const int first_row = blockIdx.y * kN;
  const bool silu = args.output == GemvOutput::kSiluMul;
  const int d_out = static_cast<int>(args.d_out);
  const int first_output = blockIdx.z * (silu ? kM / 2 : kM);
  const int n_all_steps = static_cast<int>((args.d_in + kTileK - 1) / kTileK);
  const int first_step = n_all_steps * part / n_parts;
  const int n_steps = n_all_steps * (part + 1) / n_parts - first_step;

  if (warp == S::kConsumers * 4) {
    const auto load_weights = [&](int stage, int step) {
      uint8_t* const to = stages + stage * S::kStageBytes;
      const int column = (first_step + step) * kTileK;
      hopper::ArriveExpectTx(&full[stage], S::kStageBytes);
      hopper::TmaLoad2D(to, &weight_map, &full[stage], column, first_output);
      hopper::TmaLoad2D(to + kM / 2 * 128, &weight_map, &full[stage], column,
                        first_output + (silu ? d_out : kM / 2));
    };
    uint16_t sharers = 0;
    for (int i = 0; i < kSharing; ++i) sharers |= 1 << (part + n_parts * i);
    const auto load_x = [&](int stage, int step) {
      constexpr int kRows = kN / kSharing;
      uint8_t* const to = stages + stage * S::kStageBytes + (kM + place * kRows) * 128;
      const int column = (first_step + step) * kTileK;
      const int row = first_row + place * kRows;
      if constexpr (kSharing == 1) {
        hopper::TmaLoad2D(to, &x_map, &full[stage], column, row);
      } else {
        hopper::TmaLoad2DMulticast(to, &x_map, &full[stage], column, row, sharers);
      }
    };
    const int n_ahead = min(kStages, n_steps);
    if (lane == 0) {
      for (int step = 0; step < n_ahead; ++step) load_weights(step, step);
    }
    __syncwarp();
    if constexpr (kSharing > 1) hopper::ClusterWait();  // the others' barriers are there
    if (lane == 0) {
      WaitForPreviousKernel();
      for (int step = 0; step < n_ahead; ++step) load_x(step, step);
      RingPlace<kStages> at;
      for (int step = kStages; step < n_steps; ++step, at.Next()) {
        hopper::Wait(&empty[at.stage], at.parity);
        load_weights(at.stage, step);
        load_x(at.stage, step);
      }
    }
    __syncwarp();
  } else {
    if constexpr (kSharing > 1) hopper::ClusterWait();
    const int consumer = warp / 4;
    float sums[S::kBlocksOf64][kN / 2];
    // When a stage has been read, all that load x for this block may write there again.
    const auto give_back = [&](int stage) {
      if constexpr (kSharing == 1) {
        if (lane == 0) hopper::Arrive(&empty[stage]);
      } else {
        if (lane < kSharing) hopper::ArriveRemote(&empty[stage], part + n_parts * lane);
      }
    };
    RingPlace<kStages> at;
    int previous = 0;
    for (int step = 0; step < n_steps; ++step, at.Next()) {
      hopper::Wait(&full[at.stage], at.parity);
      const uint8_t* const stage = stages + at.stage * S::kStageBytes;
      const uint64_t a = hopper::Descriptor(stage + consumer * S::kBlocksOf64 * 64 * 128);
      const uint64_t b = hopper::Descriptor(stage + kM * 128);
      hopper::WgmmaFence();
#pragma unroll
      for (int k16 = 0; k16 < kTileK / 16; ++k16) {
#pragma unroll
        for (int m = 0; m < S::kBlocksOf64; ++m) {
          hopper::WgmmaSS<kN>(sums[m], a + m * (64 * 128 / 16) + 2 * k16, b + 2 * k16,
                              step > 0 || k16 > 0);
        }
      }
      hopper::WgmmaCommit();
      hopper::WgmmaWait<1>();  // The step before is done with its stage.
      if (step > 0) give_back(previous);
      previous = at.stage;
    }
    hopper::WgmmaWait<0>();
#pragma unroll
    for (int m = 0; m < S::kBlocksOf64; ++m) hopper::PinRegisters(sums[m]);

    hopper::NamedBarrierSync(1, S::kConsumers * 128);  // All have read the ring.
#pragma unroll
    for (int m = 0; m < S::kBlocksOf64; ++m) {
      float* to = reinterpret_cast<float*>(stages) + lane % 4 * 2 * S::kSumStride +
                  (consumer * S::kBlocksOf64 + m) * 64 + warp % 4 * 16 + lane / 4;
#pragma unroll
      for (int j = 0; j < kN / 8; ++j, to += 8 * S::kSumStride) {
        to[0] = sums[m][4 * j];
        to[S::kSumStride] = sums[m][4 * j + 1];
        to[8] = sums[m][4 * j + 2];
        to[S::kSumStride + 8] = sums[m][4 * j + 3];
      }
    }
  }

  if (n_parts == 1) {
    __syncthreads();
  } else {
    hopper::ClusterSync();
  }
  WaitForPreviousKernel();  // of all threads, which now write
  const Share share = {.sums = reinterpret_cast<float*>(stages),
                       .part = part,
                       .first_rank = n_parts * place,
                       .first_row = first_row,
                       .n_rows = static_cast<int>(min(args.n_rows - first_row, int64_t{kN})),
                       .first_output = first_output};
  switch (n_parts) {
    case 1:
      StoreShare<kM, S::kThreads, 1>(args, share);
      break;
    case 2:
      StoreShare<kM, S::kThreads, 2>(args, share);
      break;
    case 3:
      StoreShare<kM, S::kThreads, 3>(args, share);
      break;
    case 4:
      StoreShare<kM, S::kThreads, 4>(args, share);
      break;
    default:
      StoreShare<kM, S::kThreads, 8>(args, share);
  }
  // Nobody leaves while another may still read here, or give a stage back.
  if (kSharing > 1 || n_parts > 1) hopper::ClusterSync();
#endif
}

}  // namespace aios::kernels::cuda::gemm_sm90
