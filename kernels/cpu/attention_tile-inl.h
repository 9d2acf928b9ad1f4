// The arithmetic of attention on one tile of keys: scores, online softmax, sums of values. Included
// once for each instruction set; see dequantize.cc.
//
// Every sum runs in an order that the tile fixes: over head_dim from 0, over the keys of the tile;
// how many queries share a register tile changes none, nor does which of the functions below had
// the scores to compute.
#if defined(AIOS_KERNELS_CPU_ATTENTION_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef AIOS_KERNELS_CPU_ATTENTION_TILE_INL_H_
#undef AIOS_KERNELS_CPU_ATTENTION_TILE_INL_H_
#else
#define AIOS_KERNELS_CPU_ATTENTION_TILE_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "hwy/highway.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/exp-inl.h"

#ifndef AIOS_KERNELS_CPU_ATTENTION_TILE_ONCE  // this part is the same for all instruction sets
#define AIOS_KERNELS_CPU_ATTENTION_TILE_ONCE
namespace aios::kernels::cpu {

inline constexpr int64_t kTile = 128;  // keys; a multiple of all vectors' lanes
inline constexpr int64_t kPad = 32;    // scratch rows are whole pairs of vectors
// From one row of the transposed tile to the next: 9 cache lines. 8 would put a whole column, which
// Transpose writes, into 8 of an L1 cache's 64 sets.
inline constexpr int64_t kTileStride = kTile + 16;

}  // namespace aios::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace aios::kernels::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Floats = hn::CappedTag<float, 16>;
using FloatVec = hn::Vec<Floats>;
inline constexpr int kLanes = hn::MaxLanes(Floats());

// With 2 vectors: 8 sums, as many as 2 FMA units x 4 cycles keep going.
inline constexpr int kRows = 4;

// keys [n_keys, head_dim] -> columns of `transposed` [head_dim, kTileStride]
inline void Transpose(const float* keys, int64_t n_keys, int64_t head_dim, float* transposed) {
  int64_t key = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::CappedTag<float, 4> four;
  const hn::Repartition<double, decltype(four)> two;
  for (; key + 4 <= n_keys; key += 4) {
    const float* from = keys + key * head_dim;
    int64_t d = 0;
    for (; d + 4 <= head_dim; d += 4) {
      const auto a = hn::LoadU(four, from + d);
      const auto b = hn::LoadU(four, from + head_dim + d);
      const auto c = hn::LoadU(four, from + 2 * head_dim + d);
      const auto e = hn::LoadU(four, from + 3 * head_dim + d);
      const auto ab_low = hn::BitCast(two, hn::InterleaveLower(four, a, b));
      const auto ab_high = hn::BitCast(two, hn::InterleaveUpper(four, a, b));
      const auto ce_low = hn::BitCast(two, hn::InterleaveLower(four, c, e));
      const auto ce_high = hn::BitCast(two, hn::InterleaveUpper(four, c, e));
      float* to = transposed + d * kTileStride + key;
      hn::StoreU(hn::BitCast(four, hn::InterleaveLower(two, ab_low, ce_low)), four, to);
      hn::StoreU(hn::BitCast(four, hn::InterleaveUpper(two, ab_low, ce_low)), four,
                 to + kTileStride);
      hn::StoreU(hn::BitCast(four, hn::InterleaveLower(two, ab_high, ce_high)), four,
                 to + 2 * kTileStride);
      hn::StoreU(hn::BitCast(four, hn::InterleaveUpper(two, ab_high, ce_high)), four,
                 to + 3 * kTileStride);
    }
    for (; d < head_dim; ++d) {
      for (int64_t i = 0; i < 4; ++i)
        transposed[d * kTileStride + key + i] = from[i * head_dim + d];
    }
  }
#endif
  for (; key < n_keys; ++key) {
    for (int64_t d = 0; d < head_dim; ++d) {
      transposed[d * kTileStride + key] = keys[key * head_dim + d];
    }
  }
}

