// Attention on CUDA cores: true f32, any head_dim up to 256; bf16 where tensor cores have no
// kernel.
//
// A block holds a tile of packed rows and walks the keys 32 at a time: scores = Q K^T,
// probabilities relative to the running maximum, O += P V (the online softmax of Milakov and
// Gimelshein 2018, tiled as in FlashAttention, Dao et al. 2022). K and V pass through one buffer in
// shared memory.
//
// Order of sums in a chunk: a score is a chain of fused multiply-adds over d = 0, 1, ...; a tile's
// sum of probabilities is a butterfly over its 32 keys; a value is a chain over the keys. No thread
// shares such a chain with another, so it does not matter how many rows the tile has.
#include <algorithm>

#include "kernels/cuda/attention_common.cuh"
#include "kernels/cuda/check.h"
#include "kernels/cuda/pdl.cuh"

namespace aios::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kKeys = 32;  // a lane a key in the softmax
static_assert(kChunkKeys % kKeys == 0);

// Threads form a grid of 16 row groups x 16 lanes. A lane owns 2 keys of the scores, and
// 4 columns of each 64 of the values.
constexpr int kLanes = 16;

// Numbers in a row of a tile in shared memory: an odd number of 16-byte units, so that 8 lanes
// reading 16 bytes from 8 rows meet all banks.
__host__ __device__ constexpr int PaddedRow(int head_dim) { return head_dim + 4; }

__device__ inline void Load8(const float* from, float (&to)[8]) {
  const float4 low = *reinterpret_cast<const float4*>(from);
  const float4 high = *reinterpret_cast<const float4*>(from + 4);
  to[0] = low.x, to[1] = low.y, to[2] = low.z, to[3] = low.w;
  to[4] = high.x, to[5] = high.y, to[6] = high.z, to[7] = high.w;
}
__device__ inline void Load8(const __nv_bfloat16* from, float (&to)[8]) {
  const uint4 bits = *reinterpret_cast<const uint4*>(from);
  const uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
  for (int i = 0; i < 4; ++i) {
    to[2 * i] = __uint_as_float(words[i] << 16);
    to[2 * i + 1] = __uint_as_float(words[i] & 0xFFFF0000);
  }
}

__device__ inline void Store4(float* to, float4 x) { *reinterpret_cast<float4*>(to) = x; }
__device__ inline void Store4(__nv_bfloat16* to, float4 x) {
  __nv_bfloat162 pair[2] = {__floats2bfloat162_rn(x.x, x.y), __floats2bfloat162_rn(x.z, x.w)};
  *reinterpret_cast<uint2*>(to) = *reinterpret_cast<uint2*>(pair);
}

__device__ inline float4 Fma(float a, float4 b, float4 c) {
  return {__fmaf_rn(a, b.x, c.x), __fmaf_rn(a, b.y, c.y), __fmaf_rn(a, b.z, c.z),
          __fmaf_rn(a, b.w, c.w)};
}
__device__ inline float Dot4(float4 a, float4 b, float sum) {
  sum = __fmaf_rn(a.x, b.x, sum);
  sum = __fmaf_rn(a.y, b.y, sum);
  sum = __fmaf_rn(a.z, b.z, sum);
  return __fmaf_rn(a.w, b.w, sum);
}

// Keys (or values) [first, first + kKeys) of the sequence to shared memory as f32. What lies past
// the sequence's end becomes 0: it may be NaN, and 0 * NaN would reach the values.
template <typename T>
__device__ void LoadTile(const T* numbers, const Pages& pages, int first, int kv_length,
                         float* tile) {
  const int units = pages.head_dim / 8;
  for (int i = threadIdx.x; i < kKeys * units; i += kThreads) {
    const int key = i / units;
    const int d = i % units * 8;
    float x[8] = {};
    if (first + key < kv_length) Load8(numbers + pages.Offset(first + key) + d, x);
    float* to = tile + key * PaddedRow(pages.head_dim) + d;
    Store4(to, {x[0], x[1], x[2], x[3]});
    Store4(to + 4, {x[4], x[5], x[6], x[7]});
  }
}

