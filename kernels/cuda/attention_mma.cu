// Attention on tensor cores, bf16, for every GPU since Ampere (mma.sync; Hopper's wgmma has its own
// file). Two kernels around one piece of arithmetic, WarpRows: a warp holds 16 packed rows, their
// queries and their sums, in registers.
//
//   whole (prefill): a block of 8 warps has 128 rows. K and V tiles of 64 keys pass through shared
//     memory, two buffers deep, for all warps: 128 rows share each byte, so that the copies stay
//     far below what the L2 gives.
//   split (decode): a block is one warp, and has one chunk of 256 keys for the 1 to 16 rows of a
//     sequence and kv head. 12 or more of the 16 rows of the multiplications are often empty; it
//     does not matter, since the time is that of reading the keys. All is done for these reads: a
//     ring of 16-key slots in shared memory keeps 20 KB a warp on the way, 180 KB a multiprocessor,
//     where 25 KB would cover the memory's latency (4.7 TB/s x 0.7 us / 132).
//
// Order of sums in a chunk (both kernels, WarpRows): a score is a chain of m16n8k16 steps over d;
// 64 keys at a time join the running maximum; a value is a chain of m16n8k16 steps over the keys,
// 16 at a time; a thread sums the probabilities that it holds, the four threads of a row are added
// last. The tensor cores' own rounding within a step depends on nothing but the step's operands.
#include <algorithm>
#include <cstdint>

#include "kernels/cuda/ampere.cuh"
#include "kernels/cuda/attention_common.cuh"
#include "kernels/cuda/check.h"
#include "kernels/cuda/pdl.cuh"

namespace aios::kernels::cuda {
namespace {

constexpr int kTileKeys = 64;  // that join the running maximum together
constexpr int kSlotKeys = 16;  // one step of a multiplication; in one page, of at least 16
constexpr int kWarpRows = 16;
static_assert(kChunkKeys % kTileKeys == 0 && kSplitRows <= kWarpRows);

// Numbers in a row of K or V in shared memory: an odd number of 16-byte units, so that the 8 rows
// that ldmatrix reads at a time lie in different banks.
__host__ __device__ constexpr int PaddedRow(int head_dim) { return head_dim + 8; }

// ---- 16 rows of a warp --------------------------------------------------------------------------

// A lane holds parts of two rows, lane / 4 and lane / 4 + 8: index i % 4 / 2 of a fragment's four
// numbers.
template <int kHeadDim>
struct WarpRows {
  static constexpr int kSteps = kHeadDim / 16;
  static constexpr int kBlocks = kHeadDim / 8;
  static constexpr int kRowBytes = PaddedRow(kHeadDim) * 2;

  uint32_t q[kSteps][4];
  float scores[kTileKeys / 8][4];  // of a tile; probabilities afterwards

  static __device__ int Row(int half) { return threadIdx.x % 32 / 4 + half * 8; }
  static __device__ int Column(int block) { return block * 8 + threadIdx.x % 4 * 2; }

