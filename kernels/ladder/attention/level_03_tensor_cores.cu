// Level 3: both products on tensor cores, through mma.sync; a warp has 16 queries, a block 128.
//
//   bazel run -c opt //kernels/ladder/attention -- --level 3
//
// What changed: m16n8k16 multiplies 16 x 16 by 16 x 8 in one instruction of a warp: 4,096
// operations, where a multiply-add of CUDA cores does 64. Its result leaves the 16 queries' scores
// spread over the lanes just as the next product wants its left side: two neighbouring 16 x 8
// results are one 16 x 16 operand. So probabilities go from one product to the other in registers,
// rounded to bf16, and level 2's third tile in shared memory is gone. K and V are bf16 there,
// copied by cp.async while the tile before is worked on.
//
// Why it is faster: for 64 keys, the 8 warps of a block have 1,024 of these instructions: about
// 1,600 clocks, at the some 600 TFLOP/s that mma.sync reaches on Hopper; level 2 would have 16,000
// for its multiply-adds. And the operands' way is short: 256 KB out of shared memory, at 128 bytes
// a clock 2,048 clocks.
//
// What is left: these two and the exponentials (some 1,000 clocks) could pass beside each other;
// but 256 TFLOP/s at 8,192 tokens are 3,700 clocks for the 64 keys, and the three together make
// 4,600. Warps that waited at the same barrier want the same thing at the same time. And shared
// memory alone allows no more than 460. Hopper's tensor cores give all they have only through
// wgmma, which reads its right side from shared memory by itself, once for 64 rows instead of 16.
#include "kernels/cuda/ampere.cuh"
#include "kernels/cuda/check.h"
#include "kernels/ladder/attention/attention.h"

