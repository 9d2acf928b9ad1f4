// Prefill attention for Hopper, after FlashAttention-3 (Shah et al. 2024, arXiv 2407.08608).
//
// A block has three warpgroups. One warp of the first is the producer: it finds the next tile of
// 128 rows of one head, and keeps the ring of K and V tiles (128 keys each) in shared memory full
// by TMA, page by page. The two others are consumers of 64 rows each:
//
//     S = Q K_0^T;  P = softmax numerators of S
//     for j = 1, 2, ...:
//       S = Q K_j^T          wgmma, in flight together with
//       O += P V_(j-1)       wgmma, P from registers
//       P = numerators of S  once S is there, while P V still runs
//       O *= how far the maximum moved
//     O += P V_last
//
// The tensor cores are busy in two ways while exponentials are computed (on Hopper, those of a tile
// take as long as its products): with the P V of the same warpgroup, and with the products of the
// other, for the two take turns to issue theirs, so that one's softmax falls on the other's
// products. The second is what counts: the compiler moves the wait for P V up among the maxima,
// which leaves the rescaling of O and the rounding of P to be mixed with the exponentials, and
// where it was kept from that, all was 6% slower. Taking turns is worth 1 to 3%.
//
// Row tiles are aligned to positions: tile t of a sequence holds its rows at positions 128 t to
// 128 t + 127, whether the step begins in the middle or not. So only a row's last key tile is
// masked, always along the same diagonal; key 0 is in the first tile, so that no row is ever
// without a maximum; and a row's bits depend on nothing but its position and keys. (Rows before the
// step or past it are computed from what lies there and not stored.)
#include <cuda.h>
#include <cuda_bf16.h>

#include <algorithm>
#include <array>
#include <climits>
#include <stdexcept>
#include <type_traits>

#include "kernels/cuda/attention_prefill_sm90.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/page_division.cuh"

namespace aios::kernels::cuda {

#ifdef AIOS_CUDA_SM90A

#if defined(__CUDA_ARCH__) && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
#pragma nv_diag_suppress 177  // For other GPUs the kernel is empty, and all it would call unused.
#endif

namespace {

using namespace hopper;

constexpr int kTile = 128;     // rows of a tile, and keys of a tile
constexpr int kConsumers = 2;  // warpgroups of 64 rows
constexpr int kThreads = 128 * (1 + kConsumers);
constexpr int kSwizzleColumns = 64;  // 128 bytes of bf16: how wide a swizzled box can be

// Registers a thread: O and S are 64 f32 each and P 32 at head_dim 128; the producer needs few.
// They are handed over from what the launch gave each thread, 168: asking for more waits forever.
constexpr int kProducerRegisters = 24;
constexpr int kConsumerRegisters = 240;
static_assert(kProducerRegisters + kConsumers * kConsumerRegisters <= 168 * (1 + kConsumers));

struct Params {
  CUtensorMap q;  // [n_tokens, n_heads, head_dim], boxes of [128, 1, 64]
  CUtensorMap k;  // [pages, n_kv_heads, page_size, head_dim], boxes of [1, 1, box_keys, 64]
  CUtensorMap v;

