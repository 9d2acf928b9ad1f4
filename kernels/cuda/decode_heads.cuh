// What decode does to a sequence's newest token before its attention: bias, norm and rotation of
// the heads, by the block that needs them. Of DecodeAttention alone.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <bit>
#include <cstdint>

#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/pdl.cuh"
#include "kernels/cuda/rope_head.cuh"
#include "kernels/cuda/rope_kv.h"

namespace aios::kernels::cuda {

// The heads of one sequence's newest token that belong to a kv head. Each number is computed as in
// rope_kv.cu, by as many threads: kTeam of the block's kThreads take a head.
template <int kHeadDim, int kThreads>
struct NewestHeads {
  static constexpr int kPairs = kPackSize<__nv_bfloat16>;  // of a thread
  static constexpr int kTeam = static_cast<int>(std::bit_ceil(unsigned{kHeadDim / 2 / kPairs}));
  static constexpr int kTeams = kThreads / kTeam;
  using Pieces = RopePieces<kPairs>;

  float cos[kPairs] = {};
  float sin[kPairs] = {};

  static __device__ int Pair() { return static_cast<int>(threadIdx.x) % kTeam * kPairs; }

  // Of the angles at `position`, which may be read before the kernel before is done.
  __device__ NewestHeads(const RopeKvArgs& args, int position) {
    if (Pair() >= kHeadDim / 2) return;
    LoadFloats(args.cos + static_cast<int64_t>(position) * (kHeadDim / 2) + Pair(), cos);
    LoadFloats(args.sin + static_cast<int64_t>(position) * (kHeadDim / 2) + Pair(), sin);
  }

  // Query i of the group to query_at(i); and, with `has_key`, the key and the value to `key` and
  // `value`, and to the pages, at `offset`.
  template <typename QueryAt>
  __device__ void Turn(const RopeKvArgs& args, int sequence, int kv_head, const QueryAt& query_at,
                       bool has_key, void* key, void* value, int64_t offset) const {
    const bool halves = args.pairing == RopePairing::kHalves;
    const int group = args.n_heads / args.n_kv_heads;
    const int all_heads = args.n_heads + 2 * args.n_kv_heads;
    const int pair = Pair();
    const int first = Pieces::First(halves, pair);
    const int second = Pieces::Second(halves, pair, kHeadDim);
    const int n_heads = has_key ? group + 2 : group;  // of this block: the queries', k, v
    for (int begin = 0; begin < n_heads; begin += kTeams) {
      const int i = begin + static_cast<int>(threadIdx.x) / kTeam;
      const bool active = i < n_heads && pair < kHeadDim / 2;
      const bool is_q = i < group;
      const bool is_v = i > group;
      const int head =
          is_q ? kv_head * group + i : args.n_heads + (i - group) * args.n_kv_heads + kv_head;
      Pieces x = {};
      if (active) {
        const auto* in = static_cast<const __nv_bfloat16*>(args.qkv) +
                         (static_cast<int64_t>(sequence) * all_heads + head) * kHeadDim;
        LoadPack(in + first, x.a);
        LoadPack(in + second, x.b);
      }
      float of_a[kPairs];
      float of_b[kPairs];
      if (active && args.bias != nullptr) {
        LoadFloats(args.bias + head * kHeadDim + first, of_a);
        LoadFloats(args.bias + head * kHeadDim + second, of_b);
        x.AddBias(of_a, of_b);
      }
      if (args.q_norm != nullptr || args.k_norm != nullptr) {
        const float sum = x.SumOfSquares(kTeam);
        const float* norm = is_q ? args.q_norm : is_v ? nullptr : args.k_norm;
        if (active && norm != nullptr) {
          LoadFloats(norm + first, of_a);
          LoadFloats(norm + second, of_b);
          x.Norm(sum, kHeadDim, args.eps, of_a, of_b);
        }
      }
      if (!active) continue;
      if (!is_v) x.Turn(halves, cos, sin);
      auto* row = static_cast<__nv_bfloat16*>(is_q ? query_at(i) : is_v ? value : key);
      StorePack(x.a, row + first);
      StorePack(x.b, row + second);
      if (is_q) continue;
      auto* page = static_cast<__nv_bfloat16*>(is_v ? args.v_pages : args.k_pages) + offset;
      StorePack(x.a, page + first);
      StorePack(x.b, page + second);
    }
  }
};

// The output of a row that is no token.
__device__ inline void StoreNothingSeen(const RopeKvArgs& args, int sequence, int kv_head,
                                        int head_dim, void* out) {
  WaitForPreviousKernel();
  const int n = args.n_heads / args.n_kv_heads * head_dim / 2;
  uint32_t* const group = static_cast<uint32_t*>(out) +
                          (static_cast<int64_t>(sequence) * args.n_kv_heads + kv_head) * n;
  for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x)) {
    group[i] = 0;
  }
}

}  // namespace aios::kernels::cuda