  // Packed rows first_row, first_row + 1, ...; those that do not exist become 0.
  __device__ void LoadQueries(const AttentionArgs& args, const Sequence& sequence, int kv_head,
                              int first_row, int n_packed_rows) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first_row + Row(half);
      const bool exists = row < n_packed_rows;
      const auto* from = static_cast<const __nv_bfloat16*>(args.q) +
                         (exists ? RowOffset(args, sequence, kv_head, row) : 0);
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
#pragma unroll
        for (int right = 0; right < 2; ++right) {
          const auto* pair = reinterpret_cast<const uint32_t*>(from + Column(2 * step + right));
          q[step][half + 2 * right] = exists ? *pair : 0;
        }
      }
    }
  }

  // Scores of kKeys keys of the tile from its key kFirst on; `keys` is where they lie in shared
  // memory, [kKeys, PaddedRow].
  template <int kFirst, int kKeys>
  __device__ void Scores(uint32_t keys) {
    const int lane = threadIdx.x % 32;
    const uint32_t row =
        keys + (lane % 8 + lane / 16 * 8) * kRowBytes + static_cast<uint32_t>(lane / 8 % 2 * 16);
#pragma unroll
    for (int i = 0; i < kKeys / 8; ++i) {
      float(&s)[4] = scores[kFirst / 8 + i];
      s[0] = s[1] = s[2] = s[3] = 0;
    }
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
#pragma unroll
      for (int i = 0; i < kKeys / 16; ++i) {
        uint32_t k[4];
        LoadMatrices(k, row + i * 16 * kRowBytes + step * 32);
        MmaBF16(scores[kFirst / 8 + 2 * i], q[step], k[0], k[1]);
        MmaBF16(scores[kFirst / 8 + 2 * i + 1], q[step], k[2], k[3]);
      }
    }
  }

  // The largest scores of the tile, times scale_log2, of the lane's two rows. A row sees `n_keys`
  // of the tile: may be zero or less, or more than the tile has.
  template <bool kMasked>
  __device__ void TileMax(float scale_log2, const int (&n_keys)[2], float (&max)[2]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float top = -INFINITY;
#pragma unroll
      for (int block = 0; block < kTileKeys / 8; ++block) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float& s = scores[block][2 * half + i];
          if (kMasked && Column(block) + i >= n_keys[half]) s = -INFINITY;
          top = fmaxf(top, s);
        }
      }
      top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
      top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
      max[half] = __fmul_rn(top, scale_log2);
    }
  }

  // Scores to probabilities relative to `base`; the result is the sum of this lane's.
  __device__ float Probabilities(float scale_log2, int half, float base) {
    float sum = 0;
#pragma unroll
    for (int block = 0; block < kTileKeys / 8; ++block) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float& s = scores[block][2 * half + i];
        s = Exp2(__fmaf_rn(s, scale_log2, -base));
        sum = __fadd_rn(sum, s);
      }
    }
    return sum;
  }

  // The probabilities of keys 16 step to 16 step + 15, as left side of a product.
  __device__ void Weights(int step, uint32_t (&p)[4]) const {
    const float(&left)[4] = scores[2 * step];
    const float(&right)[4] = scores[2 * step + 1];
    p[0] = PackBF16(left[0], left[1]);
    p[1] = PackBF16(left[2], left[3]);
    p[2] = PackBF16(right[0], right[1]);
    p[3] = PackBF16(right[2], right[3]);
  }
};

// How tiles of a chunk join, for one row: what was summed up so far is multiplied by `rescale`, the
// new probabilities are relative to `base`.
struct Join {
  float max;
  float base;
  float rescale;

  __device__ Join(float max_before, float tile_max) {
    max = fmaxf(max_before, tile_max);
    // A row that has seen no key of this chunk: its maximum stays -inf, and -inf - -inf is NaN.
    base = max == -INFINITY ? 0 : max;
    rescale = Exp2(max_before - base);
  }
};
__device__ inline float JoinSum(float sum, const Join& join, float tile_sum) {
  return __fmaf_rn(sum, join.rescale, tile_sum);
}

// The four lanes of a row add their parts.
__device__ inline float RowSum(float sum) {
  sum = __fadd_rn(sum, __shfl_xor_sync(~0u, sum, 1));
  return __fadd_rn(sum, __shfl_xor_sync(~0u, sum, 2));
}

// Weighted values += p [16 x 16] times 16 rows of V in shared memory, of which `row` is the lane's
// (ValueRow), 16 columns from `column` on.
template <int kHeadDim>
__device__ uint32_t ValueRow(uint32_t values) {
  const int lane = threadIdx.x % 32;
  return values + lane % 16 * PaddedRow(kHeadDim) * 2 + static_cast<uint32_t>(lane / 16 * 16);
}
__device__ inline void AddValues(float (&left)[4], float (&right)[4], const uint32_t (&p)[4],
                                 uint32_t row, int column) {
  uint32_t v[4];
  LoadMatricesTransposed(v, row + column * 2);
  MmaBF16(left, p, v[0], v[1]);
  MmaBF16(right, p, v[2], v[3]);
}

// What a warp has summed up of a chunk, all columns of its rows.
template <int kHeadDim>
struct ChunkSums {
  static constexpr int kBlocks = kHeadDim / 8;

  float values[kBlocks][4];
  float max[2];
  float sum[2];  // this lane's part

  __device__ void Begin() {
#pragma unroll
    for (int block = 0; block < kBlocks; ++block)
      values[block][0] = values[block][1] = values[block][2] = values[block][3] = 0;
    max[0] = max[1] = -INFINITY;
    sum[0] = sum[1] = 0;
  }

