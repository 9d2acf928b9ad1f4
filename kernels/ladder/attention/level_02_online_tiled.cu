// Level 2: no scores in memory. A block keeps 64 queries and walks over the keys, 64 at a time,
// with the online softmax.
//
//   bazel run -c opt //kernels/ladder/attention -- --level 2
//
// What changed: softmax seems to need the whole row before the first probability, since all are
// relative to the row's maximum. But when the maximum grows from m to m', everything summed up so
// far is only off by the factor exp(m - m'): one multiplication makes it right (Milakov and
// Gimelshein 2018; as tiles of attention: Dao et al. 2022, "FlashAttention"). So a tile of scores
// is made, used and forgotten in shared memory.
//
// Why it is faster: memory sees q, K, V and out only. And a K or V tile in shared memory is read by
// 64 queries, each number there by a thread for 4 queries x 4 keys: 8 reads of 16 bytes for 64
// multiply-adds, where level 1 had 2 reads for one.
//
// What is left: CUDA cores do 67 TFLOP/s of f32 on an H200, the tensor cores 15 times as much of
// bf16.
#include "kernels/cuda/check.h"
#include "kernels/ladder/attention/attention.h"

namespace aios::ladder {
namespace {

constexpr int kThreads = 256;  // 16 x 16: a thread has 4 rows x 4 keys of the scores
constexpr int kRows = 64;
constexpr int kKeys = 64;
// Numbers in a row in shared memory. 4 more than needed: without them, all rows would begin in the
// same bank, and 8 threads reading 8 rows would wait for each other.
constexpr int kPadded = kHeadDim + 4;
constexpr int kPaddedKeys = kKeys + 4;
constexpr int kSharedBytes = (2 * kRows * kPadded + kRows * kPaddedKeys) * sizeof(float);
static_assert(kRows == kKeys);

// `n_rows` rows of bf16, `stride` numbers apart, to shared memory as f32; the rest becomes 0.
__device__ void LoadTile(const __nv_bfloat16* from, int64_t stride, int n_rows, float* to) {
  for (int i = threadIdx.x; i < kRows * kHeadDim / 2; i += kThreads) {
    const int row = i / (kHeadDim / 2);
    const int d = i % (kHeadDim / 2) * 2;
    float2 pair = {0, 0};
    if (row < n_rows) {
      pair = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(from + row * stride + d));
    }
    *reinterpret_cast<float2*>(to + row * kPadded + d) = pair;
  }
}

__device__ float4 At(const float* p) { return *reinterpret_cast<const float4*>(p); }

// Grid: [row tiles, n_heads].
__global__ void __launch_bounds__(kThreads, 2) OnlineTiled(AttentionProblem p) {
  extern __shared__ float4 shared[];
  float* const queries = reinterpret_cast<float*>(shared);  // [kRows, kPadded]
  float* const keys = queries + kRows * kPadded;            // [kKeys, kPadded]: K, then V
  float* const probabilities = keys + kKeys * kPadded;      // [kRows, kPaddedKeys]

  const int head = blockIdx.y;
  const int64_t kv_head = head / (p.n_heads / p.n_kv_heads);
  const int first_row = (gridDim.x - 1 - blockIdx.x) * kRows;  // long rows first
  const __nv_bfloat16* const k = p.k + kv_head * p.n_tokens * kHeadDim;
  const __nv_bfloat16* const v = p.v + kv_head * p.n_tokens * kHeadDim;

  // This thread's rows are row + 16 i, its keys column + 16 j, its columns of the output
  // 4 column + 64 j and the next three.
  const int row = threadIdx.x / 16;
  const int column = threadIdx.x % 16;

  LoadTile(p.q + (int64_t{first_row} * p.n_heads + head) * kHeadDim, int64_t{p.n_heads} * kHeadDim,
           p.n_tokens - first_row, queries);
  float out[4][8] = {};
  float max[4] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
  float sum[4] = {};

  const int n_keys = min(first_row + kRows, p.n_tokens);
  for (int first_key = 0; first_key < n_keys; first_key += kKeys) {
    __syncthreads();  // All have done with V.
    LoadTile(k + int64_t{first_key} * kHeadDim, kHeadDim, p.n_tokens - first_key, keys);
    __syncthreads();

    float scores[4][4] = {};
    for (int d = 0; d < kHeadDim; d += 4) {
      float4 a[4], b[4];
      for (int i = 0; i < 4; ++i) a[i] = At(queries + (row + 16 * i) * kPadded + d);
      for (int j = 0; j < 4; ++j) b[j] = At(keys + (column + 16 * j) * kPadded + d);
      for (int i = 0; i < 4; ++i) {
        for (int j = 0; j < 4; ++j) {
          scores[i][j] += a[i].x * b[j].x + a[i].y * b[j].y + a[i].z * b[j].z + a[i].w * b[j].w;
        }
      }
    }

    // The 16 threads of a row are half a warp.
    for (int i = 0; i < 4; ++i) {
      float new_max = max[i];
      for (int j = 0; j < 4; ++j) {
        const bool seen = first_key + column + 16 * j <= first_row + row + 16 * i;
        scores[i][j] = seen ? scores[i][j] * p.scale : -INFINITY;
        new_max = fmaxf(new_max, scores[i][j]);
      }
      for (int step = 8; step > 0; step /= 2) {
        new_max = fmaxf(new_max, __shfl_xor_sync(~0u, new_max, step));
      }
      const float rescale = __expf(max[i] - new_max);
      max[i] = new_max;
      sum[i] *= rescale;
      for (int j = 0; j < 8; ++j) out[i][j] *= rescale;
      for (int j = 0; j < 4; ++j) {
        const float probability = __expf(scores[i][j] - new_max);
        sum[i] += probability;  // of this thread's keys; added up at the end
        probabilities[(row + 16 * i) * kPaddedKeys + column + 16 * j] = probability;
      }
    }
    __syncthreads();  // All have done with K, and the probabilities are there.
    LoadTile(v + int64_t{first_key} * kHeadDim, kHeadDim, p.n_tokens - first_key, keys);
    __syncthreads();

    for (int key = 0; key < kKeys; ++key) {
      const float4 left = At(keys + key * kPadded + 4 * column);
      const float4 right = At(keys + key * kPadded + 4 * column + 64);
      for (int i = 0; i < 4; ++i) {
        const float probability = probabilities[(row + 16 * i) * kPaddedKeys + key];
        out[i][0] += probability * left.x;
        out[i][1] += probability * left.y;
        out[i][2] += probability * left.z;
        out[i][3] += probability * left.w;
        out[i][4] += probability * right.x;
        out[i][5] += probability * right.y;
        out[i][6] += probability * right.z;
        out[i][7] += probability * right.w;
      }
    }
  }

  for (int i = 0; i < 4; ++i) {
    for (int step = 8; step > 0; step /= 2) sum[i] += __shfl_xor_sync(~0u, sum[i], step);
    const int token = first_row + row + 16 * i;
    if (token >= p.n_tokens) continue;
    __nv_bfloat16* const to = p.out + (int64_t{token} * p.n_heads + head) * kHeadDim + 4 * column;
    for (int j = 0; j < 8; ++j) {
      to[j / 4 * 64 + j % 4] = static_cast<__nv_bfloat16>(out[i][j] / sum[i]);
    }
  }
}

}  // namespace

void AttentionLevel2(const AttentionProblem& p, cudaStream_t stream) {
  AIOS_CUDA_CHECK(
      cudaFuncSetAttribute(OnlineTiled, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes));
  const dim3 grid((p.n_tokens + kRows - 1) / kRows, p.n_heads);
  OnlineTiled<<<grid, kThreads, kSharedBytes, stream>>>(p);
  AIOS_CUDA_CHECK_LAUNCH();
}

}  // namespace aios::ladder
