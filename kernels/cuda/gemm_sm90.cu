// The left operand of the tensor cores is W, 128 of its rows (or 64) in a block; the right one is
// x, 16 to 256 of its rows. So with few rows little of a multiplication is empty, and each block
// reads its rows of W once. As in the gemm ladder's levels 6 and 7, a warp starts the copies of
// tiles of 64 columns to a ring in shared memory (TMA), and each of two warpgroups multiplies half
// of them.
//
// A narrow W has too few tiles for all multiprocessors: its columns are cut in parts, which blocks
// of a cluster take side by side. Each leaves its sums in its own shared memory, where the ring
// was, and adds up all parts of some rows of x, reading those of the others: the order is that of
// the parts, from the left, and the way to y is along its rows.
//
// For kSiluMul the tile has the gate's and the up's rows of W of the same outputs, one above the
// other.
#include <algorithm>
#include <stdexcept>

#include "kernels/cuda/check.h"
#include "kernels/cuda/gemm_sm90.h"
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/pdl.cuh"

#ifdef AIOS_CUDA_SM90A
#include <cooperative_groups.h>

#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/silu.cuh"
#endif

namespace aios::kernels::cuda {

#ifdef AIOS_CUDA_SM90A
namespace {

using hopper::Arrive;
using hopper::ArriveExpectTx;
using hopper::ClusterSync;
using hopper::Descriptor;
using hopper::InitBarrier;
using hopper::TmaLoad2D;
using hopper::Wait;

constexpr int kTileK = 64;  // columns of W and x in a stage: 128 bytes, what the swizzle spans
constexpr int kMaxParts = 8;

// kM: rows of W in a block, 64 for each warpgroup; kN: rows of x.
template <int kM, int kN>
struct Shape {
  static constexpr int kConsumers = kM / 64;
  static constexpr int kThreads = kConsumers * 128 + 32;  // the last warp starts the copies
  static constexpr int kStageBytes = (kM + kN) * kTileK * 2;
  // On a multiprocessor, so that one multiplies while another begins or ends; as registers allow.
  static constexpr int kBlocks = kN <= 128 ? 2 : 1;
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
// own.
__device__ __forceinline__ float4 AddParts(float* mine, int n_parts) {
  const auto cluster = cooperative_groups::this_cluster();
  float4 parts[kMaxParts];
#pragma unroll
  for (int i = 0; i < kMaxParts; ++i) {  // all are asked for before the first is there
    if (i < n_parts) {
      const float* from = n_parts == 1 ? mine : cluster.map_shared_rank(mine, i);
      parts[i] = *reinterpret_cast<const float4*>(from);
    }
  }
  float4 sum = parts[0];
#pragma unroll
  for (int i = 1; i < kMaxParts; ++i) {
    if (i < n_parts) {
      sum.x += parts[i].x, sum.y += parts[i].y, sum.z += parts[i].z, sum.w += parts[i].w;
    }
  }
  return sum;
}

__device__ __forceinline__ void StoreFour(const GemmSm90Args& args, int64_t at, float4 x) {
  if (args.output == GemvOutput::kAdd) {
    float4* const y = reinterpret_cast<float4*>(static_cast<float*>(args.y) + at);
    const float4 before = *y;
    *y = {before.x + x.x, before.y + x.y, before.z + x.z, before.w + x.w};
  } else if (args.y_dtype == Format::kF32) {
    *reinterpret_cast<float4*>(static_cast<float*>(args.y) + at) = x;
  } else {
    const __nv_bfloat162 pairs[2] = {__floats2bfloat162_rn(x.x, x.y),
                                     __floats2bfloat162_rn(x.z, x.w)};
    *reinterpret_cast<uint2*>(static_cast<__nv_bfloat16*>(args.y) + at) =
        *reinterpret_cast<const uint2*>(pairs);
  }
}

// Grid: [parts, tiles of rows of x, tiles of outputs]; a cluster is the parts of a tile.
template <int kM, int kN>
__global__ void __launch_bounds__(Shape<kM, kN>::kThreads, Shape<kM, kN>::kBlocks)
    GemmSm90Kernel(const __grid_constant__ CUtensorMap weight_map,
                   const __grid_constant__ CUtensorMap x_map, const GemmSm90Args args) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using S = Shape<kM, kN>;
  constexpr int kStages = S::kStages;
  extern __shared__ uint8_t shared[];
  // The same offset in all blocks of a cluster.
  uint8_t* const stages = shared + (1024 - hopper::SharedAddress(shared) % 1024) % 1024;
  __shared__ uint64_t full[kStages], empty[kStages];
  if (threadIdx.x == 0) {
    hopper::PrefetchTensorMap(&weight_map);
    hopper::PrefetchTensorMap(&x_map);
    for (int s = 0; s < kStages; ++s) {
      InitBarrier(&full[s], 1);
      InitBarrier(&empty[s], S::kConsumers * 4);  // a warp each
    }
    hopper::FenceBarrierInit();
  }
  __syncthreads();
  LetNextKernelStart();

  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int part = blockIdx.x, n_parts = gridDim.x;
  const int first_row = blockIdx.y * kN;
  const bool silu = args.output == GemvOutput::kSiluMul;
  const int d_out = static_cast<int>(args.d_out);
  const int first_output = blockIdx.z * (silu ? kM / 2 : kM);
  const int n_all_steps = static_cast<int>((args.d_in + kTileK - 1) / kTileK);
  const int first_step = n_all_steps * part / n_parts;
  const int n_steps = n_all_steps * (part + 1) / n_parts - first_step;