  // A tile's scores become probabilities, and what was summed up relative to the new maximum.
  template <bool kMasked>
  __device__ void Softmax(WarpRows<kHeadDim>& rows, float scale_log2, const int (&n_keys)[2]) {
    float tile_max[2];
    rows.template TileMax<kMasked>(scale_log2, n_keys, tile_max);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const Join join(max[half], tile_max[half]);
      max[half] = join.max;
      sum[half] = JoinSum(sum[half], join, rows.Probabilities(scale_log2, half, join.base));
#pragma unroll
      for (int block = 0; block < kBlocks; ++block) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i)
          values[block][i] = __fmul_rn(values[block][i], join.rescale);
      }
    }
  }

  // Adds the values of the tile's keys 16 step to 16 step + 15, which lie at `keys`.
  __device__ void Add(const WarpRows<kHeadDim>& rows, int step, uint32_t keys) {
    uint32_t p[4];
    rows.Weights(step, p);
    const uint32_t row = ValueRow<kHeadDim>(keys);
#pragma unroll
    for (int block = 0; block < kBlocks; block += 2)
      AddValues(values[block], values[block + 1], p, row, block * 8);
  }
};

// ---- Prefill ------------------------------------------------------------------------------------

template <int kHeadDim, int kWarps>
struct Whole {
  static constexpr int kThreads = kWarps * 32;
  static constexpr int kRows = kWarps * kWarpRows;
  static constexpr int kTileBytes = kTileKeys * PaddedRow(kHeadDim) * 2;  // of K; V follows it
  static constexpr int kBuffers = 2;
  static constexpr int kSharedBytes = kBuffers * 2 * kTileBytes;
};

// Starts to copy K and V of kTileKeys keys. Keys past the sequence's last become 0: what their
// slots hold may be NaN, and 0 * NaN would reach the values.
template <int kHeadDim, int kThreads>
__device__ void CopyTile(const AttentionArgs& args, const Pages& pages, int first_key,
                         int kv_length, uint32_t to) {
  constexpr int kUnits = kHeadDim / 8;  // of 16 bytes, in a row
  constexpr int kTileBytes = kTileKeys * PaddedRow(kHeadDim) * 2;
  constexpr int kCopies = kTileKeys * kUnits;
#pragma unroll
  for (int j = 0; j < (kCopies + kThreads - 1) / kThreads; ++j) {
    const int i = threadIdx.x + j * kThreads;
    if (kCopies % kThreads != 0 && i >= kCopies) break;
    const int key = i / kUnits;
    const int unit = i % kUnits;
    const bool exists = first_key + key < kv_length;
    const int64_t from = exists ? pages.Offset(first_key + key) + unit * 8 : 0;
    const uint32_t at = to + key * PaddedRow(kHeadDim) * 2 + unit * 16;
    CopyAsync16(at, static_cast<const __nv_bfloat16*>(args.k_pages) + from, exists);
    CopyAsync16(at + kTileBytes, static_cast<const __nv_bfloat16*>(args.v_pages) + from, exists);
  }
}

