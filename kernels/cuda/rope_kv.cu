#include <bit>
#include <stdexcept>

#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/page_division.cuh"
#include "kernels/cuda/pdl.cuh"
#include "kernels/cuda/rope_head.cuh"
#include "kernels/cuda/rope_kv.h"

namespace aios::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xFFFFFFFF;

// The sequence of a row: how many of the offsets after the first are at or before it. (Sequences
// without a row are stepped over by that.) The lanes of a warp, all of which must call this, look
// at 32 at a time; a binary search would wait for memory at each of its steps.
__device__ __forceinline__ int SequenceOf(const int32_t* seq_offsets, int n_seqs, int row) {
  const int lane = threadIdx.x % kWarp;
  int seq = 0;
  for (int first = 1; first < n_seqs; first += kWarp) {
    const int s = first + lane;
    const bool before = s < n_seqs && seq_offsets[s] <= row;
    const unsigned votes = __ballot_sync(kAllLanes, before);
    seq += __popc(votes);
    if (votes != kAllLanes) break;
  }
  return seq;
}

// Block (token, y) takes the heads [y * heads_per_block, (y + 1) * heads_per_block) of q, k and v.
// team: threads of a head, a power of two; those past the last pair do nothing.
template <typename T, int kPairs, bool kHalves>
__global__ void __launch_bounds__(kThreads)
    RopeKvKernel(const RopeKvArgs args, const PageDivision paging, int team) {
  using Pieces = RopePieces<kPairs>;
  WaitForPreviousKernel();
  const int token = blockIdx.x;
  const int head = (blockIdx.y * kThreads + threadIdx.x) / team;
  const int all_heads = args.n_heads + 2 * args.n_kv_heads;
  const int half = args.head_dim / 2;
  const int pair = threadIdx.x % team * kPairs;
  const bool active = head < all_heads && pair < half;  // no return: teams and warps work together
  const int first = Pieces::First(kHalves, pair);
  const int second = Pieces::Second(kHalves, pair, args.head_dim);

  Pieces x = {};
  if (active) {
    const T* in = static_cast<const T*>(args.qkv) +
                  (static_cast<int64_t>(token) * all_heads + head) * args.head_dim;
    LoadPack(in + first, x.a);
    LoadPack(in + second, x.b);
  }
  const int position = args.positions[token];
  const bool is_q = head < args.n_heads;
  const bool is_v = head >= args.n_heads + args.n_kv_heads;

  float of_a[kPairs];
  float of_b[kPairs];
  if (active && args.bias != nullptr) {
    LoadFloats(args.bias + head * args.head_dim + first, of_a);
    LoadFloats(args.bias + head * args.head_dim + second, of_b);
    x.AddBias(of_a, of_b);
  }
  if (args.q_norm != nullptr || args.k_norm != nullptr) {
    const float sum = x.SumOfSquares(team);
    const float* norm = is_q ? args.q_norm : is_v ? nullptr : args.k_norm;
    if (active && norm != nullptr) {
      LoadFloats(norm + first, of_a);
      LoadFloats(norm + second, of_b);
      x.Norm(sum, args.head_dim, args.eps, of_a, of_b);
    }
  }
  const bool is_token = position >= 0;
  if (active && !is_v && is_token) {
    LoadFloats(args.cos + static_cast<int64_t>(position) * half + pair, of_a);
    LoadFloats(args.sin + static_cast<int64_t>(position) * half + pair, of_b);
    x.Turn(kHalves, of_a, of_b);
  }

  T* out =
      static_cast<T*>(args.q) + (static_cast<int64_t>(token) * args.n_heads + head) * args.head_dim;
  // The same for the whole block: does it have heads of k or v?
  if (static_cast<int>((blockIdx.y + 1) * kThreads) / team > args.n_heads) {
    const int seq = SequenceOf(args.seq_offsets, args.n_seqs, args.first_row + token);
    if (active && !is_q && is_token) {
      const int kv_head = head - args.n_heads - (is_v ? args.n_kv_heads : 0);
      const int index = paging.Page(position);
      const int64_t page =
          args.page_table[static_cast<int64_t>(seq) * args.page_table_stride + index];
      out = static_cast<T*>(is_v ? args.v_pages : args.k_pages) +
            ((page * args.n_kv_heads + kv_head) * paging.size() + paging.Slot(position, index)) *
                args.head_dim;
    }
  }
  if (active && (is_q || is_token)) {
    StorePack(x.a, out + first);
    StorePack(x.b, out + second);
  }
}