  __nv_bfloat16* out;
  const int32_t* page_table;
  const int32_t* seq_offsets;
  int first_row;
  const int32_t* kv_lengths;
  int page_table_stride;
  int n_seqs;
  int n_heads;
  int group;  // query heads of a kv head
  PageDivision paging{1};
  int box_keys;
  int section;  // heads that are computed side by side, see FindTile
  int min_rows;
  float scale_log2;  // scale * log2(e): exp(scale x) is one exp2
  int* counter;      // tiles taken beyond the first of each block; null: a block computes only one
};

struct Tile {
  int sequence;  // -1: none
  int head;
  int n_key_tiles;  // The last one is at the rows' own positions. 0: no more tiles
  int kv_length;
  int first_row;    // of the sequence in this step: the rows before it in the tile are not stored
  int first_token;  // the row of q that the tile's row 0 would be: may be negative
};

// A tile of `kTile` rows of head_dim columns is kept as [head_dim / 64][kTile][64], swizzled.
template <int kHeadDim, int kStages>
struct alignas(1024) Shared {
  static constexpr int kTileBytes = kTile * kHeadDim * 2;
  uint8_t q[kTileBytes];
  uint8_t k[kStages][kTileBytes];
  uint8_t v[kStages][kTileBytes];
  uint64_t q_full, q_empty;
  uint64_t k_full[kStages], k_empty[kStages];
  uint64_t v_full[kStages], v_empty[kStages];
  Tile tile;  // goes with q
};

// A place in a ring of stages: which one, and which parity its barriers have this time around.
template <int kStages>
struct Place {
  int stage = 0;
  uint32_t parity = 0;
  __device__ void Next() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

// ---- The producer
// --------------------------------------------------------------------------------

// Tile number `index` of the batch. Sequences come one after the other; in each, sections of heads,
// whose keys and values together fit the L2; in a section, the long tiles (the last rows) first, so
// that the short ones fill the gaps at the end; heads that share keys side by side. A warp calls
// this together.
__device__ inline Tile FindTile(const Params& params, int index) {
  const int lane = threadIdx.x % 32;
  for (int begin = 0; begin < params.n_seqs; begin += 32) {
    const int s = begin + lane;
    int first_token = 0, n_rows = 0, kv_length = 0, n_tiles = 0;
    if (s < params.n_seqs) {
      first_token = params.seq_offsets[s] - params.first_row;
      n_rows = params.seq_offsets[s + 1] - params.seq_offsets[s];
      kv_length = params.kv_lengths[s];
      if (n_rows >= params.min_rows && n_rows > 0) {
        n_tiles = ((kv_length + kTile - 1) / kTile - (kv_length - n_rows) / kTile) * params.n_heads;
      }
    }
    int end = n_tiles;  // Becomes the number of tiles of sequences begin to s.
    for (int offset = 1; offset < 32; offset *= 2) {
      const int other = __shfl_up_sync(~0u, end, offset);
      if (lane >= offset) end += other;
    }
    const unsigned past = __ballot_sync(~0u, index < end);
    if (past == 0) {
      index -= __shfl_sync(~0u, end, 31);
      continue;
    }
    const int owner = __ffs(past) - 1;
    index -= __shfl_sync(~0u, end - n_tiles, owner);
    n_tiles = __shfl_sync(~0u, n_tiles, owner) / params.n_heads;
    n_rows = __shfl_sync(~0u, n_rows, owner);
    kv_length = __shfl_sync(~0u, kv_length, owner);
    first_token = __shfl_sync(~0u, first_token, owner);

    const int section = index / (n_tiles * params.section);
    index -= section * n_tiles * params.section;
    const int n_key_tiles = (kv_length + kTile - 1) / kTile - index / params.section;
    const int start = kv_length - n_rows;  // position of the step's first row
    const int position = (n_key_tiles - 1) * kTile;
    return {begin + owner,    section * params.section + index % params.section,
            n_key_tiles,      kv_length,
            start - position, first_token + position - start};
  }
  return {-1, 0, 0, 0, 0, 0};
}

template <int kHeadDim, int kStages>
__device__ void Produce(const Params& params, Shared<kHeadDim, kStages>& shared) {
  constexpr int kHalves = kHeadDim / kSwizzleColumns;
  constexpr int kTileBytes = Shared<kHeadDim, kStages>::kTileBytes;
  const int lane = threadIdx.x % 32;

  // Each lane loads one box of a tile: so many keys of one page, half of the columns.
  const int box_keys = params.box_keys;
  const int n_boxes = (kTile / box_keys) * kHalves;
  const int box_key = lane / kHalves * box_keys;  // within the tile
  const int box_column = lane % kHalves * kSwizzleColumns;
  const int box_offset = (lane % kHalves * kTile + box_key) * kSwizzleColumns * 2;

  Place<kStages> k_place, v_place;
  int index = blockIdx.x;
  for (uint32_t q_parity = 0;; q_parity ^= 1) {
    const Tile tile = FindTile(params, index);
    int taken = 0;
    if (params.counter != nullptr && lane == 0) taken = atomicAdd(params.counter, 1);

    Wait(&shared.q_empty, q_parity ^ 1);
    if (lane == 0) {
      shared.tile = tile;
      if (tile.sequence < 0) {
        Arrive(&shared.q_full);
      } else {
        ArriveExpectTx(&shared.q_full, kTileBytes);
      }
    }
    __syncwarp();
    if (tile.sequence < 0) return;
    if (lane < kHalves) {
      TmaLoad3D(shared.q + lane * kTile * kSwizzleColumns * 2, &params.q, &shared.q_full,
                lane * kSwizzleColumns, tile.head, tile.first_token);
    }

    // A page past the end is not looked up: page -1 is outside of the tensor and arrives as zeros.
    const int32_t* pages =
        params.page_table + static_cast<int64_t>(tile.sequence) * params.page_table_stride;
    const int kv_head = tile.head / params.group;
    auto page_of = [&](int position) {
      return lane < n_boxes && position < tile.kv_length ? pages[params.paging.Page(position)] : -1;
    };
    auto load = [&](uint8_t* stage, const CUtensorMap& map, uint64_t* full, int position,
                    int page) {
      if (lane == 0) ArriveExpectTx(full, kTileBytes);
      __syncwarp();
      if (lane < n_boxes) {
        TmaLoad4D(stage + box_offset, &map, full, box_column,
                  params.paging.Slot(position, params.paging.Page(position)), kv_head, page);
      }
    };
    int page = page_of(box_key);
    int v_page = page;
    for (int j = 0; j <= tile.n_key_tiles; ++j) {
      const int position = j * kTile + box_key;
      const int next_page = j + 1 < tile.n_key_tiles ? page_of(position + kTile) : -1;
      if (j < tile.n_key_tiles) {
        Wait(&shared.k_empty[k_place.stage], k_place.parity ^ 1);
        load(shared.k[k_place.stage], params.k, &shared.k_full[k_place.stage], position, page);
        k_place.Next();
      }
      if (j > 0) {
        Wait(&shared.v_empty[v_place.stage], v_place.parity ^ 1);
        load(shared.v[v_place.stage], params.v, &shared.v_full[v_place.stage], position - kTile,
             v_page);
        v_place.Next();
      }
      v_page = page;
      page = next_page;
    }

    index = params.counter == nullptr ? INT_MAX
                                      : static_cast<int>(gridDim.x) + __shfl_sync(~0u, taken, 0);
  }
}

// ---- The consumers
// -------------------------------------------------------------------------------

__device__ inline float Exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ inline uint32_t Pack(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

__device__ inline float QuadMax(float x) {
  x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
  return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}
__device__ inline float QuadSum(float x) {
  x += __shfl_xor_sync(~0u, x, 1);
  return x + __shfl_xor_sync(~0u, x, 2);
}

// The thread's two rows.
struct Rows {
  float max[2] = {-INFINITY, -INFINITY};  // of the scores, before scale
  float sum[2] = {0, 0};                  // of the numerators in this thread's columns
  float rescale[2];                       // from the maximum before, to this one
};

// Scores to numerators, relative to the running maximum.
__device__ inline void Softmax(float (&s)[64], Rows& rows, float scale_log2) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float max[2] = {s[2 * r], s[2 * r + 1]};
#pragma unroll
    for (int j = 1; j < 16; ++j) {
      max[0] = fmaxf(max[0], s[4 * j + 2 * r]);
      max[1] = fmaxf(max[1], s[4 * j + 2 * r + 1]);
    }
    const float new_max = fmaxf(rows.max[r], QuadMax(fmaxf(max[0], max[1])));
    const float base = new_max * scale_log2;
    rows.rescale[r] = Exp2(__fmaf_rn(rows.max[r], scale_log2, -base));
    rows.max[r] = new_max;
    float sum[2] = {0, 0};
#pragma unroll
    for (int j = 0; j < 16; ++j) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float& x = s[4 * j + 2 * r + e];
        x = Exp2(__fmaf_rn(x, scale_log2, -base));
        sum[e] += x;
      }
    }
    rows.sum[r] = __fmaf_rn(rows.sum[r], rows.rescale[r], sum[0] + sum[1]);
  }
}