// Rows first_row, first_row + 1, ... of a kv head, at most kLanes * kRowsPerThread; those past the
// sequence's last become 0.
template <typename T>
__device__ void LoadQueries(const AttentionArgs& args, const Sequence& sequence, int kv_head,
                            int first_row, int n_rows, int tile_rows, float* tile) {
  const int units = args.head_dim / 8;
  for (int i = threadIdx.x; i < tile_rows * units; i += kThreads) {
    const int row = i / units;
    const int d = i % units * 8;
    float x[8] = {};
    if (row < n_rows) {
      Load8(static_cast<const T*>(args.q) + RowOffset(args, sequence, kv_head, first_row + row) + d,
            x);
    }
    float* to = tile + row * PaddedRow(args.head_dim) + d;
    Store4(to, {x[0], x[1], x[2], x[3]});
    Store4(to + 4, {x[4], x[5], x[6], x[7]});
  }
}

// kRowsPerThread: a tile has 16 times as many rows. kColumns: 64 columns of the values each.
template <typename T, int kRowsPerThread, int kColumns, bool kSplit>
__global__ void __launch_bounds__(kThreads)
    GenericAttentionKernel(AttentionArgs args, PageDivision paging, Partials partials,
                           int chunks_per_block) {
  constexpr int kTileRows = kLanes * kRowsPerThread;
  const int kv_head = blockIdx.y;
  const int group = args.n_heads / args.n_kv_heads;

  Sequence sequence;
  int first_row = 0;
  int first_chunk = 0;
  if constexpr (kSplit) {
    sequence = LoadSequence(args, blockIdx.z);
    if (sequence.n_rows * group > kSplitRows) return;
    LetNextKernelStart();  // The fold, which waits for our results.
    first_chunk = blockIdx.x * chunks_per_block;
  } else {
    // The last tiles have the most keys: they start first.
    const RowTile tile = FindRowTile(args, gridDim.x - 1 - blockIdx.x, kTileRows);
    if (tile.sequence < 0) return;
    sequence = LoadSequence(args, tile.sequence);
    first_row = tile.first_row;
  }
  const int n_rows = min(sequence.n_rows * group - first_row, kTileRows);
  if (n_rows <= 0) return;
  int n_keys = sequence.KeysOfRow(first_row + n_rows - 1, group);
  if constexpr (kSplit) n_keys = min(n_keys, (first_chunk + chunks_per_block) * kChunkKeys);

  extern __shared__ float4 shared[];
  const int padded = PaddedRow(args.head_dim);
  float* const q_tile = reinterpret_cast<float*>(shared);  // [kTileRows, padded]
  float* const kv_tile = q_tile + kTileRows * padded;      // [kKeys, padded]
  float* const scores = kv_tile + kKeys * padded;          // [kTileRows, kKeys], then P
  __shared__ float row_max[kTileRows], row_sum[kTileRows], row_scale[kTileRows];

  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const int row_group = threadIdx.x / kLanes;  // owns rows row_group * kRowsPerThread + i
  const int column = threadIdx.x % kLanes;     // owns keys column, column + 16
  const int my_row = row_group * kRowsPerThread;
  const bool has_rows = my_row < n_rows;
  const float scale_log2 = args.scale * 1.44269504088896341f;
  const Pages pages = PagesOf(args, paging, sequence, kv_head);

  LoadQueries<T>(args, sequence, kv_head, first_row, n_rows, kTileRows, q_tile);

  float4 chunk[kRowsPerThread][kColumns];  // the weighted values of this chunk,
  float4 total[kRowsPerThread][kColumns];  // and of all before it
  RowFold fold[kRowsPerThread];
  for (int i = 0; i < kRowsPerThread; ++i)
    for (int j = 0; j < kColumns; ++j) total[i][j] = chunk[i][j] = {};

  for (int first_key = first_chunk * kChunkKeys; first_key < n_keys; first_key += kKeys) {
    if (first_key % kChunkKeys == 0) {
      for (int r = threadIdx.x; r < kTileRows; r += kThreads) {
        row_max[r] = -INFINITY;
        row_sum[r] = 0;
      }
    }
    LoadTile(static_cast<const T*>(args.k_pages), pages, first_key, sequence.kv_length, kv_tile);
    __syncthreads();

    // Scores: kRowsPerThread rows x 2 keys a thread.
    if (has_rows) {
      float dots[kRowsPerThread][2] = {};
      const float* const k0 = kv_tile + column * padded;
      const float* const k1 = k0 + kLanes * padded;
      for (int d = 0; d < args.head_dim; d += 4) {
        const float4 key0 = *reinterpret_cast<const float4*>(k0 + d);
        const float4 key1 = *reinterpret_cast<const float4*>(k1 + d);
#pragma unroll
        for (int i = 0; i < kRowsPerThread; ++i) {
          const float4 q = *reinterpret_cast<const float4*>(q_tile + (my_row + i) * padded + d);
          dots[i][0] = Dot4(q, key0, dots[i][0]);
          dots[i][1] = Dot4(q, key1, dots[i][1]);
        }
      }
#pragma unroll
      for (int i = 0; i < kRowsPerThread; ++i) {
        scores[(my_row + i) * kKeys + column] = dots[i][0];
        scores[(my_row + i) * kKeys + column + kLanes] = dots[i][1];
      }
    }
    __syncthreads();  // All have read K: V may take its place.
    LoadTile(static_cast<const T*>(args.v_pages), pages, first_key, sequence.kv_length, kv_tile);

    // Probabilities: a warp a row, a lane a key.
    for (int r = warp; r < n_rows; r += kWarps) {
      const bool seen = first_key + lane < sequence.KeysOfRow(first_row + r, group);
      const float score = seen ? __fmul_rn(scores[r * kKeys + lane], scale_log2) : -INFINITY;
      float max = score;
      for (int offset = 16; offset > 0; offset /= 2) {
        max = fmaxf(max, __shfl_xor_sync(~0u, max, offset));
      }
      const float old_max = row_max[r];
      const float new_max = fmaxf(old_max, max);
      // A row that has seen no key of this chunk: its maximum stays -inf, and -inf - -inf is NaN.
      const float base = new_max == -INFINITY ? 0 : new_max;
      const float probability = exp2f(score - base);
      float sum = probability;
      for (int offset = 16; offset > 0; offset /= 2) {
        sum += __shfl_xor_sync(~0u, sum, offset);
      }
      scores[r * kKeys + lane] = probability;
      __syncwarp();  // All lanes have read row_max[r].
      if (lane == 0) {
        const float rescale = Rescale(old_max, base);
        row_scale[r] = rescale;
        row_sum[r] = __fmaf_rn(row_sum[r], rescale, sum);
        row_max[r] = new_max;
      }
    }
    __syncthreads();

    // Values: kRowsPerThread rows x 4 columns of each 64 a thread.
    if (has_rows) {
#pragma unroll
      for (int i = 0; i < kRowsPerThread; ++i) {
        const float rescale = my_row + i < n_rows ? row_scale[my_row + i] : 0;
#pragma unroll
        for (int j = 0; j < kColumns; ++j) {
          float4& x = chunk[i][j];
          x = {x.x * rescale, x.y * rescale, x.z * rescale, x.w * rescale};
        }
      }
      for (int key = 0; key < kKeys; ++key) {
        float4 value[kColumns];
#pragma unroll
        for (int j = 0; j < kColumns; ++j) {
          const int d = column * 4 + j * 64;
          value[j] = d < args.head_dim
                         ? *reinterpret_cast<const float4*>(kv_tile + key * padded + d)
                         : float4{};
        }
#pragma unroll
        for (int i = 0; i < kRowsPerThread; ++i) {
          const float probability = scores[(my_row + i) * kKeys + key];
#pragma unroll
          for (int j = 0; j < kColumns; ++j) chunk[i][j] = Fma(probability, value[j], chunk[i][j]);
        }
      }

      const bool chunk_ends = (first_key + kKeys) % kChunkKeys == 0 || first_key + kKeys >= n_keys;
      if (chunk_ends) {
#pragma unroll
        for (int i = 0; i < kRowsPerThread; ++i) {
          const int r = my_row + i;
          if (r >= n_rows) continue;
          if constexpr (kSplit) {
            const int64_t slot =
                partials.Slot(static_cast<int64_t>(sequence.index) * args.n_kv_heads + kv_head,
                              first_key / kChunkKeys, r);
            if (column == 0) partials.stats[slot] = {row_max[r], row_sum[r]};
#pragma unroll
            for (int j = 0; j < kColumns; ++j) {
              const int d = column * 4 + j * 64;
              if (d < args.head_dim)
                Store4(partials.values + slot * args.head_dim + d, chunk[i][j]);
            }
          } else {
            fold[i].Begin(row_max[r], row_sum[r]);
#pragma unroll
            for (int j = 0; j < kColumns; ++j) {
              float4& x = total[i][j];
              const float4 y = chunk[i][j];
              x = {fold[i].Fold(x.x, y.x), fold[i].Fold(x.y, y.y), fold[i].Fold(x.z, y.z),
                   fold[i].Fold(x.w, y.w)};
            }
          }
#pragma unroll
          for (int j = 0; j < kColumns; ++j) chunk[i][j] = {};
        }
      }
    }
    __syncthreads();  // All have read V, P and the rows' numbers.
  }

  if constexpr (!kSplit) {
    if (!has_rows) return;
#pragma unroll
    for (int i = 0; i < kRowsPerThread; ++i) {
      if (my_row + i >= n_rows) continue;
      T* const out =
          static_cast<T*>(args.out) + RowOffset(args, sequence, kv_head, first_row + my_row + i);
      const float norm = fold[i].Normalizer();
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        const int d = column * 4 + j * 64;
        const float4 x = total[i][j];
        if (d < args.head_dim) {
          Store4(out + d, {__fmul_rn(x.x, norm), __fmul_rn(x.y, norm), __fmul_rn(x.z, norm),
                           __fmul_rn(x.w, norm)});
        }
      }
    }
  }
}