namespace aios::ladder {
namespace {

using kernels::cuda::CommitCopies;
using kernels::cuda::CopyAsync16;
using kernels::cuda::Exp2;
using kernels::cuda::LoadMatrices;
using kernels::cuda::LoadMatricesTransposed;
using kernels::cuda::MmaBF16;
using kernels::cuda::PackBF16;
using kernels::cuda::SharedAddress;
using kernels::cuda::WaitForCopies;

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * 32;
constexpr int kRows = kWarps * 16;
constexpr int kKeys = 64;
// Bytes of a row in shared memory: 16 more than needed, so that the 8 rows which ldmatrix reads at
// a time begin in different banks.
constexpr int kRowBytes = kHeadDim * 2 + 16;
constexpr int kTileBytes = kKeys * kRowBytes;
constexpr int kSharedBytes = 2 * 2 * kTileBytes;  // K and V, two buffers

// Starts to copy rows [first, first + kKeys) of `from` [n_rows, kHeadDim]; those past the last
// become 0.
__device__ void CopyTile(const __nv_bfloat16* from, int first, int n_rows, uint32_t to) {
  constexpr int kUnits = kHeadDim / 8;
#pragma unroll
  for (int i = threadIdx.x; i < kKeys * kUnits; i += kThreads) {
    const int row = i / kUnits;
    const int unit = i % kUnits;
    const bool exists = first + row < n_rows;
    const int64_t at = exists ? int64_t{first + row} * kHeadDim + unit * 8 : 0;
    CopyAsync16(to + row * kRowBytes + unit * 16, from + at, exists);
  }
}

// Grid: [n_heads, row tiles].
__global__ void __launch_bounds__(kThreads, 1) TensorCores(AttentionProblem p) {
  extern __shared__ __align__(16) uint8_t shared[];
  const uint32_t buffers = SharedAddress(shared);
  const int head = blockIdx.x;
  const int64_t kv_head = head / (p.n_heads / p.n_kv_heads);
  const int tile_row = (gridDim.y - 1 - blockIdx.y) * kRows;  // long rows first
  const __nv_bfloat16* const k = p.k + kv_head * p.n_tokens * kHeadDim;
  const __nv_bfloat16* const v = p.v + kv_head * p.n_tokens * kHeadDim;
  const int n_keys = min(tile_row + kRows, p.n_tokens);

  CopyTile(k, 0, p.n_tokens, buffers);
  CopyTile(v, 0, p.n_tokens, buffers + kTileBytes);
  CommitCopies();

  // A lane holds parts of two rows, `row` and `row + 8`: numbers 0, 1 and 2, 3 of each fragment.
  const int lane = threadIdx.x % 32;
  const int first_row = tile_row + static_cast<int>(threadIdx.x) / 32 * 16;
  const int row = first_row + lane / 4;
  const int pair = lane % 4 * 2;  // the first of two columns
  uint32_t q[kHeadDim / 16][4];
#pragma unroll
  for (int i = 0; i < kHeadDim / 16 * 4; ++i) {
    const int token = row + i % 2 * 8;
    const int d = i / 4 * 16 + i % 4 / 2 * 8 + pair;
    const int64_t at = (int64_t{token} * p.n_heads + head) * kHeadDim + d;
    q[i / 4][i % 4] = token < p.n_tokens ? *reinterpret_cast<const uint32_t*>(p.q + at) : 0;
  }

  const float scale = p.scale * 1.44269504088896341f;  // so that exp is one exp2
  float out[kHeadDim / 8][4] = {};
  float max[2] = {-INFINITY, -INFINITY};
  float sum[2] = {};
  uint32_t buffer = buffers;
  for (int first_key = 0; first_key < n_keys; first_key += kKeys) {
    WaitForCopies<0>();
    __syncthreads();  // The tile is there for all, and all have done with the other buffer.
    const uint32_t keys = buffer;
    const uint32_t values = keys + kTileBytes;
    buffer = keys == buffers ? buffers + 2 * kTileBytes : buffers;
    if (first_key + kKeys < n_keys) {
      CopyTile(k, first_key + kKeys, p.n_tokens, buffer);
      CopyTile(v, first_key + kKeys, p.n_tokens, buffer + kTileBytes);
      CommitCopies();
    }
    if (first_key > first_row + 15) continue;  // This warp's rows see none of them.

    // Scores: 16 rows x 64 keys. K's rows are the columns of the right side.
    float scores[kKeys / 8][4] = {};
    const uint32_t key_row = keys + (lane % 8 + lane / 16 * 8) * kRowBytes + lane / 8 % 2 * 16;
#pragma unroll
    for (int step = 0; step < kHeadDim / 16; ++step) {
#pragma unroll
      for (int i = 0; i < kKeys / 8; i += 2) {
        uint32_t b[4];
        LoadMatrices(b, key_row + i * 8 * kRowBytes + step * 32);
        MmaBF16(scores[i], q[step], b[0], b[1]);
        MmaBF16(scores[i + 1], q[step], b[2], b[3]);
      }
    }

    // The online softmax, as in level 2. Four lanes have a row.
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float top = -INFINITY;
#pragma unroll
      for (int i = 0; i < kKeys / 8 * 2; ++i) {
        float& score = scores[i / 2][2 * half + i % 2];
        if (first_key + i / 2 * 8 + pair + i % 2 > row + 8 * half) score = -INFINITY;
        top = fmaxf(top, score);
      }
      top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
      top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
      const float new_max = fmaxf(max[half], top * scale);
      const float rescale = Exp2(max[half] - new_max);
      max[half] = new_max;
      sum[half] *= rescale;
#pragma unroll
      for (int i = 0; i < kKeys / 8 * 2; ++i) {
        float& score = scores[i / 2][2 * half + i % 2];
        score = Exp2(score * scale - new_max);
        sum[half] += score;  // of this lane's keys; added up at the end
      }
#pragma unroll
      for (int i = 0; i < kHeadDim / 8 * 2; ++i) out[i / 2][2 * half + i % 2] *= rescale;
    }

    // Values: ldmatrix transposes on its way, since V's rows are the rows of the right side.
    const uint32_t value_row = values + lane % 16 * kRowBytes + lane / 16 * 16;
#pragma unroll
    for (int step = 0; step < kKeys / 16; ++step) {
      const float(&left)[4] = scores[2 * step];
      const float(&right)[4] = scores[2 * step + 1];
      const uint32_t a[4] = {PackBF16(left[0], left[1]), PackBF16(left[2], left[3]),
                             PackBF16(right[0], right[1]), PackBF16(right[2], right[3])};
#pragma unroll
      for (int i = 0; i < kHeadDim / 8; i += 2) {
        uint32_t b[4];
        LoadMatricesTransposed(b, value_row + step * 16 * kRowBytes + i * 16);
        MmaBF16(out[i], a, b[0], b[1]);
        MmaBF16(out[i + 1], a, b[2], b[3]);
      }
    }
  }

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    sum[half] += __shfl_xor_sync(~0u, sum[half], 1);
    sum[half] += __shfl_xor_sync(~0u, sum[half], 2);
    const int token = row + 8 * half;
    if (token >= p.n_tokens) continue;
    __nv_bfloat16* const to = p.out + (int64_t{token} * p.n_heads + head) * kHeadDim + pair;
#pragma unroll
    for (int i = 0; i < kHeadDim / 8; ++i) {
      *reinterpret_cast<uint32_t*>(to + i * 8) =
          PackBF16(out[i][2 * half] / sum[half], out[i][2 * half + 1] / sum[half]);
    }
  }
}

}  // namespace

void AttentionLevel3(const AttentionProblem& p, cudaStream_t stream) {
  AIOS_CUDA_CHECK(
      cudaFuncSetAttribute(TensorCores, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes));
  const dim3 grid(p.n_heads, (p.n_tokens + kRows - 1) / kRows);
  TensorCores<<<grid, kThreads, kSharedBytes, stream>>>(p);
  AIOS_CUDA_CHECK_LAUNCH();
}

}  // namespace aios::ladder