  if (warp == S::kConsumers * 4) {
    if (lane == 0) {
      const auto load_weights = [&](int stage, int step) {
        uint8_t* const to = stages + stage * S::kStageBytes;
        const int column = (first_step + step) * kTileK;
        ArriveExpectTx(&full[stage], S::kStageBytes);
        TmaLoad2D(to, &weight_map, &full[stage], column, first_output);
        TmaLoad2D(to + kM / 2 * 128, &weight_map, &full[stage], column,
                  first_output + (silu ? d_out : kM / 2));
      };
      const auto load_x = [&](int stage, int step) {
        TmaLoad2D(stages + stage * S::kStageBytes + kM * 128, &x_map, &full[stage],
                  (first_step + step) * kTileK, first_row);
      };
      const int n_ahead = min(kStages, n_steps);
      for (int step = 0; step < n_ahead; ++step) load_weights(step, step);
      WaitForPreviousKernel();
      for (int step = 0; step < n_ahead; ++step) load_x(step, step);
      RingPlace<kStages> at;
      for (int step = kStages; step < n_steps; ++step, at.Next()) {
        Wait(&empty[at.stage], at.parity);
        load_weights(at.stage, step);
        load_x(at.stage, step);
      }
    }
    __syncwarp();
  } else {
    const int consumer = warp / 4;
    float sums[kN / 2];
    RingPlace<kStages> at;
    int previous = 0;
    for (int step = 0; step < n_steps; ++step, at.Next()) {
      Wait(&full[at.stage], at.parity);
      const uint8_t* const stage = stages + at.stage * S::kStageBytes;
      const uint64_t a = Descriptor(stage + consumer * 64 * 128);
      const uint64_t b = Descriptor(stage + kM * 128);
      hopper::WgmmaFence();
#pragma unroll
      for (int k16 = 0; k16 < kTileK / 16; ++k16) {
        hopper::WgmmaSS<kN>(sums, a + 2 * k16, b + 2 * k16, step > 0 || k16 > 0);
      }
      hopper::WgmmaCommit();
      hopper::WgmmaWait<1>();  // The step before is done with its stage.
      if (step > 0 && lane == 0) Arrive(&empty[previous]);
      previous = at.stage;
    }
    hopper::WgmmaWait<0>();
    hopper::PinRegisters(sums);

    hopper::NamedBarrierSync(1, S::kConsumers * 128);  // All have read the ring.
    float* to =
        reinterpret_cast<float*>(stages) + lane % 4 * 2 * S::kSumStride + warp * 16 + lane / 4;
#pragma unroll
    for (int j = 0; j < kN / 8; ++j, to += 8 * S::kSumStride) {
      to[0] = sums[4 * j];
      to[S::kSumStride] = sums[4 * j + 1];
      to[8] = sums[4 * j + 2];
      to[S::kSumStride + 8] = sums[4 * j + 3];
    }
  }