template <typename T, int kRowsPerThread, int kColumns, bool kSplit>
void LaunchKernel(const AttentionArgs& args, const AttentionPlan& plan, cudaStream_t stream) {
  constexpr int kTileRows = kLanes * kRowsPerThread;
  const int group = args.n_heads / args.n_kv_heads;
  const Partials partials = PartialsIn(args);
  int chunks_per_block = 0;
  dim3 grid;
  if (kSplit) {
    const int64_t chunks = static_cast<int64_t>(args.n_seqs) * args.n_kv_heads * partials.n_chunks;
    chunks_per_block = ChunksPerBlock(chunks, plan.n_sms * 16);
    grid = dim3(CeilDiv(partials.n_chunks, chunks_per_block), args.n_kv_heads, args.n_seqs);
  } else {
    // Each sequence may have one tile that is not full.
    grid = dim3(static_cast<int64_t>(args.n_tokens) * group / kTileRows + args.n_seqs,
                args.n_kv_heads);
  }
  const auto kernel = GenericAttentionKernel<T, kRowsPerThread, kColumns, kSplit>;
  const size_t shared_bytes =
      sizeof(float) * ((kTileRows + kKeys) * PaddedRow(args.head_dim) + kTileRows * kKeys);
  AIOS_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                       static_cast<int>(shared_bytes)));
  kernel<<<grid, kThreads, shared_bytes, stream>>>(args, PageDivision(args.page_size), partials,
                                                   chunks_per_block);
  AIOS_CUDA_CHECK_LAUNCH();
}

