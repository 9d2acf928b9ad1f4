// Level 4: Hopper's own instructions: wgmma for both products, TMA for all tiles, a producer.
//
//   bazel run -c opt //kernels/ladder/attention -- --level 4
//
// What changed: a warpgroup (4 warps) multiplies 64 x 16 by 16 x 128 in one instruction, which
// reads its right side, and for Q K^T the left one too, straight from shared memory. A block has
// 128 queries: two consumer warpgroups of 64. A third one is the producer; a single thread of it
// has the tensor copy engine (TMA) bring tiles of 128 keys into a ring of two stages, and the
// consumers never compute an address of K or V. Full and empty barriers in shared memory are all
// they say to each other.
//
// Why it is faster: level 3 was held up by reading shared memory into registers, 128 bytes a clock.
// wgmma reads each byte of K and V once for 64 rows instead of once for 16, and no instruction is
// spent on it.
//
// What is left: a warpgroup computes scores, then exponentials, then values. On Hopper the
// exponentials of a tile take as long as its two products (16 a clock and multiprocessor, beside
// 4,096 multiply-adds), so tensor cores idle unless the other warpgroup happens to use them then.
// The engine's kernel (kernels/cuda/attention_prefill_sm90.cu) makes that overlap the rule: the
// next tile's scores are computed beside this one's softmax, the warpgroups take turns, and blocks
// take tiles one after another. It also finds keys in pages.
#include <cmath>
#include <stdexcept>

#include "kernels/cuda/check.h"
#include "kernels/cuda/hopper.cuh"
#include "kernels/ladder/attention/attention.h"

namespace aios::ladder {

#ifdef AIOS_CUDA_SM90A

#if defined(__CUDA_ARCH__) && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
#pragma nv_diag_suppress 177  // For other GPUs the kernel is empty, and all it would call unused.
#endif

namespace {

using namespace kernels::cuda::hopper;

constexpr int kTile = 128;         // queries of a block, and keys of a tile
constexpr int kStages = 2;         // tiles of K and V under way
constexpr int kThreads = 3 * 128;  // a producer and two consumer warpgroups
constexpr int kPanel = 64;         // columns that a swizzled tile is wide: 128 bytes
constexpr int kPanelBytes = kTile * kPanel * 2;
constexpr int kTileBytes = kTile * kHeadDim * 2;  // two panels

struct alignas(1024) Shared {
  uint8_t q[kTileBytes];
  uint8_t k[kStages][kTileBytes];
  uint8_t v[kStages][kTileBytes];
  uint64_t q_full;
  uint64_t full[kStages];   // K and V have arrived
  uint64_t empty[kStages];  // Both warpgroups have read them
};

struct Params {
  CUtensorMap q, k, v;  // boxes of 128 rows of one head, one panel
  AttentionProblem problem;
};

// One thread. Rows past the last arrive as zeros, so that a probability of 0 meets no NaN.
__device__ void Produce(const Params& params, Shared& shared, int head, int first_row) {
  const int kv_head = head / (params.problem.n_heads / params.problem.n_kv_heads);
  ArriveExpectTx(&shared.q_full, kTileBytes);
  for (int panel = 0; panel < 2; ++panel) {
    TmaLoad3D(shared.q + panel * kPanelBytes, &params.q, &shared.q_full, panel * kPanel, head,
              first_row);
  }
  for (int tile = 0; tile * kTile <= first_row; ++tile) {
    const int stage = tile % kStages;
    Wait(&shared.empty[stage], (tile / kStages & 1) ^ 1);
    ArriveExpectTx(&shared.full[stage], 2 * kTileBytes);
    for (int panel = 0; panel < 2; ++panel) {
      const int at = panel * kPanelBytes;
      TmaLoad3D(shared.k[stage] + at, &params.k, &shared.full[stage], panel * kPanel, tile * kTile,
                kv_head);
      TmaLoad3D(shared.v[stage] + at, &params.v, &shared.full[stage], panel * kPanel, tile * kTile,
                kv_head);
    }
  }
}

// Over the four lanes that hold a row.
__device__ float QuadMax(float x) {
  x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
  return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}
__device__ float QuadSum(float x) {
  x += __shfl_xor_sync(~0u, x, 1);
  return x + __shfl_xor_sync(~0u, x, 2);
}

__device__ uint32_t PackBF16(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

// A warpgroup: queries first_row + 64 * warpgroup and on. Which of a product's numbers a thread
// holds: hopper.cuh, "Warpgroup matrix products". It has two rows: r = 0 and 1.
__device__ void Consume(const Params& params, Shared& shared, int head, int first_row,
                        int warpgroup) {
  const int lane = threadIdx.x % 32;
  const int row_in_tile = 64 * warpgroup + threadIdx.x % 128 / 32 * 16 + lane / 4;  // and + 8
  const uint8_t* const q = shared.q + 64 * warpgroup * kPanel * 2;
  const float scale_log2 = params.problem.scale * 1.44269504088896341f;

  float s[kTile / 2];
  float o[kHeadDim / 2] = {};
  float max[2] = {-INFINITY, -INFINITY};
  float sum[2] = {0, 0};

  Wait(&shared.q_full, 0);
  for (int tile = 0; tile * kTile <= first_row; ++tile) {
    const int stage = tile % kStages;
    Wait(&shared.full[stage], tile / kStages & 1);

    // S = Q K^T
    WgmmaFence();
#pragma unroll
    for (int d = 0; d < kHeadDim; d += 16) {
      const int at = d / kPanel * kPanelBytes + d % kPanel * 2;
      WgmmaSS<kTile>(s, Descriptor(q + at), Descriptor(shared.k[stage] + at), d > 0);
    }
    WgmmaCommit();
    WgmmaWait<0>();
    PinRegisters(s);

    // Only the last tile has keys that some query must not see.
    if (tile * kTile == first_row) {
#pragma unroll
      for (int i = 0; i < kTile / 2; ++i) {
        const int key = i / 4 * 8 + lane % 4 * 2 + i % 2;
        if (key > row_in_tile + i / 2 % 2 * 8) s[i] = -INFINITY;
      }
    }

    // Probabilities relative to the running maximum; O and the sum follow it.
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float new_max = max[r];
#pragma unroll
      for (int i = 2 * r; i < kTile / 2; i += 4) new_max = fmaxf(new_max, fmaxf(s[i], s[i + 1]));
      new_max = QuadMax(new_max);
      const float base = new_max * scale_log2;
      const float rescale = exp2f(max[r] * scale_log2 - base);
      max[r] = new_max;
      sum[r] *= rescale;
#pragma unroll
      for (int i = 2 * r; i < kTile / 2; i += 4) {
        s[i] = exp2f(s[i] * scale_log2 - base);
        s[i + 1] = exp2f(s[i + 1] * scale_log2 - base);
        sum[r] += s[i] + s[i + 1];
      }
#pragma unroll
      for (int i = 2 * r; i < kHeadDim / 2; i += 4) {
        o[i] *= rescale;
        o[i + 1] *= rescale;
      }
    }

    // O += P V: 16 columns of S, rounded, are a left side in registers.
    uint32_t p[kTile / 16][4];
#pragma unroll
    for (int i = 0; i < kTile / 4; ++i) p[i / 4][i % 4] = PackBF16(s[2 * i], s[2 * i + 1]);
    PinRegisters(o);
    WgmmaFence();
#pragma unroll
    for (int i = 0; i < kTile / 16; ++i) {
      const uint8_t* const v = shared.v[stage] + i * 16 * kPanel * 2;
      WgmmaRS<kHeadDim, /*kTransposeB=*/true>(o, p[i], Descriptor(v, kPanelBytes));
    }
    WgmmaCommit();
    WgmmaWait<0>();
    PinRegisters(o);
    if (lane == 0) Arrive(&shared.empty[stage]);
  }

#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const float norm = 1 / QuadSum(sum[r]);
    const int64_t token = first_row + row_in_tile + 8 * r;
    if (token >= params.problem.n_tokens) continue;
    __nv_bfloat16* const out =
        params.problem.out + (token * params.problem.n_heads + head) * kHeadDim + lane % 4 * 2;
#pragma unroll
    for (int j = 0; j < kHeadDim / 8; ++j) {
      const int i = 4 * j + 2 * r;
      *reinterpret_cast<uint32_t*>(out + 8 * j) = PackBF16(o[i] * norm, o[i + 1] * norm);
    }
  }
}

// Grid: [n_heads, tiles of queries], the longest tiles first.
__global__ void __launch_bounds__(kThreads, 1)
    AttentionLevel4Kernel(const __grid_constant__ Params params) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(1024) uint8_t bytes[];
  Shared& shared = *reinterpret_cast<Shared*>(bytes);
  if (threadIdx.x == 0) {
    InitBarrier(&shared.q_full, 1);
    for (int stage = 0; stage < kStages; ++stage) {
      InitBarrier(&shared.full[stage], 1);
      InitBarrier(&shared.empty[stage], 8);  // an arrival for each consumer warp
    }
    FenceBarrierInit();
  }
  __syncthreads();