// Grid: [row tiles x n_kv_heads], the heads of a tile side by side.
template <int kHeadDim, int kWarps>
__global__ void __launch_bounds__(kWarps * 32, kWarps == 4 ? 2 : 1)
    WholeKernel(AttentionArgs args, int n_tiles, int too_many_tokens) {
  using Shape = Whole<kHeadDim, kWarps>;
  using Rows = WarpRows<kHeadDim>;
  const int group = args.n_heads / args.n_kv_heads;
  const int kv_head = blockIdx.x % args.n_kv_heads;
  // The last tiles have the most keys: they start first.
  const RowTile tile =
      FindRowTile(args, n_tiles - 1 - blockIdx.x / args.n_kv_heads, Shape::kRows, too_many_tokens);
  if (tile.sequence < 0) return;
  const Sequence sequence = LoadSequence(args, tile.sequence);
  const Pages pages = PagesOf(args, sequence, kv_head);
  const int n_packed_rows = sequence.n_rows * group;
  const int tile_end = min(tile.first_row + Shape::kRows, n_packed_rows);
  const int n_keys = sequence.KeysOfRow(tile_end - 1, group);
  const float scale_log2 = args.scale * 1.44269504088896341f;

  extern __shared__ __align__(16) uint8_t shared[];
  const uint32_t buffers = SharedAddress(shared);
  constexpr int kBufferBytes = 2 * Shape::kTileBytes;

  CopyTile<kHeadDim, Shape::kThreads>(args, pages, 0, sequence.kv_length, buffers);
  CommitCopies();

  Rows rows;
  const int first_row = tile.first_row + static_cast<int>(threadIdx.x) / 32 * kWarpRows;
  rows.LoadQueries(args, sequence, kv_head, first_row, n_packed_rows);
  ChunkSums<kHeadDim> chunk;
  chunk.Begin();
  const int row_keys[2] = {sequence.KeysOfRow(first_row + Rows::Row(0), group),
                           sequence.KeysOfRow(first_row + Rows::Row(1), group)};
  // Tiles before the first are seen whole by all rows of the warp, those from the last on by none.
  const int all_see = sequence.KeysOfRow(first_row, group);
  const int any_sees =
      first_row < n_packed_rows ? sequence.KeysOfRow(first_row + kWarpRows - 1, group) : 0;

  float total[Rows::kBlocks][4] = {};
  RowFold fold[2];
  int buffer = 0;
  for (int first_key = 0; first_key < n_keys; first_key += kTileKeys) {
    WaitForCopies<0>();
    __syncthreads();  // The tile is there for all, and all have done with the other buffer.
    const uint32_t keys = buffers + buffer * kBufferBytes;
    const uint32_t values = keys + Shape::kTileBytes;
    buffer ^= 1;
    if (first_key + kTileKeys < n_keys) {
      CopyTile<kHeadDim, Shape::kThreads>(args, pages, first_key + kTileKeys, sequence.kv_length,
                                          buffers + buffer * kBufferBytes);
      CommitCopies();
    }

    if (first_key < any_sees) {
      rows.template Scores<0, kTileKeys>(keys);
      const int seen[2] = {row_keys[0] - first_key, row_keys[1] - first_key};
      if (first_key + kTileKeys <= all_see) {
        chunk.template Softmax<false>(rows, scale_log2, seen);
      } else {
        chunk.template Softmax<true>(rows, scale_log2, seen);
      }
#pragma unroll
      for (int step = 0; step < kTileKeys / 16; ++step)
        chunk.Add(rows, step, values + step * 16 * Rows::kRowBytes);
    }

    const int next_key = first_key + kTileKeys;
    if (next_key % kChunkKeys == 0 || next_key >= n_keys) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        fold[half].Begin(chunk.max[half], RowSum(chunk.sum[half]));
#pragma unroll
        for (int block = 0; block < Rows::kBlocks; ++block) {
#pragma unroll
          for (int i = 2 * half; i < 2 * half + 2; ++i)
            total[block][i] = fold[half].Fold(total[block][i], chunk.values[block][i]);
        }
      }
      chunk.Begin();
    }
  }

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = first_row + Rows::Row(half);
    if (row >= n_packed_rows) continue;
    auto* out = static_cast<__nv_bfloat16*>(args.out) + RowOffset(args, sequence, kv_head, row);
    const float norm = fold[half].Normalizer();
#pragma unroll
    for (int block = 0; block < Rows::kBlocks; ++block) {
      *reinterpret_cast<uint32_t*>(out + Rows::Column(block)) = PackBF16(
          __fmul_rn(total[block][2 * half], norm), __fmul_rn(total[block][2 * half + 1], norm));
    }
  }
}

template <int kHeadDim, int kWarps>
void LaunchWhole(const AttentionArgs& args, int too_many_tokens, cudaStream_t stream) {
  using Shape = Whole<kHeadDim, kWarps>;
  const int64_t group = args.n_heads / args.n_kv_heads;
  // Each sequence may have one tile that is not full; and with few tokens it has few tiles.
  const int64_t most_of_one =
      CeilDiv(std::min(args.max_rows, too_many_tokens) * group, Shape::kRows);
  const int n_tiles = static_cast<int>(
      std::min(args.n_tokens * group / Shape::kRows + args.n_seqs, args.n_seqs * most_of_one));
  const auto kernel = WholeKernel<kHeadDim, kWarps>;
  AIOS_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                       Shape::kSharedBytes));
  kernel<<<static_cast<unsigned>(n_tiles) * args.n_kv_heads, Shape::kThreads, Shape::kSharedBytes,
           stream>>>(args, n_tiles, too_many_tokens);
  AIOS_CUDA_CHECK_LAUNCH();
}