  if (n_parts == 1) {
    __syncthreads();
  } else {
    ClusterSync();
  }
  WaitForPreviousKernel();  // of all threads, which now write
  float* const mine = reinterpret_cast<float*>(stages);
  const int n_rows = static_cast<int>(min(args.n_rows - first_row, int64_t{kN}));
  const int fours = silu ? kM / 8 : kM / 4;  // of outputs of the tile
  for (int i = threadIdx.x;; i += S::kThreads) {
    const int row = i / fours * n_parts + part;
    const int column = i % fours * 4;
    if (row >= n_rows) break;
    if (first_output + column >= d_out) continue;
    float* const from = mine + row * S::kSumStride + column;
    float4 x = AddParts(from, n_parts);
    if (silu) {
      const float4 up = AddParts(from + kM / 2, n_parts);
      using T = __nv_bfloat16;
      x = {SiluMulOf<T>(x.x, up.x), SiluMulOf<T>(x.y, up.y), SiluMulOf<T>(x.z, up.z),
           SiluMulOf<T>(x.w, up.w)};
    }
    StoreFour(args, (first_row + row) * args.d_out + first_output + column, x);
  }
  if (n_parts > 1) ClusterSync();  // Nobody leaves while another may still read here.
#endif
}

// ---- The launch ---------------------------------------------------------------------------------

constexpr int kEnoughBlocks = 120;  // of the 132 multiprocessors

int64_t RowsOfWeight(const GemmSm90Args& args) {
  return args.output == GemvOutput::kSiluMul ? 2 * args.d_out : args.d_out;
}

// In how many parts the columns are cut: by the shape of W alone, or the bits would depend on the
// rows of x.
int PartsOf(const GemmSm90Args& args) {
  const int64_t n_tiles = CeilDiv(RowsOfWeight(args), 128);
  const int64_t n_steps = CeilDiv(args.d_in, kTileK);
  int n_parts = 1;
  while (n_parts < kMaxParts && n_tiles * n_parts < kEnoughBlocks && n_steps >= 8 * n_parts) {
    n_parts *= 2;
  }
  return n_parts;
}

template <int kM, int kN>
void LaunchTiles(const GemmSm90Args& args, cudaStream_t stream) {
  using S = Shape<kM, kN>;
  const CUtensorMap weight_map =
      hopper::MakeMatrixMap(args.weight, RowsOfWeight(args), args.d_in, args.d_in, kM / 2, kTileK,
                            hopper::Swizzle::k128B);
  const CUtensorMap x_map = hopper::MakeMatrixMap(args.x, args.n_rows, args.d_in, args.d_in, kN,
                                                  kTileK, hopper::Swizzle::k128B);
  const int n_parts = PartsOf(args);
  const auto kernel = GemmSm90Kernel<kM, kN>;
  AIOS_CUDA_CHECK(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, S::kSharedBytes));
  Launch(kernel,
         {.grid = dim3(n_parts, static_cast<unsigned>(CeilDiv(args.n_rows, kN)),
                       static_cast<unsigned>(CeilDiv(RowsOfWeight(args), kM))),
          .block = dim3(S::kThreads),
          .shared_bytes = S::kSharedBytes,
          .overlap_previous = args.overlap_previous,
          .cluster = n_parts},
         stream, weight_map, x_map, args);
}

template <int kN>
void LaunchRows(const GemmSm90Args& args, cudaStream_t stream) {
  if constexpr (kN <= 128) {
    const bool narrow = CeilDiv(RowsOfWeight(args), 128) * PartsOf(args) < kEnoughBlocks;
    if (narrow) return LaunchTiles<64, kN>(args, stream);
  }
  LaunchTiles<128, kN>(args, stream);
}

}  // namespace

bool GemmSm90Supports(const GemmSm90Args& args) {
  if (args.d_in <= 0 || args.d_in % 8 != 0 || args.d_in > INT32_MAX / 2) return false;
  if (args.d_out <= 0 || args.d_out % 4 != 0 || args.d_out > 1 << 21) return false;
  if (!AlignedTo16({args.x, args.weight, args.y})) return false;
  int device = 0, major = 0, minor = 0;
  AIOS_CUDA_CHECK(cudaGetDevice(&device));
  AIOS_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  AIOS_CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
  return major == 9 && minor == 0;
}

void GemmSm90(const GemmSm90Args& args, cudaStream_t stream) {
  if (args.y_dtype != Format::kBF16 && args.y_dtype != Format::kF32) {
    throw std::invalid_argument("GemmSm90: y_dtype must be BF16 or F32");
  }
  if (args.output == GemvOutput::kAdd && args.y_dtype != Format::kF32) {
    throw std::invalid_argument("GemmSm90: y must be F32 to be added to");
  }
  if (!GemmSm90Supports(args) || args.n_rows < 0 || args.n_rows > 1 << 23) {
    throw std::invalid_argument("GemmSm90: sizes, alignment or GPU that it is not for");
  }
  if (args.n_rows == 0) return;
  if (args.n_rows <= 16) return LaunchRows<16>(args, stream);
  if (args.n_rows <= 32) return LaunchRows<32>(args, stream);
  if (args.n_rows <= 64) return LaunchRows<64>(args, stream);
  if (args.n_rows <= 96) return LaunchRows<96>(args, stream);
  if (args.n_rows <= 128) return LaunchRows<128>(args, stream);
  if (args.n_rows <= 192) return LaunchRows<192>(args, stream);
  LaunchRows<256>(args, stream);
}

#else

bool GemmSm90Supports(const GemmSm90Args&) { return false; }
void GemmSm90(const GemmSm90Args&, cudaStream_t) {
  throw std::invalid_argument("GemmSm90: not built for sm_90a");
}

#endif

}  // namespace aios::kernels::cuda
