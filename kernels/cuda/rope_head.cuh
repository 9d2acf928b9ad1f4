// What is done to one head of q, k or v between the product with Wq, Wk, Wv and attention: bias,
// norm, rotation. Kernels of two kinds do it (rope_kv.cu; decode_heads.cuh for those of decode) and
// must get the same bits: so each operation is written as the one instruction that it is, which the
// compiler may not contract differently in the two.
//
// A head is head_dim / 2 pairs. A team of threads takes a head, each of them kPairs pairs: (a[j],
// b[j]) for j < kPairs. Both pairings read and write the same 2 * kPairs numbers as two contiguous
// pieces, of 16 bytes each where kPairs is a pack:
//
//   halves        the first piece is a, the second, half a head further on, is b
//   interleaved   the two pieces are neighbors: a0 b0 a1 b1 ...
#pragma once

#include <cstdint>

#include "kernels/cuda/pack.cuh"

namespace aios::kernels::cuda {

template <int kPairs>
struct RopePieces {
  float a[kPairs];
  float b[kPairs];

  // Where the pieces begin, within a head; pair: the first of the thread's.
  __device__ static int First(bool halves, int pair) { return halves ? pair : 2 * pair; }
  __device__ static int Second(bool halves, int pair, int head_dim) {
    return halves ? pair + head_dim / 2 : 2 * pair + kPairs;
  }

  __device__ __forceinline__ void AddBias(const float (&bias_a)[kPairs],
                                          const float (&bias_b)[kPairs]) {
#pragma unroll
    for (int j = 0; j < kPairs; ++j) {
      a[j] = __fadd_rn(a[j], bias_a[j]);
      b[j] = __fadd_rn(b[j], bias_b[j]);
    }
  }

  // Over the head; all lanes of the warp call this. team: threads of a head, a power of two.
  __device__ __forceinline__ float SumOfSquares(int team) const {
    float sum = 0;
#pragma unroll
    for (int j = 0; j < kPairs; ++j) sum = __fmaf_rn(a[j], a[j], __fmaf_rn(b[j], b[j], sum));
    for (int distance = team / 2; distance > 0; distance /= 2) {
      sum = __fadd_rn(sum, __shfl_xor_sync(0xFFFFFFFF, sum, distance));
    }
    return sum;
  }

  __device__ __forceinline__ void Norm(float sum_of_squares, int head_dim, float eps,
                                       const float (&norm_a)[kPairs],
                                       const float (&norm_b)[kPairs]) {
    const float mean = __fdiv_rn(sum_of_squares, static_cast<float>(head_dim));
    const float scale = __frcp_rn(__fsqrt_rn(__fadd_rn(mean, eps)));
#pragma unroll
    for (int j = 0; j < kPairs; ++j) {
      a[j] = __fmul_rn(a[j], __fmul_rn(scale, norm_a[j]));
      b[j] = __fmul_rn(b[j], __fmul_rn(scale, norm_b[j]));
    }
  }

  __device__ __forceinline__ void Turn(bool halves, const float (&cos)[kPairs],
                                       const float (&sin)[kPairs]) {
    const auto turn = [](float& x, float& y, float c, float s) {
      const float turned_x = __fmaf_rn(x, c, -__fmul_rn(y, s));
      y = __fmaf_rn(y, c, __fmul_rn(x, s));
      x = turned_x;
    };
    if (halves) {
#pragma unroll
      for (int j = 0; j < kPairs; ++j) turn(a[j], b[j], cos[j], sin[j]);
    } else {
      // Number n of the two pieces, counted through.
      const auto at = [&](int n) -> float& { return n < kPairs ? a[n] : b[n - kPairs]; };
#pragma unroll
      for (int j = 0; j < kPairs; ++j) turn(at(2 * j), at(2 * j + 1), cos[j], sin[j]);
    }
  }
};

}  // namespace aios::kernels::cuda