// ---- Decode -------------------------------------------------------------------------------------

// The keys and values of a chunk on their way through a ring of slots, in the order of use: for
// each tile of 64 keys the keys, then the values, 16 at a time.
template <int kHeadDim, int kSlots>
struct Ring {
  static constexpr int kSlotBytes = kSlotKeys * PaddedRow(kHeadDim) * 2;
  static constexpr int kParts = kTileKeys / kSlotKeys;

  const __nv_bfloat16* k_pages;
  const __nv_bfloat16* v_pages;
  int64_t offset;  // lane i: where the chunk's keys 16 i, 16 i + 1, ... lie
  int n_keys;      // of the chunk that exist
  uint32_t slots;
  int next = 0;        // the next copy
  int fill_slot = 0;   // where it goes
  int drain_slot = 0;  // which slot is used next

  __device__ void Copy() {
    const int tile = next / (2 * kParts);
    const int part = tile * kParts + next % kParts;
    const bool is_value = next / kParts % 2 != 0;
    const int64_t from = __shfl_sync(~0u, offset, part % 32);
    if (tile * kTileKeys < n_keys) {
      // 16 rows of a page lie one behind the other.
      const __nv_bfloat16* const rows = (is_value ? v_pages : k_pages) + from;
      const int existing = n_keys - part * kSlotKeys;
      constexpr int kUnits = kHeadDim / 8;
      const uint32_t to = slots + fill_slot * kSlotBytes;
#pragma unroll
      for (int j = 0; j < kSlotKeys * kUnits / 32; ++j) {
        const int i = threadIdx.x + j * 32;
        const int key = i / kUnits;
        const bool exists = key < existing;
        CopyAsync16(to + key * PaddedRow(kHeadDim) * 2 + i % kUnits * 16,
                    exists ? rows + i * 8 : k_pages, exists);
      }
    }
    CommitCopies();
    ++next;
    fill_slot = fill_slot + 1 == kSlots ? 0 : fill_slot + 1;
  }

  // Where the next slot's numbers are, once they are there; and the slot used before it is filled.
  __device__ uint32_t Next() {
    WaitForCopies<kSlots - 2>();
    __syncwarp();
    Copy();
    const uint32_t slot = slots + drain_slot * kSlotBytes;
    drain_slot = drain_slot + 1 == kSlots ? 0 : drain_slot + 1;
    return slot;
  }
};

