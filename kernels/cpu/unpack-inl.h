// Weights become f32 in registers, 32 numbers (a "step") at a time: for Dequantize, and for
// products of a few rows, which use them at once. Included once for each instruction set; see
// dequantize.cc.
#if defined(AIOS_KERNELS_CPU_UNPACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef AIOS_KERNELS_CPU_UNPACK_INL_H_
#undef AIOS_KERNELS_CPU_UNPACK_INL_H_
#else
#define AIOS_KERNELS_CPU_UNPACK_INL_H_
#endif

#include <bit>
#include <cstring>

#include "hwy/highway.h"
#include "kernels/formats.h"

HWY_BEFORE_NAMESPACE();
namespace aios::kernels::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// At most 16 lanes: runs of 16 numbers, the shortest that share a scale, are whole vectors.
using Floats = hn::CappedTag<float, 16>;
using Ints = hn::RebindToSigned<Floats>;
using FloatVec = hn::Vec<Floats>;
using IntVec = hn::Vec<Ints>;
inline constexpr int kLanes = hn::MaxLanes(Floats());
inline constexpr int kStep = 32;
static_assert(16 % kLanes == 0);

// ---- f16 to f32 ---------------------------------------------------------------------------------

#if HWY_TARGET <= HWY_AVX2  // these have an instruction for it
HWY_INLINE float ToF32(F16 h) {
  const hn::CappedTag<float, 1> f32;
  const hn::Rebind<hwy::float16_t, decltype(f32)> f16;
  const auto bits = hn::Set(hn::RebindToUnsigned<decltype(f16)>(), h);
  return hn::GetLane(hn::PromoteTo(f32, hn::BitCast(f16, bits)));
}
#else
// Makes no subnormal f32, which would be slow.
HWY_INLINE float ToF32(F16 h) {
  constexpr uint32_t kOne = 1 << 23;  // of an f32's exponent
  // Exponent and fraction where f32 has them. Three cases mend the exponent, whose bias is 15 in
  // f16 and 127 in f32.
  const uint32_t magnitude = static_cast<uint32_t>(h & 0x7FFF) << 13;
  const uint32_t normal = magnitude + (127 - 15) * kOne;
  // Infinity and NaN: all ones, as before.
  const uint32_t infinite = magnitude + (255 - 31) * kOne;
  // Subnormal: fraction * 2^-24, which is what the same fraction adds to an f32 of 2^-14.
  const auto above = std::bit_cast<float>(magnitude + (127 - 14) * kOne);
  const auto subnormal = std::bit_cast<uint32_t>(above - 0x1p-14f);
  const uint32_t exponent = h & 0x7C00;
  const uint32_t bits = exponent == 0 ? subnormal : exponent == 0x7C00 ? infinite : normal;
  return std::bit_cast<float>(bits | static_cast<uint32_t>(h & 0x8000) << 16);
}
#endif

HWY_INLINE FloatVec Broadcast(float x) { return hn::Set(Floats(), x); }

// ---- kLanes bytes, each in a lane --------------------------------------------------------------

template <typename Byte>
HWY_INLINE IntVec LoadBytes(const Byte* bytes) {
  return hn::PromoteTo(Ints(), hn::LoadU(hn::Rebind<Byte, Ints>(), bytes));
}

// ---- Formats -----------------------------------------------------------------------------------
// For each block type of formats.h, Unpack<Block> has
//   kNumbers            in a block
//   kScales, Scales(b, scales)   the f32 factors of block b, to be computed for several blocks
//   ahead:
//                       a vector then takes one from memory for nothing, while spreading a scale
//                       over the lanes of a register would keep the units busy that unpack numbers
//   Step(b, scales, s)  numbers 32 s to 32 s + 31 of the block, of which
//   Step.Numbers(i)     gives i to i + kLanes - 1; i is a constant once the caller's loop is
//   unrolled

template <class Block>
struct Unpack;

