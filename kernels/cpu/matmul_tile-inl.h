// A tile of a matrix product: some rows of x by four rows of the weight. The matrix-vector product
// and the one of matrices are loops over this one tile, so that they add in the same order.
// Included once for each instruction set; see dequantize.cc.
#if defined(AIOS_KERNELS_CPU_MATMUL_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef AIOS_KERNELS_CPU_MATMUL_TILE_INL_H_
#undef AIOS_KERNELS_CPU_MATMUL_TILE_INL_H_
#else
#define AIOS_KERNELS_CPU_MATMUL_TILE_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "hwy/highway.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/unpack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace aios::kernels::cpu::HWY_NAMESPACE {

// Outputs of a tile: four give each core's multiply-add units four independent sums, which hides
// their latency even for a single row of x.
inline constexpr int kOuts = static_cast<int>(kMatMulGroup);

// Weights are asked for ahead of their use: the hardware's own prefetching starts anew at each
// short row (without this a row of 576 f32 came at 40% of the memory's speed, with it at 90%). The
// stream runs this far beyond the last of the four rows, so that the starts of the next four are
// there too.
inline constexpr int64_t kPrefetchBytes = 2048;

// What is asked for comes into use a tile later. Where a tile and its x leave no room for that in
// the first-level cache, it goes to the second: in the first it would be pushed out before its use,
// or push out what is in use (d_in = 4096 of BF16 read memory at half the speed so).
inline constexpr int64_t kFirstLevelBytes = 32 << 10;

// ---- Sums of lanes -----------------------------------------------------------------------------

#if HWY_TARGET != HWY_SCALAR
// Upper half plus lower half, until four lanes are left.
template <class D>
HWY_INLINE hn::Vec<hn::Full128<float>> FoldTo128(D d, hn::Vec<D> v) {
  if constexpr (hn::MaxLanes(D()) == 4) {
    return v;
  } else {
    const hn::Half<D> half;
    return FoldTo128(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
}
#endif

// sums[o] = the sum of v[o]'s lanes; four at once take half the instructions of one by one.
HWY_INLINE void SumLanes(const FloatVec (&v)[kOuts], float (&sums)[kOuts]) {
#if HWY_TARGET == HWY_SCALAR
  for (int o = 0; o < kOuts; ++o) sums[o] = hn::GetLane(v[o]);
#elif HWY_TARGET <= HWY_AVX3
  // The same additions as below, in half the instructions: vectors are full until the end. First
  // halves on halves, of two vectors at once; then quarters on quarters, of all four.
  const auto halves = [](__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));
  };
  const __m512 ab = halves(v[0].raw, v[1].raw), ce = halves(v[2].raw, v[3].raw);
  __m512 all =
      _mm512_add_ps(_mm512_shuffle_f32x4(ab, ce, 0x88), _mm512_shuffle_f32x4(ab, ce, 0xDD));
  // Each 128 bits are one output's now: lanes 0 + 2 and 1 + 3, then the two.
  all = _mm512_add_ps(all, _mm512_permute_ps(all, 0x4E));
  all = _mm512_add_ps(all, _mm512_permute_ps(all, 0xB1));
  const __m512i firsts = _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 8, 4, 0);
  _mm_storeu_ps(sums, _mm512_castps512_ps128(_mm512_permutexvar_ps(firsts, all)));
#else
  const hn::Full128<float> d;
  const auto a = FoldTo128(Floats(), v[0]), b = FoldTo128(Floats(), v[1]);
  const auto c = FoldTo128(Floats(), v[2]), e = FoldTo128(Floats(), v[3]);
  const auto ab = hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b));
  const auto ce = hn::Add(hn::InterleaveLower(d, c, e), hn::InterleaveUpper(d, c, e));
  hn::StoreU(hn::Add(hn::ConcatLowerLower(d, ce, ab), hn::ConcatUpperUpper(d, ce, ab)), d, sums);
#endif
}

// ---- Products ----------------------------------------------------------------------------------

// acc[row][out] += x[row] * w[out], lane by lane, over 32 numbers.
template <class Step, int kRows>
HWY_INLINE void AddStep(const Step (&w)[kOuts], const float* const (&x)[kRows], int64_t k,
                        FloatVec (&acc)[kRows][kOuts]) {
#pragma GCC unroll 8
  for (int i = 0; i < kStep; i += kLanes) {
    FloatVec ws[kOuts];
#pragma GCC unroll 4
    for (int o = 0; o < kOuts; ++o) ws[o] = w[o].Numbers(i);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const FloatVec xs = hn::LoadU(Floats(), x[r] + k + i);
#pragma GCC unroll 4
      for (int o = 0; o < kOuts; ++o) acc[r][o] = hn::MulAdd(ws[o], xs, acc[r][o]);
    }
  }
}

// The level is part of the instruction: hence the branch.
template <int kBytes>
HWY_INLINE void Prefetch(const char* bytes, bool to_first_level) {
  if (to_first_level) {
#pragma GCC unroll 16
    for (int i = 0; i < kBytes; i += 64) __builtin_prefetch(bytes + i, 0, 3);
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < kBytes; i += 64) __builtin_prefetch(bytes + i, 0, 2);
  }
}