// Grid: [chunks, n_kv_heads, n_seqs], a warp each.
template <int kHeadDim, int kSlots>
__global__ void __launch_bounds__(32) SplitKernel(AttentionArgs args, Partials partials) {
  using Rows = WarpRows<kHeadDim>;
  using ChunkRing = Ring<kHeadDim, kSlots>;
  const int group = args.n_heads / args.n_kv_heads;
  const int chunk = blockIdx.x;
  const int kv_head = blockIdx.y;
  const Sequence sequence = LoadSequence(args, blockIdx.z);
  const int n_rows = sequence.n_rows * group;
  const int n_keys = min(sequence.kv_length - chunk * kChunkKeys, kChunkKeys);
  if (n_rows == 0 || n_rows > kSplitRows || n_keys <= 0) return;
  LetNextKernelStart();  // The fold, which waits for our results.

  extern __shared__ __align__(16) uint8_t shared[];
  const Pages pages = PagesOf(args, sequence, kv_head);
  const int my_key = static_cast<int>(threadIdx.x) * kSlotKeys;
  ChunkRing ring = {static_cast<const __nv_bfloat16*>(args.k_pages),
                    static_cast<const __nv_bfloat16*>(args.v_pages),
                    my_key < n_keys ? pages.Offset(chunk * kChunkKeys + my_key) : 0, n_keys,
                    SharedAddress(shared)};
#pragma unroll
  for (int i = 0; i < kSlots - 1; ++i) ring.Copy();

  Rows rows;
  rows.LoadQueries(args, sequence, kv_head, 0, n_rows);
  ChunkSums<kHeadDim> sums;
  sums.Begin();
  const float scale_log2 = args.scale * 1.44269504088896341f;
  const int first_key = chunk * kChunkKeys;
  const int row_keys[2] = {sequence.KeysOfRow(Rows::Row(0), group) - first_key,
                           sequence.KeysOfRow(Rows::Row(1), group) - first_key};
  const int all_see = sequence.KeysOfRow(0, group) - first_key;

#pragma unroll 1
  for (int tile = 0; tile < n_keys; tile += kTileKeys) {
    rows.template Scores<0, 16>(ring.Next());
    rows.template Scores<16, 16>(ring.Next());
    rows.template Scores<32, 16>(ring.Next());
    rows.template Scores<48, 16>(ring.Next());
    const int seen[2] = {row_keys[0] - tile, row_keys[1] - tile};
    if (tile + kTileKeys <= all_see) {
      sums.template Softmax<false>(rows, scale_log2, seen);
    } else {
      sums.template Softmax<true>(rows, scale_log2, seen);
    }
#pragma unroll
    for (int step = 0; step < kTileKeys / 16; ++step) sums.Add(rows, step, ring.Next());
  }

  const int64_t first_slot =
      partials.Slot(static_cast<int64_t>(sequence.index) * args.n_kv_heads + kv_head, chunk, 0);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float sum = RowSum(sums.sum[half]);
    if (Rows::Row(half) >= n_rows) continue;
    const int64_t slot = first_slot + Rows::Row(half);
    if (threadIdx.x % 4 == 0) partials.stats[slot] = {sums.max[half], sum};
    float* const to = partials.values + slot * kHeadDim;
#pragma unroll
    for (int block = 0; block < Rows::kBlocks; ++block) {
      *reinterpret_cast<float2*>(to + Rows::Column(block)) = {sums.values[block][2 * half],
                                                              sums.values[block][2 * half + 1]};
    }
  }
}

template <int kHeadDim, int kSlots>
void LaunchSplit(const AttentionArgs& args, cudaStream_t stream) {
  const Partials partials = PartialsIn(args);
  constexpr int kSharedBytes = kSlots * Ring<kHeadDim, kSlots>::kSlotBytes;
  const auto kernel = SplitKernel<kHeadDim, kSlots>;
  AIOS_CUDA_CHECK(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes));
  const dim3 grid(partials.n_chunks, args.n_kv_heads, args.n_seqs);
  kernel<<<grid, 32, kSharedBytes, stream>>>(args, partials);
  AIOS_CUDA_CHECK_LAUNCH();
}

// ---- Decode, few chunks -------------------------------------------------------------------------

// A short context of a single sequence has fewer chunks than the GPU has multiprocessors, and then
// a chunk's time counts, not its share of the bandwidth. Four warps have it, each a tile: all keys
// and values are asked for at once; each warp makes the scores of its tile; then, the tiles' maxima
// being known, its probabilities, which are passed around in shared memory; then each warp adds up
// all values, of a quarter of the columns. Tile after tile as ever: the bits are those of one warp.
// Two waits for memory instead of 32.
template <int kHeadDim, bool kAtOnce>
struct Spread {
  static constexpr int kWarps = kChunkKeys / kTileKeys;
  static constexpr int kRowBytes = PaddedRow(kHeadDim) * 2;
  static constexpr int kPairs = kHeadDim / 16;  // of blocks of 8 columns
  static constexpr int kPairsOfWarp = (kPairs + kWarps - 1) / kWarps;

  struct Shared {
    uint8_t keys[kChunkKeys * kRowBytes];
    uint8_t values[kAtOnce ? kChunkKeys * kRowBytes : 16];  // else where the keys were
    uint4 weights[kWarps][kTileKeys / 16][32];              // fragments of the lanes
    float max[kWarps][kWarpRows];                           // of tiles
    float sum[kWarps][2][32];                               // of tiles, parts of the lanes
  };
};