// Blocks whose scales are computed ahead.
inline constexpr int64_t kScalesAhead = 4;

// F32, F16, BF16 have no blocks: 32 numbers are taken as one.
#pragma pack(push, 1)
struct BlockF32 {
  float numbers[kStep];
};
struct BlockF16 {
  F16 numbers[kStep];
};
struct BlockBF16 {
  BF16 numbers[kStep];
};
#pragma pack(pop)

template <>
struct Unpack<BlockF32> {
  static constexpr int kNumbers = kStep, kScales = 0;
  struct Step {
    const float* numbers;
    HWY_INLINE Step(const BlockF32& b, const float*, int) : numbers(b.numbers) {}
    HWY_INLINE FloatVec Numbers(int i) const { return hn::LoadU(Floats(), numbers + i); }
  };
};

template <>
struct Unpack<BlockF16> {
  static constexpr int kNumbers = kStep, kScales = 0;
  struct Step {
    const F16* numbers;
    HWY_INLINE Step(const BlockF16& b, const float*, int) : numbers(b.numbers) {}
    HWY_INLINE FloatVec Numbers(int i) const {
#if HWY_TARGET <= HWY_AVX2
      const hn::Rebind<hwy::float16_t, Floats> f16;
      const auto bits = hn::LoadU(hn::RebindToUnsigned<decltype(f16)>(), numbers + i);
      return hn::PromoteTo(Floats(), hn::BitCast(f16, bits));
#else
      F16 halves[kLanes];
      HWY_ALIGN float out[kLanes];
      std::memcpy(halves, numbers + i, sizeof(halves));  // `numbers` may lie at an odd address
      for (int j = 0; j < kLanes; ++j) out[j] = ToF32(halves[j]);
      return hn::Load(Floats(), out);
#endif
    }
  };
};

template <>
struct Unpack<BlockBF16> {
  static constexpr int kNumbers = kStep, kScales = 0;
  struct Step {
    const BF16* numbers;
    HWY_INLINE Step(const BlockBF16& b, const float*, int) : numbers(b.numbers) {}
    HWY_INLINE FloatVec Numbers(int i) const {
      const hn::RebindToUnsigned<Floats> u32;
      const auto bits = hn::PromoteTo(u32, hn::LoadU(hn::Rebind<uint16_t, Floats>(), numbers + i));
      return hn::BitCast(Floats(), hn::ShiftLeft<16>(bits));
    }
  };
};

// The 16 values of a four-bit number q, scale * (q + bias) + offset.
#if HWY_TARGET <= HWY_AVX3
// They fit into one vector, where looking one up is a single instruction, instead of a mask, a
// conversion and a multiply-add.
template <int kBias>
struct FourBitValues {
  FloatVec table;

  HWY_INLINE FourBitValues(const float* scale, const float* offset) {
    const FloatVec q = hn::ConvertTo(Floats(), hn::Iota(Ints(), kBias));
    table = offset == nullptr ? hn::Mul(Broadcast(*scale), q)
                              : hn::MulAdd(Broadcast(*scale), q, Broadcast(*offset));
  }
  // The low four bits of each lane count, of 8. (hn::TableLookupLanes would, in a debug build, want
  // the others to be 0.)
  HWY_INLINE FloatVec Of(IntVec bits) const {
    return FloatVec{_mm512_permutexvar_ps(bits.raw, table.raw)};
  }
};
#else
template <int kBias>
struct FourBitValues {
  FloatVec scale, offset;

  HWY_INLINE FourBitValues(const float* scale_at, const float* offset_at)
      : scale(Broadcast(*scale_at)),
        offset(offset_at ? Broadcast(*offset_at) : hn::Zero(Floats())) {}
  // The low four bits of each lane count, of 8.
  HWY_INLINE FloatVec Of(IntVec bits) const {
    const IntVec q = hn::And(bits, hn::Set(Ints(), 15));
    if constexpr (kBias != 0) {
      return hn::Mul(scale, hn::ConvertTo(Floats(), hn::Add(q, hn::Set(Ints(), kBias))));
    } else {
      return hn::MulAdd(scale, hn::ConvertTo(Floats(), q), offset);
    }
  }
};
#endif