// The rows are at the keys' own positions: key 8 j + 2 (lane % 4) + e is seen up to the row's own.
__device__ inline void MaskDiagonal(float (&s)[64], int first_row) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int limit = first_row + lane / 4 + 8 * r - 2 * (lane % 4);
#pragma unroll
    for (int j = 0; j < 16; ++j) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float& x = s[4 * j + 2 * r + e];
        if (8 * j + e > limit) x = -INFINITY;
      }
    }
  }
}

// Slots past the sequence's end may be NaN, and 0 * NaN is NaN: they become 0. Each warpgroup does
// it for itself, writing what the other one writes.
template <int kHeadDim>
__device__ inline void ZeroValues(uint8_t* v, int n_keys, int warpgroup) {
  constexpr int kRowUnits = kSwizzleColumns * 2 / 16;
  const int units = (kTile - n_keys) * kRowUnits;
  for (int half = 0; half < kHeadDim / kSwizzleColumns; ++half) {
    uint4* const first = reinterpret_cast<uint4*>(v) + (half * kTile + n_keys) * kRowUnits;
    for (int i = threadIdx.x % 128; i < units; i += 128) first[i] = make_uint4(0, 0, 0, 0);
  }
  FenceAsyncProxy();
  NamedBarrierSync(3 + warpgroup, 128);
}