// scores[r][key] = sum over d of q[r][d] * transposed[d][key], for kN queries and the tile's first
// n_keys keys (and those that fill up the last pair of vectors).
template <int kN>
void Scores(const float* q, int64_t q_stride, const float* transposed, int64_t head_dim,
            int64_t n_keys, float* scores, int64_t scores_stride) {
  const Floats floats;
  const auto lanes = static_cast<int64_t>(hn::Lanes(floats));
  for (int64_t key = 0; key < n_keys; key += 2 * lanes) {
    FloatVec sums[kN][2];
    for (int r = 0; r < kN; ++r) sums[r][0] = sums[r][1] = hn::Zero(floats);
    for (int64_t d = 0; d < head_dim; ++d) {
      const FloatVec k0 = hn::LoadU(floats, transposed + d * kTileStride + key);
      const FloatVec k1 = hn::LoadU(floats, transposed + d * kTileStride + key + lanes);
      for (int r = 0; r < kN; ++r) {
        const FloatVec x = hn::Set(floats, q[r * q_stride + d]);
        sums[r][0] = hn::MulAdd(x, k0, sums[r][0]);
        sums[r][1] = hn::MulAdd(x, k1, sums[r][1]);
      }
    }
    for (int r = 0; r < kN; ++r) {
      hn::StoreU(sums[r][0], floats, scores + r * scores_stride + key);
      hn::StoreU(sums[r][1], floats, scores + r * scores_stride + key + lanes);
    }
  }
}

#if HWY_TARGET != HWY_SCALAR
// Four numbers of each of kLanes / 4 rows, one after the other: block b is of rows[4 * b].
HWY_INLINE FloatVec LoadBlocks(const float* const* rows, int64_t d) {
#if HWY_TARGET <= HWY_AVX3
  __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(rows[0] + d));
  v = _mm512_insertf32x4(v, _mm_loadu_ps(rows[4] + d), 1);
  v = _mm512_insertf32x4(v, _mm_loadu_ps(rows[8] + d), 2);
  return FloatVec{_mm512_insertf32x4(v, _mm_loadu_ps(rows[12] + d), 3)};
#elif HWY_TARGET <= HWY_AVX2
  const hn::Half<Floats> half;
  return hn::Combine(Floats(), hn::LoadU(half, rows[4] + d), hn::LoadU(half, rows[0] + d));
#else
  static_assert(kLanes == 4);
  return hn::LoadU(Floats(), rows[0] + d);
#endif
}
#endif

// scores[r][i] = sum over d of q[r][d] * keys[i][d], for kN queries and kLanes keys: Scores without
// a transposed tile, which a few queries do not pay for. The keys turn into lanes in registers.
template <int kN>
void ScoresOfFew(const float* q, int64_t q_stride, const float* const (&keys)[kLanes],
                 int64_t head_dim, float* scores, int64_t scores_stride) {
  const Floats floats;
  FloatVec sums[kN];
  for (int r = 0; r < kN; ++r) sums[r] = hn::Zero(floats);
  const auto add = [&](FloatVec numbers, int64_t d) {
    for (int r = 0; r < kN; ++r) {
      sums[r] = hn::MulAdd(hn::Set(floats, q[r * q_stride + d]), numbers, sums[r]);
    }
  };
  int64_t d = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::Repartition<double, Floats> pairs;
  for (; d + 4 <= head_dim; d += 4) {
    const FloatVec a = LoadBlocks(keys, d), b = LoadBlocks(keys + 1, d);
    const FloatVec c = LoadBlocks(keys + 2, d), e = LoadBlocks(keys + 3, d);
    const auto ab_low = hn::BitCast(pairs, hn::InterleaveLower(floats, a, b));
    const auto ab_high = hn::BitCast(pairs, hn::InterleaveUpper(floats, a, b));
    const auto ce_low = hn::BitCast(pairs, hn::InterleaveLower(floats, c, e));
    const auto ce_high = hn::BitCast(pairs, hn::InterleaveUpper(floats, c, e));
    add(hn::BitCast(floats, hn::InterleaveLower(pairs, ab_low, ce_low)), d);
    add(hn::BitCast(floats, hn::InterleaveUpper(pairs, ab_low, ce_low)), d + 1);
    add(hn::BitCast(floats, hn::InterleaveLower(pairs, ab_high, ce_high)), d + 2);
    add(hn::BitCast(floats, hn::InterleaveUpper(pairs, ab_high, ce_high)), d + 3);
  }
#endif
  for (; d < head_dim; ++d) {
    HWY_ALIGN float numbers[kLanes];
    for (int i = 0; i < kLanes; ++i) numbers[i] = keys[i][d];
    add(hn::Load(floats, numbers), d);
  }
  for (int r = 0; r < kN; ++r) hn::StoreU(sums[r], floats, scores + r * scores_stride);
}