// Blocks of 32: byte j has number j in its low half and number j + 16 in its high half.
template <int kBias>
struct FourBitStep {
  FourBitValues<kBias> values;
  const uint8_t* qs;
  HWY_INLINE FloatVec Numbers(int i) const {
    if (i < 16) return values.Of(LoadBytes(qs + i));
    return values.Of(hn::ShiftRight<4>(LoadBytes(qs + i - 16)));
  }
};

template <>
struct Unpack<BlockQ4_0> {
  static constexpr int kNumbers = kBlock32, kScales = 1;
  static HWY_INLINE void Scales(const BlockQ4_0& b, float* scales) { scales[0] = ToF32(b.d); }
  struct Step : FourBitStep<-8> {
    HWY_INLINE Step(const BlockQ4_0& b, const float* scales, int)
        : FourBitStep{{scales, nullptr}, b.qs} {}
  };
};

template <>
struct Unpack<BlockQ4_1> {
  static constexpr int kNumbers = kBlock32, kScales = 2;
  static HWY_INLINE void Scales(const BlockQ4_1& b, float* scales) {
#if HWY_TARGET <= HWY_AVX2
    const hn::CappedTag<float, 2> two;
    const hn::Rebind<hwy::float16_t, decltype(two)> f16;
    hn::StoreU(hn::PromoteTo(two, hn::LoadU(f16, reinterpret_cast<const hwy::float16_t*>(&b))), two,
               scales);
#else
    scales[0] = ToF32(b.d);
    scales[1] = ToF32(b.m);
#endif
  }
#if HWY_TARGET <= HWY_AVX3
  // scales[o] of the blocks w[o][first] to w[o][first + n - 1]; n <= 4. Picked out of whole
  // vectors, of two rows at once: a third of the instructions.
  static HWY_INLINE void ScalesOfRows(const BlockQ4_1* const (&w)[4], int64_t first, int64_t n,
                                      float (&scales)[4][8]) {
    // Words 0, 5, 10 and 15 of the first row, then of the second. The fourth block ends past them.
    const __m512i words = _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 31, 26, 21, 16, 15, 10, 5, 0);
    const auto inside = static_cast<__mmask16>(n >= 4 ? 0xFFFF : (1 << 5 * n) - 1);
#pragma GCC unroll 2
    for (int o = 0; o < 4; o += 2) {
      const __m512i a = _mm512_maskz_loadu_epi32(inside, w[o] + first);
      const __m512i b = _mm512_maskz_loadu_epi32(inside, w[o + 1] + first);
      const __m512i picked = _mm512_permutex2var_epi32(a, words, b);
      _mm512_storeu_ps(scales[o], _mm512_cvtph_ps(_mm512_castsi512_si256(picked)));
    }
  }
#endif
  struct Step : FourBitStep<0> {
    HWY_INLINE Step(const BlockQ4_1& b, const float* scales, int)
        : FourBitStep{{scales, scales + 1}, b.qs} {}
  };
};

template <>
struct Unpack<BlockQ8_0> {
  static constexpr int kNumbers = kBlock32, kScales = 1;
  static HWY_INLINE void Scales(const BlockQ8_0& b, float* scales) { scales[0] = ToF32(b.d); }
  struct Step {
    FloatVec d;
    const int8_t* qs;
    HWY_INLINE Step(const BlockQ8_0& b, const float* scales, int)
        : d(Broadcast(*scales)), qs(b.qs) {}
    HWY_INLINE FloatVec Numbers(int i) const {
      return hn::Mul(d, hn::ConvertTo(Floats(), LoadBytes(qs + i)));
    }
  };
};