// For heads that do not fit the kernel above: a warp takes a head and its lanes the pairs in turn,
// reading them twice where the head is normed.
template <typename T, bool kHalves>
__global__ void __launch_bounds__(kWarp) RopeKvSlowKernel(const RopeKvArgs args) {
  WaitForPreviousKernel();
  const int token = blockIdx.x;
  const int head = blockIdx.y;
  const int lane = threadIdx.x;
  const int all_heads = args.n_heads + 2 * args.n_kv_heads;
  const int half = args.head_dim / 2;
  const bool is_q = head < args.n_heads;
  const bool is_v = head >= args.n_heads + args.n_kv_heads;
  const int position = args.positions[token];
  if (position < 0 && !is_q) return;  // no token
  const int seq = SequenceOf(args.seq_offsets, args.n_seqs, args.first_row + token);

  const T* in = static_cast<const T*>(args.qkv) +
                (static_cast<int64_t>(token) * all_heads + head) * args.head_dim;
  const auto value = [&](int i) {
    const float x = ToFloat(in[i]);
    return args.bias == nullptr ? x : x + args.bias[head * args.head_dim + i];
  };
  const float* norm = is_q ? args.q_norm : is_v ? nullptr : args.k_norm;
  float scale = 1;
  if (norm != nullptr) {
    float sum = 0;
    for (int i = lane; i < args.head_dim; i += kWarp) sum += value(i) * value(i);
    for (int distance = kWarp / 2; distance > 0; distance /= 2) {
      sum += __shfl_xor_sync(kAllLanes, sum, distance);
    }
    scale = 1 / sqrtf(sum / static_cast<float>(args.head_dim) + args.eps);
  }

  T* out = nullptr;
  if (is_q) {
    out = static_cast<T*>(args.q) +
          (static_cast<int64_t>(token) * args.n_heads + head) * args.head_dim;
  } else {
    const int kv_head = head - args.n_heads - (is_v ? args.n_kv_heads : 0);
    const int64_t page = args.page_table[static_cast<int64_t>(seq) * args.page_table_stride +
                                         position / args.page_size];
    out = static_cast<T*>(is_v ? args.v_pages : args.k_pages) +
          ((page * args.n_kv_heads + kv_head) * args.page_size + position % args.page_size) *
              args.head_dim;
  }
  for (int pair = lane; pair < half; pair += kWarp) {
    const int i = kHalves ? pair : 2 * pair;
    const int j = kHalves ? pair + half : 2 * pair + 1;
    float a = value(i);
    float b = value(j);
    if (norm != nullptr) {
      a *= scale * norm[i];
      b *= scale * norm[j];
    }
    if (!is_v && position >= 0) {
      const float cos = args.cos[static_cast<int64_t>(position) * half + pair];
      const float sin = args.sin[static_cast<int64_t>(position) * half + pair];
      const float turned_a = a * cos - b * sin;
      b = b * cos + a * sin;
      a = turned_a;
    }
    FromFloat(a, out + i);
    FromFloat(b, out + j);
  }
}

template <typename T>
void RopeKvAs(const RopeKvArgs& args, cudaStream_t stream) {
  const int half = args.head_dim / 2;
  const int all_heads = args.n_heads + 2 * args.n_kv_heads;
  const bool halves = args.pairing == RopePairing::kHalves;
  LaunchShape shape = {};
  shape.overlap_previous = args.overlap_previous;

  constexpr int kPairs = kPackSize<T>;
  const int team = static_cast<int>(std::bit_ceil(static_cast<unsigned>(CeilDiv(half, kPairs))));
  const bool packed = half % kPairs == 0 && team <= kWarp &&
                      AlignedTo16({args.qkv, args.bias, args.q_norm, args.k_norm, args.cos,
                                   args.sin, args.k_pages, args.v_pages, args.q});
  if (packed) {
    shape.grid = dim3(args.n_tokens, CeilDiv(int64_t{all_heads} * team, kThreads));
    shape.block = dim3(kThreads);
    return Launch(halves ? RopeKvKernel<T, kPairs, true> : RopeKvKernel<T, kPairs, false>, shape,
                  stream, args, PageDivision(args.page_size), team);
  }
  shape.grid = dim3(args.n_tokens, all_heads);
  shape.block = dim3(kWarp);
  Launch(halves ? RopeKvSlowKernel<T, true> : RopeKvSlowKernel<T, false>, shape, stream, args);
}

}  // namespace

void RopeAndStoreKv(const RopeKvArgs& args, cudaStream_t stream) {
  if (args.head_dim <= 0 || args.head_dim % 2 != 0 || args.head_dim > 512) {
    throw std::invalid_argument("RopeAndStoreKv: head_dim must be even and at most 512");
  }
  if (args.page_size <= 0) {
    throw std::invalid_argument("RopeAndStoreKv: page_size must be at least 1");
  }
  if (args.n_tokens == 0) return;
  switch (args.dtype) {
    case Format::kF32:
      return RopeKvAs<float>(args, stream);
    case Format::kBF16:
      return RopeKvAs<__nv_bfloat16>(args, stream);
    default:
      throw std::invalid_argument("RopeAndStoreKv: the dtype must be f32 or bf16");
  }
}

}  // namespace aios::kernels::cuda
