// Decode on tensor cores: four warps have a chunk of 256 keys, for the 1 to 16 packed rows of a
// sequence and kv head. 12 or more of the 16 rows of a multiplication are often empty; it does not
// matter, since the time is that of reading the keys. All is done for these reads: each warp asks
// for all keys of its tile of 64 at once, and makes their scores; then, the tiles' maxima being
// known, its probabilities, which are passed around in shared memory; then each warp adds up all
// values, of a quarter of the columns. Tile after tile as ever: the bits are those of a prefill.
//
// Two blocks fit on a multiprocessor, 128 KB of keys or values, of which much is on its way at any
// moment; 25 KB would cover the memory's latency (4.7 TB/s x 0.7 us / 132). When there are no more
// chunks than multiprocessors, as in short contexts of a single sequence, a chunk's time counts and
// not its share of the bandwidth: then values are asked for along with the keys (kAtOnce).
//
// Measured on an H200 and not kept: one warp a chunk, with a ring of 16-key slots, eight chunks a
// multiprocessor. Up to 4% faster in large batches, a quarter slower at 8k keys of one sequence.
#include <cstdint>

#include "kernels/cuda/attention_common.cuh"
#include "kernels/cuda/attention_mma.cuh"
#include "kernels/cuda/check.h"
#include "kernels/cuda/pdl.cuh"

namespace aios::kernels::cuda {
namespace {

template <int kHeadDim, bool kAtOnce>
struct Decode {
  static constexpr int kWarps = kChunkKeys / kTileKeys;
  static constexpr int kRowBytes = MmaPaddedRow(kHeadDim) * 2;
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
__global__ void __launch_bounds__(Decode<kHeadDim, kAtOnce>::kWarps * 32)
    DecodeKernel(AttentionArgs args, Partials partials) {
  using Shape = Decode<kHeadDim, kAtOnce>;
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
  const int my_key = tile + lane % (kTileKeys / kStepKeys) * kStepKeys;
  const int64_t my_offset = my_key < n_keys ? pages.Offset(first_key + my_key) : 0;
  const auto copy_tile = [&](const void* pages_of, uint32_t to) {
    const auto* const numbers = static_cast<const __nv_bfloat16*>(pages_of);
#pragma unroll
    for (int part = 0; part < kTileKeys / kStepKeys; ++part) {
      const int64_t from = __shfl_sync(~0u, my_offset, part);
#pragma unroll
      for (int j = 0; j < kStepKeys * kUnits / 32; ++j) {
        const int i = lane + j * 32;
        const int key = tile + part * kStepKeys + i / kUnits;
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
void LaunchDecode(const AttentionArgs& args, cudaStream_t stream) {
  const Partials partials = PartialsIn(args);
  constexpr int kSharedBytes = sizeof(typename Decode<kHeadDim, kAtOnce>::Shared);
  const auto kernel = DecodeKernel<kHeadDim, kAtOnce>;
  AIOS_CUDA_CHECK(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes));
  const dim3 grid(partials.n_chunks, args.n_kv_heads, args.n_seqs);
  kernel<<<grid, Decode<kHeadDim, kAtOnce>::kWarps * 32, kSharedBytes, stream>>>(args, partials);
  AIOS_CUDA_CHECK_LAUNCH();
}

template <int kHeadDim>
void LaunchFor(const AttentionArgs& args, const AttentionPlan& plan, cudaStream_t stream) {
  const int64_t n_chunks =
      static_cast<int64_t>(PartialsIn(args).n_chunks) * args.n_kv_heads * args.n_seqs;
  int device = 0, most_shared_bytes = 0;  // 227 KB on Hopper; on some Ampere and Ada GPUs 99
  AIOS_CUDA_CHECK(cudaGetDevice(&device));
  AIOS_CUDA_CHECK(
      cudaDeviceGetAttribute(&most_shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  const bool has_room =
      static_cast<int>(sizeof(typename Decode<kHeadDim, true>::Shared)) <= most_shared_bytes;
  if (has_room && n_chunks <= plan.n_sms) {
    LaunchDecode<kHeadDim, true>(args, stream);
  } else {
    LaunchDecode<kHeadDim, false>(args, stream);
  }
}

}  // namespace

void LaunchMmaDecode(const AttentionArgs& args, const AttentionPlan& plan, cudaStream_t stream) {
  switch (args.head_dim) {
    case 64:
      return LaunchFor<64>(args, plan, stream);
    case 80:
      return LaunchFor<80>(args, plan, stream);
    case 96:
      return LaunchFor<96>(args, plan, stream);
    default:
      return LaunchFor<128>(args, plan, stream);
  }
}

}  // namespace aios::kernels::cuda