// Rows of O to `out`. A lane's 4 columns in 4 groups of 8 become, by a transposition among the 4
// lanes of a row, the 8 columns of one group: 16 bytes at once.
template <int kHeadDim>
__device__ inline void StoreRows(const Params& params, const Tile& tile, int first_row,
                                 const float (&o)[kHeadDim / 2], const Rows& rows) {
  const int lane = threadIdx.x % 32;
  const int quarter = lane % 4;
  const int end_row = tile.kv_length - (tile.n_key_tiles - 1) * kTile;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int row = first_row + lane / 4 + 8 * r;
    const float norm = __frcp_rn(QuadSum(rows.sum[r]));
    const int64_t token = tile.first_token + row;
    __nv_bfloat16* const out =
        params.out + (token * params.n_heads + tile.head) * kHeadDim + 8 * quarter;
#pragma unroll
    for (int m = 0; m < kHeadDim / 32; ++m) {
      uint32_t x[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int d = 4 * (4 * m + i) + 2 * r;
        x[i] = Pack(o[d] * norm, o[d + 1] * norm);
      }
#pragma unroll
      for (int step = 1; step < 4; step *= 2) {
        const bool upper = quarter & step;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if (i & step) continue;
          const uint32_t sent = upper ? x[i] : x[i + step];
          const uint32_t got = __shfl_xor_sync(~0u, sent, step);
          (upper ? x[i] : x[i + step]) = got;
        }
      }
      if (row >= tile.first_row && row < end_row) {
        *reinterpret_cast<uint4*>(out + 32 * m) = make_uint4(x[0], x[1], x[2], x[3]);
      }
    }
  }
}