// scores -> weights e^(score - max), in place; `max` and `sum` are those of all keys so far.
// Returns the factor by which earlier weights are too large now.
inline float OnlineSoftmax(int64_t n_keys, float* scores, float& max, float& sum) {
  const Floats floats;
  const auto lanes = static_cast<int64_t>(hn::Lanes(floats));
  const int64_t end = (n_keys + lanes - 1) / lanes * lanes;
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  for (int64_t key = n_keys; key < end; ++key) scores[key] = kLowest;  // weight 0
  FloatVec maxima = hn::Set(floats, max);
  for (int64_t key = 0; key < end; key += lanes) {
    maxima = hn::Max(maxima, hn::LoadU(floats, scores + key));
  }
  const float new_max = hn::GetLane(hn::MaxOfLanes(floats, maxima));
  const FloatVec shift = hn::Set(floats, new_max);
  FloatVec sums = hn::Zero(floats);
  for (int64_t key = 0; key < end; key += lanes) {
    const FloatVec score = hn::LoadU(floats, scores + key);
    const FloatVec weight = ExpOfNonPositive(floats, hn::Sub(score, shift));
    hn::StoreU(weight, floats, scores + key);
    sums = hn::Add(sums, weight);
  }
  // The same e^x as the weights'; the first tile has nothing to shrink.
  const float shrink =
      max == kLowest ? 0 : hn::GetLane(ExpOfNonPositive(floats, hn::Set(floats, max - new_max)));
  sum = sum * shrink + hn::GetLane(hn::SumOfLanes(floats, sums));
  max = new_max;
  return shrink;
}

// acc[r] += sum over keys of weights[r][key] * v[key], for kN queries: the first n numbers of v's
// rows, of head_dim each. The first n of more are the same bits if n is a multiple of kPad.
template <int kN>
void AddValues(const float* weights, const float* v, int64_t n_keys, int64_t head_dim, int64_t n,
               int64_t acc_stride, float* acc) {
  const Floats floats;
  const auto lanes = static_cast<int64_t>(hn::Lanes(floats));
  int64_t d = 0;
  for (; d + 2 * lanes <= n; d += 2 * lanes) {
    FloatVec sums[kN][2];
    for (int r = 0; r < kN; ++r) {
      sums[r][0] = hn::LoadU(floats, acc + r * acc_stride + d);
      sums[r][1] = hn::LoadU(floats, acc + r * acc_stride + d + lanes);
    }
    for (int64_t key = 0; key < n_keys; ++key) {
      const FloatVec v0 = hn::LoadU(floats, v + key * head_dim + d);
      const FloatVec v1 = hn::LoadU(floats, v + key * head_dim + d + lanes);
      for (int r = 0; r < kN; ++r) {
        const FloatVec weight = hn::Set(floats, weights[r * kTile + key]);
        sums[r][0] = hn::MulAdd(weight, v0, sums[r][0]);
        sums[r][1] = hn::MulAdd(weight, v1, sums[r][1]);
      }
    }
    for (int r = 0; r < kN; ++r) {
      hn::StoreU(sums[r][0], floats, acc + r * acc_stride + d);
      hn::StoreU(sums[r][1], floats, acc + r * acc_stride + d + lanes);
    }
  }
  for (; d + lanes <= n; d += lanes) {
    FloatVec sums[kN];
    for (int r = 0; r < kN; ++r) sums[r] = hn::LoadU(floats, acc + r * acc_stride + d);
    for (int64_t key = 0; key < n_keys; ++key) {
      const FloatVec v0 = hn::LoadU(floats, v + key * head_dim + d);
      for (int r = 0; r < kN; ++r) {
        sums[r] = hn::MulAdd(hn::Set(floats, weights[r * kTile + key]), v0, sums[r]);
      }
    }
    for (int r = 0; r < kN; ++r) hn::StoreU(sums[r], floats, acc + r * acc_stride + d);
  }
  for (; d < n; ++d) {
    for (int r = 0; r < kN; ++r) {
      float& sum = acc[r * acc_stride + d];
      for (int64_t key = 0; key < n_keys; ++key) {
        sum += weights[r * kTile + key] * v[key * head_dim + d];
      }
    }
  }
}

// Calls tile(i, number) for queries [begin, end), kRows at a time and then the rest; the compiler
// knows `number`.
template <class Tile>
void ForEachRegisterTile(int64_t begin, int64_t end, const Tile& tile) {
  static_assert(kRows == 4);
  for (; begin + kRows <= end; begin += kRows) tile(begin, std::integral_constant<int, kRows>());
  if (end - begin == 3) tile(begin, std::integral_constant<int, 3>());
  if (end - begin == 2) tile(begin, std::integral_constant<int, 2>());
  if (end - begin == 1) tile(begin, std::integral_constant<int, 1>());
}

inline void Scale(float factor, int64_t n, float* x) {
  const Floats floats;
  const FloatVec factors = hn::Set(floats, factor);
  for (int64_t i = 0; i < n; i += static_cast<int64_t>(hn::Lanes(floats))) {
    hn::StoreU(hn::Mul(hn::LoadU(floats, x + i), factors), floats, x + i);
  }
}

}  // namespace aios::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the toggled guard