template <typename T, int kColumns>
void LaunchBoth(const AttentionArgs& args, const AttentionPlan& plan, cudaStream_t stream) {
  // With 256 columns, 64 rows would need 128 KiB of shared memory and as many registers as there
  // are.
  constexpr int kWholeRows = kColumns == 4 ? 2 : 4;
  if (plan.split) LaunchKernel<T, 1, kColumns, true>(args, plan, stream);
  if (plan.whole) LaunchKernel<T, kWholeRows, kColumns, false>(args, plan, stream);
}

template <typename T>
void LaunchFor(const AttentionArgs& args, const AttentionPlan& plan, cudaStream_t stream) {
  if (args.head_dim <= 64) {
    LaunchBoth<T, 1>(args, plan, stream);
  } else if (args.head_dim <= 128) {
    LaunchBoth<T, 2>(args, plan, stream);
  } else {
    LaunchBoth<T, 4>(args, plan, stream);
  }
}

}  // namespace

void LaunchGenericAttention(const AttentionArgs& args, const AttentionPlan& plan,
                            cudaStream_t stream) {
  if (args.dtype == Format::kF32) {
    LaunchFor<float>(args, plan, stream);
  } else {
    LaunchFor<__nv_bfloat16>(args, plan, stream);
  }
}

}  // namespace aios::kernels::cuda