template <int kHeadDim, int kStages>
__device__ void Consume(const Params& params, Shared<kHeadDim, kStages>& shared, int warpgroup) {
  constexpr int kHalfBytes = kTile * kSwizzleColumns * 2;
  const bool elected = threadIdx.x % 32 == 0;
  const int first_row = 64 * warpgroup + threadIdx.x % 128 / 32 * 16;  // of the warp, in the tile
  const uint8_t* const q = shared.q + 64 * warpgroup * kSwizzleColumns * 2;

  float s[64];
  float o[kHeadDim / 2];
  uint32_t p[8][4];

  auto issue_scores = [&](int stage) {
#pragma unroll
    for (int d = 0; d < kHeadDim; d += 16) {
      const int offset = d / kSwizzleColumns * kHalfBytes + d % kSwizzleColumns * 2;
      WgmmaSS<kTile>(s, Descriptor(q + offset), Descriptor(shared.k[stage] + offset), d > 0);
    }
    WgmmaCommit();
  };
  auto issue_values = [&](int stage) {
#pragma unroll
    for (int i = 0; i < kTile / 16; ++i) {
      const uint8_t* const v = shared.v[stage] + i * 16 * kSwizzleColumns * 2;
      WgmmaRS<kHeadDim, /*kTransposeB=*/true>(o, p[i], Descriptor(v, kHalfBytes));
    }
    WgmmaCommit();
  };
  auto pack = [&] {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
#pragma unroll
      for (int k = 0; k < 4; ++k) p[i][k] = Pack(s[8 * i + 2 * k], s[8 * i + 2 * k + 1]);
    }
  };
  auto release = [&](uint64_t* empty) {
    if (elected) Arrive(empty);
  };

  // Turns to issue products: barrier 1 + warpgroup opens when the other one has issued its own.
  const int my_turn = 1 + warpgroup;
  const int other_turn = 2 - warpgroup;
  if (warpgroup == 1) NamedBarrierArrive(other_turn, 256);

  Place<kStages> k_place, v_place;
  for (uint32_t q_parity = 0;; q_parity ^= 1) {
    Wait(&shared.q_full, q_parity);
    const Tile tile = shared.tile;
    if (tile.n_key_tiles == 0) return;
    Rows rows;
#pragma unroll
    for (int i = 0; i < kHeadDim / 2; ++i) o[i] = 0;

    Wait(&shared.k_full[k_place.stage], k_place.parity);
    WgmmaFence();
    issue_scores(k_place.stage);
    WgmmaWait<0>();
    PinRegisters(s);
    release(&shared.k_empty[k_place.stage]);
    k_place.Next();
    if (tile.n_key_tiles == 1) {
      Arrive(&shared.q_empty);
      MaskDiagonal(s, first_row);
    }
    Softmax(s, rows, params.scale_log2);
    pack();

    auto step = [&](auto last) {
      Wait(&shared.k_full[k_place.stage], k_place.parity);
      NamedBarrierSync(my_turn, 256);
      WgmmaFence();
      issue_scores(k_place.stage);
      Wait(&shared.v_full[v_place.stage], v_place.parity);
      WgmmaFence();
      issue_values(v_place.stage);
      NamedBarrierArrive(other_turn, 256);

      WgmmaWait<1>();
      PinRegisters(s);
      release(&shared.k_empty[k_place.stage]);
      k_place.Next();
      if constexpr (decltype(last)::value) {
        Arrive(&shared.q_empty);
        MaskDiagonal(s, first_row);
      }
      Softmax(s, rows, params.scale_log2);

      WgmmaWait<0>();
      PinRegisters(o);
      release(&shared.v_empty[v_place.stage]);
      v_place.Next();
#pragma unroll
      for (int i = 0; i < kHeadDim / 2; ++i) o[i] *= rows.rescale[i / 2 % 2];
      pack();
    };
    for (int j = 1; j < tile.n_key_tiles - 1; ++j) step(std::false_type());
    if (tile.n_key_tiles > 1) step(std::true_type());

    Wait(&shared.v_full[v_place.stage], v_place.parity);
    const int n_keys = tile.kv_length - (tile.n_key_tiles - 1) * kTile;
    if (n_keys < kTile) ZeroValues<kHeadDim>(shared.v[v_place.stage], n_keys, warpgroup);
    WgmmaFence();
    issue_values(v_place.stage);
    WgmmaWait<0>();
    PinRegisters(o);
    release(&shared.v_empty[v_place.stage]);
    v_place.Next();
    StoreRows<kHeadDim>(params, tile, first_row, o, rows);
  }
}