// Grid: [chunks, n_kv_heads, n_seqs].
template <int kHeadDim, bool kAtOnce>
__global__ void __launch_bounds__(Spread<kHeadDim, kAtOnce>::kWarps * 32)
    SpreadKernel(AttentionArgs args, Partials partials) {
  using Shape = Spread<kHeadDim, kAtOnce>;
  using Rows = WarpRows<kHeadDim>;
  constexpr int kUnits = kHeadDim / 8;
  const int group = args.n_heads / args.n_kv_heads;
  const int chunk = blockIdx.x;
  const int kv_head = blockIdx.y;
  const Sequence sequence = LoadSequence(args, blockIdx.z);
  const int n_rows = sequence.n_rows * group;
  const int first_key = chunk * kChunkKeys;
  const int n_keys = min(sequence.kv_length - first_key, kChunkKeys);
  if (n_rows == 0 || n_rows > kSplitRows || n_keys <= 0) return;
  LetNextKernelStart();  // The fold, which waits for our results.

  extern __shared__ __align__(16) uint8_t shared_bytes[];
  auto& shared = *reinterpret_cast<typename Shape::Shared*>(shared_bytes);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int tile = warp * kTileKeys;
  const uint32_t keys = SharedAddress(shared.keys);
  const uint32_t values = SharedAddress(kAtOnce ? shared.values : shared.keys);

  const Pages pages = PagesOf(args, sequence, kv_head);
  const int my_key = tile + lane % (kTileKeys / kSlotKeys) * kSlotKeys;
  const int64_t my_offset = my_key < n_keys ? pages.Offset(first_key + my_key) : 0;
  const auto copy_tile = [&](const void* pages_of, uint32_t to) {
    const auto* const numbers = static_cast<const __nv_bfloat16*>(pages_of);
#pragma unroll
    for (int part = 0; part < kTileKeys / kSlotKeys; ++part) {
      const int64_t from = __shfl_sync(~0u, my_offset, part);
#pragma unroll
      for (int j = 0; j < kSlotKeys * kUnits / 32; ++j) {
        const int i = lane + j * 32;
        const int key = tile + part * kSlotKeys + i / kUnits;
        CopyAsync16(to + key * Shape::kRowBytes + i % kUnits * 16,
                    numbers + (key < n_keys ? from + i * 8 : 0), key < n_keys);
      }
    }
    CommitCopies();
  };
  copy_tile(args.k_pages, keys);
  if (kAtOnce) copy_tile(args.v_pages, values);

  Rows rows;
  rows.LoadQueries(args, sequence, kv_head, 0, n_rows);
  const float scale_log2 = args.scale * 1.44269504088896341f;
  WaitForCopies<kAtOnce ? 1 : 0>();
  __syncwarp();
  rows.template Scores<0, kTileKeys>(keys + tile * Shape::kRowBytes);
  if (!kAtOnce) {
    __syncwarp();  // All lanes have read the tile's keys.
    copy_tile(args.v_pages, values);
  }
  const int seen[2] = {sequence.KeysOfRow(Rows::Row(0), group) - first_key - tile,
                       sequence.KeysOfRow(Rows::Row(1), group) - first_key - tile};
  float tile_max[2];
  rows.template TileMax<true>(scale_log2, seen, tile_max);
  if (lane % 4 == 0) {
    shared.max[warp][Rows::Row(0)] = tile_max[0];
    shared.max[warp][Rows::Row(1)] = tile_max[1];
  }
  __syncthreads();

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float max_before = -INFINITY;
    for (int t = 0; t < warp; ++t) max_before = fmaxf(max_before, shared.max[t][Rows::Row(half)]);
    const Join join(max_before, tile_max[half]);
    shared.sum[warp][half][lane] = rows.Probabilities(scale_log2, half, join.base);
  }
#pragma unroll
  for (int step = 0; step < kTileKeys / 16; ++step) {
    uint32_t p[4];
    rows.Weights(step, p);
    shared.weights[warp][step][lane] = {p[0], p[1], p[2], p[3]};
  }
  WaitForCopies<0>();
  __syncthreads();  // The values are there, and the probabilities.

  float sums[Shape::kPairsOfWarp][2][4] = {};
  float max[2] = {-INFINITY, -INFINITY};
  float sum[2] = {};
  const int n_tiles = (n_keys + kTileKeys - 1) / kTileKeys;
  for (int t = 0; t < n_tiles; ++t) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const Join join(max[half], shared.max[t][Rows::Row(half)]);
      max[half] = join.max;
      sum[half] = JoinSum(sum[half], join, shared.sum[t][half][lane]);
#pragma unroll
      for (int i = 0; i < Shape::kPairsOfWarp; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          float& x = sums[i][j / 2][2 * half + j % 2];
          x = __fmul_rn(x, join.rescale);
        }
      }
    }