  const int head = blockIdx.x;
  const int first_row = (gridDim.y - 1 - blockIdx.y) * kTile;
  const int warpgroup = threadIdx.x / 128;
  if (warpgroup == 0) {
    DecreaseRegisters<24>();  // One thread's loop needs few; a consumer holds S, P and O.
    if (threadIdx.x == 0) Produce(params, shared, head, first_row);
  } else {
    IncreaseRegisters<240>();
    Consume(params, shared, head, first_row, warpgroup - 1);
  }
#endif
}

// [outer, middle, kHeadDim]; box: of middle and outer.
CUtensorMap Map(const __nv_bfloat16* data, int outer, int middle, uint32_t box_outer,
                uint32_t box_middle) {
  const uint64_t row_bytes = kHeadDim * sizeof(__nv_bfloat16);
  return MakeTensorMap<3>(
      data, {kHeadDim, static_cast<uint64_t>(middle), static_cast<uint64_t>(outer)},
      {row_bytes, row_bytes * middle}, {kPanel, box_middle, box_outer}, Swizzle::k128B);
}

}  // namespace

void AttentionLevel4(const AttentionProblem& problem, cudaStream_t stream) {
  const Params params = {
      .q = Map(problem.q, problem.n_tokens, problem.n_heads, kTile, 1),
      .k = Map(problem.k, problem.n_kv_heads, problem.n_tokens, 1, kTile),
      .v = Map(problem.v, problem.n_kv_heads, problem.n_tokens, 1, kTile),
      .problem = problem,
  };
  AIOS_CUDA_CHECK(cudaFuncSetAttribute(
      AttentionLevel4Kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, sizeof(Shared)));
  const dim3 grid(problem.n_heads, (problem.n_tokens + kTile - 1) / kTile);
  AttentionLevel4Kernel<<<grid, kThreads, sizeof(Shared), stream>>>(params);
  AIOS_CUDA_CHECK_LAUNCH();
}

#else

void AttentionLevel4(const AttentionProblem&, cudaStream_t) {
  throw std::runtime_error("level 4 needs a build for sm_90a");
}

#endif

}  // namespace aios::ladder