template <int kHeadDim, int kStages>
__global__ void __launch_bounds__(kThreads, 1)
    PrefillSm90Kernel(const __grid_constant__ Params params) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(1024) uint8_t shared_bytes[];
  auto& shared = *reinterpret_cast<Shared<kHeadDim, kStages>*>(shared_bytes);
  if (threadIdx.x == 0) {
    PrefetchTensorMap(&params.q);
    PrefetchTensorMap(&params.k);
    PrefetchTensorMap(&params.v);
    constexpr int kConsumerWarps = 4 * kConsumers;
    InitBarrier(&shared.q_full, 1);
    // Every thread gives q back for itself: each has read `tile`, and an arrival orders the reads
    // of its own thread only. Of k and v, which only wgmma reads, a warp has done so all at once.
    InitBarrier(&shared.q_empty, 128 * kConsumers);
    for (int i = 0; i < kStages; ++i) {
      InitBarrier(&shared.k_full[i], 1);
      InitBarrier(&shared.v_full[i], 1);
      InitBarrier(&shared.k_empty[i], kConsumerWarps);
      InitBarrier(&shared.v_empty[i], kConsumerWarps);
    }
    FenceBarrierInit();
  }
  __syncthreads();

  const int warpgroup = threadIdx.x / 128;
  if (warpgroup == 0) {
    DecreaseRegisters<kProducerRegisters>();
    if (threadIdx.x < 32) Produce(params, shared);
  } else {
    IncreaseRegisters<kConsumerRegisters>();
    Consume(params, shared, warpgroup - 1);
  }
#endif
}

// ---- The launch
// ----------------------------------------------------------------------------------

// A tensor without gaps, its innermost dimension first.
template <int kRank>
CUtensorMap DenseMap(const void* data, const std::array<uint64_t, kRank>& sizes,
                     const std::array<uint32_t, kRank>& box) {
  std::array<uint64_t, kRank - 1> strides;
  uint64_t stride = sizeof(__nv_bfloat16);
  for (int i = 0; i + 1 < kRank; ++i) strides[i] = stride *= sizes[i];
  return MakeTensorMap<kRank>(data, sizes, strides, box, Swizzle::k128B);
}

// How many heads are computed side by side: a divisor of n_heads, whole groups, at most 16.
int SectionHeads(const AttentionArgs& args) {
  const int group = args.n_heads / args.n_kv_heads;
  int section = group;
  for (int kv_heads = 1; kv_heads <= args.n_kv_heads; ++kv_heads) {
    if (args.n_kv_heads % kv_heads == 0 && kv_heads * group <= 16) section = kv_heads * group;
  }
  return section;
}