// numbers[i] = factor * bytes[i], for i < n.
template <typename Byte>
HWY_INLINE void ScaleBytes(const Byte* bytes, int n, float factor, float* numbers) {
  const hn::CappedTag<float, 8> floats;
  const hn::RebindToSigned<decltype(floats)> ints;
  const hn::Rebind<Byte, decltype(floats)> narrow;
  for (int i = 0; i < n; i += static_cast<int>(hn::MaxLanes(floats))) {
    const auto wide = hn::ConvertTo(floats, hn::PromoteTo(ints, hn::LoadU(narrow, bytes + i)));
    hn::StoreU(hn::Mul(hn::Set(floats, factor), wide), floats, numbers + i);
  }
}

template <>
struct Unpack<BlockQ4_K> {
  static constexpr int kNumbers = kBlock256, kScales = 16;  // 8 scales, 8 mins made negative
  static HWY_INLINE void Scales(const BlockQ4_K& b, float* scales) {
    // Four at a time, in the bytes of a word; formats.h has the layout.
    uint32_t packed[3], scale[2], min[2];
    std::memcpy(packed, b.scales, sizeof(packed));
    scale[0] = packed[0] & 0x3F3F3F3F;
    min[0] = packed[1] & 0x3F3F3F3F;
    scale[1] = (packed[2] & 0x0F0F0F0F) | (packed[0] >> 2 & 0x30303030);
    min[1] = (packed[2] >> 4 & 0x0F0F0F0F) | (packed[1] >> 2 & 0x30303030);
    uint8_t bytes[8];
    std::memcpy(bytes, scale, sizeof(bytes));
    ScaleBytes(bytes, 8, ToF32(b.d), scales);
    std::memcpy(bytes, min, sizeof(bytes));
    ScaleBytes(bytes, 8, -ToF32(b.dmin), scales + 8);
  }
  struct Step {
    FourBitValues<0> values;
    const uint8_t* qs;
    bool high;  // an even step is in the low halves of 32 bytes, the odd one after it in the high
    HWY_INLINE Step(const BlockQ4_K& b, const float* scales, int s)
        : values(scales + s, scales + 8 + s), qs(b.qs + s / 2 * 32), high(s % 2 == 1) {}
    HWY_INLINE FloatVec Numbers(int i) const {
      const IntVec bytes = LoadBytes(qs + i);
      return values.Of(high ? hn::ShiftRight<4>(bytes) : bytes);
    }
  };
};

template <>
struct Unpack<BlockQ6_K> {
  static constexpr int kNumbers = kBlock256, kScales = 16;
  static HWY_INLINE void Scales(const BlockQ6_K& b, float* scales) {
    ScaleBytes(b.scales, 16, ToF32(b.d), scales);
  }
  struct Step {
    FloatVec scales[2];  // of numbers 0 to 15, and 16 to 31
    const uint8_t *ql, *qh;
    int low_shift, high_shift;
    HWY_INLINE Step(const BlockQ6_K& b, const float* block_scales, int s)
        : scales{Broadcast(block_scales[2 * s]), Broadcast(block_scales[2 * s + 1])} {
      const int half = s / 4, part = s % 4;  // p of formats.h
      ql = b.ql + 64 * half + 32 * (part % 2);
      qh = b.qh + 32 * half;
      low_shift = part / 2 * 4;
      high_shift = 2 * part;
    }
    HWY_INLINE FloatVec Numbers(int i) const {
      const IntVec low = hn::ShiftRightSame(LoadBytes(ql + i), low_shift);
      const IntVec high = hn::ShiftLeft<4>(hn::ShiftRightSame(LoadBytes(qh + i), high_shift));
      const IntVec q =
          hn::Or(hn::And(low, hn::Set(Ints(), 15)), hn::And(high, hn::Set(Ints(), 48)));
      return hn::Mul(scales[i / 16], hn::ConvertTo(Floats(), hn::Sub(q, hn::Set(Ints(), 32))));
    }
  };
};

}  // namespace aios::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // AIOS_KERNELS_CPU_UNPACK_INL_H_