// acc += the products of n_blocks blocks. With kPrefetch, the four rows w lie one after another,
// and so do those of the next tile.
template <class Block, int kRows, bool kPrefetch>
HWY_INLINE void AddBlocks(const Block* const (&w)[kOuts], int64_t n_blocks,
                          const float* const (&x)[kRows], FloatVec (&acc)[kRows][kOuts]) {
  using Format = Unpack<Block>;
  using Step = typename Format::Step;
  constexpr int64_t kChunk = Format::kNumbers == kStep && Format::kScales > 0 ? kScalesAhead : 1;
  constexpr int kScales = Format::kScales;
  [[maybe_unused]] float scales[kOuts][kScales > 0 ? kChunk * kScales : 1];
  [[maybe_unused]] const char* ahead = reinterpret_cast<const char*>(w[kOuts - 1]) + kPrefetchBytes;
  [[maybe_unused]] const bool to_first_level =
      n_blocks *
          static_cast<int64_t>(kOuts * sizeof(Block) + kRows * Format::kNumbers * sizeof(float)) <=
      kFirstLevelBytes - kPrefetchBytes;
  for (int64_t first = 0; first < n_blocks; first += kChunk) {
    const int64_t last = std::min(first + kChunk, n_blocks);
    if constexpr (kScales > 0) {
      if constexpr (requires { Format::ScalesOfRows(w, first, int64_t{}, scales); }) {
        Format::ScalesOfRows(w, first, last - first, scales);
      } else {
        for (int64_t b = first; b < last; ++b) {
#pragma GCC unroll 4
          for (int o = 0; o < kOuts; ++o) {
            Format::Scales(w[o][b], scales[o] + (b - first) * kScales);
          }
        }
      }
    }
    for (int64_t b = first; b < last; ++b) {
      if constexpr (kPrefetch) {
        Prefetch<sizeof(Block) * kOuts>(ahead, to_first_level);
        ahead += sizeof(Block) * kOuts;
      }
      // The steps are unrolled, so that a step's place in its block, and with it every shift, is a
      // constant.
      const float* at[kOuts];
      for (int o = 0; o < kOuts; ++o) at[o] = scales[o] + (b - first) * kScales;
#pragma GCC unroll 8
      for (int s = 0; s < Format::kNumbers / kStep; ++s) {
        const Step steps[kOuts] = {
            {w[0][b], at[0], s}, {w[1][b], at[1], s}, {w[2][b], at[2], s}, {w[3][b], at[3], s}};
        AddStep<Step, kRows>(steps, x, b * Format::kNumbers + s * kStep, acc);
      }
    }
  }
}

// sums[row][out] = x[row] . w[out], over d_in numbers: rows of x one after another, those of the
// weight w_stride bytes apart. Not inlined: the accumulators fill the registers. Nothing past the
// ends of the rows is read, but prefetched.
//
// Where rows are is passed as a first one and a stride, in registers. As arrays of pointers it was
// in memory, and a tile could not begin before the one before it had ended: 20% slower.
template <class Block, int kRows, bool kPrefetch = false>
HWY_NOINLINE void Tile(const char* w_rows, int64_t w_stride, const float* x_rows, int64_t d_in,
                       float (&sums)[kRows][kOuts]) {
  constexpr int kBlock = Unpack<Block>::kNumbers;
  FloatVec acc[kRows][kOuts];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int o = 0; o < kOuts; ++o) acc[r][o] = hn::Zero(Floats());
  }
  const Block* w[kOuts];
#pragma GCC unroll 4
  for (int o = 0; o < kOuts; ++o) w[o] = reinterpret_cast<const Block*>(w_rows + o * w_stride);
  const float* x[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) x[r] = x_rows + r * d_in;
  const int64_t n_blocks = d_in / kBlock;
  AddBlocks<Block, kRows, kPrefetch>(w, n_blocks, x, acc);
  if constexpr (Unpack<Block>::kScales == 0) {
    if (const int64_t rest = d_in % kBlock; rest != 0) {
      // As one more step, with zeros for what is missing: every tile adds the same zeros.
      Block w_rest[kOuts] = {};
      float x_rest[kRows][kStep] = {};
      const Block* w_at[kOuts];
      const float* x_at[kRows];
      for (int o = 0; o < kOuts; ++o) {
        std::memcpy(&w_rest[o], w[o] + n_blocks,
                    static_cast<size_t>(rest) * sizeof(Block) / kBlock);
        w_at[o] = &w_rest[o];
      }
      for (int r = 0; r < kRows; ++r) {
        std::memcpy(x_rest[r], x[r] + n_blocks * kBlock, static_cast<size_t>(rest) * sizeof(float));
        x_at[r] = x_rest[r];
      }
      AddBlocks<Block, kRows, false>(w_at, 1, x_at, acc);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) SumLanes(acc[r], sums[r]);
}

}  // namespace aios::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // AIOS_KERNELS_CPU_MATMUL_TILE_INL_H_