template <int kHeadDim, int kStages>
void Launch(const AttentionArgs& args, cudaStream_t stream, int min_rows) {
  const uint64_t head_dim = kHeadDim;
  const uint64_t page_size = args.page_size;
  const uint64_t n_heads = args.n_heads;
  const uint64_t n_kv_heads = args.n_kv_heads;
  const uint32_t box_keys = std::min(args.page_size, kTile);
  // How many pages there are is not known here; coordinates come from the page table, or are -1.
  const uint64_t n_pages = uint64_t{1} << 26;

  Params params;
  params.q = DenseMap<3>(args.q, {head_dim, n_heads, static_cast<uint64_t>(args.n_tokens)},
                         {kSwizzleColumns, 1, kTile});
  params.k = DenseMap<4>(args.k_pages, {head_dim, page_size, n_kv_heads, n_pages},
                         {kSwizzleColumns, box_keys, 1, 1});
  params.v = DenseMap<4>(args.v_pages, {head_dim, page_size, n_kv_heads, n_pages},
                         {kSwizzleColumns, box_keys, 1, 1});
  params.out = static_cast<__nv_bfloat16*>(args.out);
  params.page_table = args.page_table;
  params.seq_offsets = args.seq_offsets;
  params.first_row = args.first_row;
  params.kv_lengths = args.kv_lengths;
  params.page_table_stride = args.page_table_stride;
  params.n_seqs = args.n_seqs;
  params.n_heads = args.n_heads;
  params.group = args.n_heads / args.n_kv_heads;
  params.paging = PageDivision(args.page_size);
  params.box_keys = static_cast<int>(box_keys);
  params.section = SectionHeads(args);
  params.min_rows = min_rows;
  params.scale_log2 = args.scale * 1.44269504088896341f;
  params.counter =
      args.workspace_bytes >= sizeof(int) ? static_cast<int*>(args.workspace) : nullptr;

  // r rows meet at most (r + 254) / 128 tiles.
  const int64_t most_tiles =
      (static_cast<int64_t>(args.n_tokens) + 254ll * args.n_seqs) / kTile * args.n_heads;
  int n_blocks = static_cast<int>(most_tiles);
  if (params.counter != nullptr) {
    int device = 0, n_sms = 0;
    AIOS_CUDA_CHECK(cudaGetDevice(&device));
    AIOS_CUDA_CHECK(cudaDeviceGetAttribute(&n_sms, cudaDevAttrMultiProcessorCount, device));
    n_blocks = static_cast<int>(std::min<int64_t>(most_tiles, n_sms));
    AIOS_CUDA_CHECK(cudaMemsetAsync(params.counter, 0, sizeof(int), stream));
  }
  const auto kernel = PrefillSm90Kernel<kHeadDim, kStages>;
  constexpr int kSharedBytes = sizeof(Shared<kHeadDim, kStages>);
  AIOS_CUDA_CHECK(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes));
  kernel<<<n_blocks, kThreads, kSharedBytes, stream>>>(params);
  AIOS_CUDA_CHECK_LAUNCH();
}

bool IsAligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

}  // namespace

bool PrefillSm90Supports(const AttentionArgs& args) {
  if (args.dtype != Format::kBF16 || (args.head_dim != 64 && args.head_dim != 128)) return false;
  // No box may meet two pages: those of 16 to 128 keys, whole numbers of which are a tile; of whole
  // tiles; or one page that has all, past the end of which a box is filled with zeros.
  const bool part_of_tile = args.page_size >= 16 && kTile % args.page_size == 0;
  const bool whole_tiles = args.page_size % kTile == 0;
  const bool one_page = args.page_size > kTile && args.page_size >= args.max_kv_length;
  if (!part_of_tile && !whole_tiles && !one_page) return false;
  if (!IsAligned(args.q) || !IsAligned(args.k_pages) || !IsAligned(args.v_pages)) return false;
  int device = 0, major = 0, minor = 0;
  AIOS_CUDA_CHECK(cudaGetDevice(&device));
  AIOS_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  AIOS_CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
  return major == 9 && minor == 0;
}

void AttentionPrefillSm90(const AttentionArgs& args, cudaStream_t stream, int min_rows) {
  if (args.n_seqs == 0 || args.n_tokens == 0) return;
  if (args.head_dim == 64) {
    Launch<64, 4>(args, stream, min_rows);
  } else {
    Launch<128, 2>(args, stream, min_rows);
  }
}

#else

bool PrefillSm90Supports(const AttentionArgs&) { return false; }
void AttentionPrefillSm90(const AttentionArgs&, cudaStream_t, int) {
  throw std::invalid_argument("attention: not built for sm_90a");
}

#endif

}  // namespace aios::kernels::cuda