#pragma unroll
    for (int step = 0; step < kTileKeys / 16; ++step) {
      const uint4 fragment = shared.weights[t][step][lane];
      const uint32_t p[4] = {fragment.x, fragment.y, fragment.z, fragment.w};
      const uint32_t row =
          ValueRow<kHeadDim>(values + (t * kTileKeys + step * 16) * Shape::kRowBytes);
#pragma unroll
      for (int i = 0; i < Shape::kPairsOfWarp; ++i) {
        const int pair = warp + i * Shape::kWarps;
        if (pair < Shape::kPairs) AddValues(sums[i][0], sums[i][1], p, row, pair * 16);
      }
    }
  }

  const int64_t first_slot =
      partials.Slot(static_cast<int64_t>(sequence.index) * args.n_kv_heads + kv_head, chunk, 0);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float row_sum = RowSum(sum[half]);
    if (Rows::Row(half) >= n_rows) continue;
    const int64_t slot = first_slot + Rows::Row(half);
    if (threadIdx.x < 32 && lane % 4 == 0) partials.stats[slot] = {max[half], row_sum};
#pragma unroll
    for (int i = 0; i < Shape::kPairsOfWarp; ++i) {
      const int pair = warp + i * Shape::kWarps;
      if (pair >= Shape::kPairs) continue;
#pragma unroll
      for (int side = 0; side < 2; ++side) {
        *reinterpret_cast<float2*>(partials.values + slot * kHeadDim +
                                   Rows::Column(2 * pair + side)) = {sums[i][side][2 * half],
                                                                     sums[i][side][2 * half + 1]};
      }
    }
  }
}

template <int kHeadDim, bool kAtOnce>
void LaunchSpread(const AttentionArgs& args, cudaStream_t stream) {
  const Partials partials = PartialsIn(args);
  constexpr int kSharedBytes = sizeof(typename Spread<kHeadDim, kAtOnce>::Shared);
  const auto kernel = SpreadKernel<kHeadDim, kAtOnce>;
  AIOS_CUDA_CHECK(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes));
  const dim3 grid(partials.n_chunks, args.n_kv_heads, args.n_seqs);
  kernel<<<grid, Spread<kHeadDim, kAtOnce>::kWarps * 32, kSharedBytes, stream>>>(args, partials);
  AIOS_CUDA_CHECK_LAUNCH();
}

#ifndef AIOS_ATTENTION_WARPS
#define AIOS_ATTENTION_WARPS 8
#define AIOS_ATTENTION_SLOTS 5
#endif
#ifndef AIOS_SPREAD
#define AIOS_SPREAD 10000
#define AIOS_AT_ONCE 1
#endif

template <int kHeadDim>
void Launch(const AttentionArgs& args, const AttentionPlan& plan, cudaStream_t stream) {
  if (plan.split) {
    const int64_t n_chunks =
        static_cast<int64_t>(PartialsIn(args).n_chunks) * args.n_kv_heads * args.n_seqs;
    if (n_chunks <= plan.n_sms * AIOS_AT_ONCE) {
      LaunchSpread<kHeadDim, true>(args, stream);
    } else if (n_chunks <= plan.n_sms * AIOS_SPREAD) {
      LaunchSpread<kHeadDim, false>(args, stream);
    } else {
      LaunchSplit<kHeadDim, AIOS_ATTENTION_SLOTS>(args, stream);
    }
  }
  if (plan.whole) LaunchWhole<kHeadDim, AIOS_ATTENTION_WARPS>(args, plan.too_many_tokens, stream);
}

}  // namespace

bool MmaAttentionSupports(const AttentionArgs& args) {
  const int head_dim = args.head_dim;
  return args.dtype == Format::kBF16 && args.page_size >= kSlotKeys &&
         (head_dim == 64 || head_dim == 80 || head_dim == 96 || head_dim == 128);
}

void LaunchMmaAttention(const AttentionArgs& args, const AttentionPlan& plan, cudaStream_t stream) {
  switch (args.head_dim) {
    case 64:
      return Launch<64>(args, plan, stream);
    case 80:
      return Launch<80>(args, plan, stream);
    case 96:
      return Launch<96>(args, plan, stream);
    default:
      return Launch<128>(args, plan, stream);
  }
}

}  // namespace aios::kernels::cuda
