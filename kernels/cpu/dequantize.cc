// This file is compiled once for each instruction set (Highway's foreach_target); Dequantize picks
// the best that the CPU has when the program runs. The code is the same for all: a vector has N
// lanes, 4 to 16 of them on x86.
#include "kernels/cpu/dequantize.h"

#include <bit>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/dequantize.cc"
#include "hwy/foreach_target.h"  // before highway.h, which it steers
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace aios::kernels::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// Runs of 16 numbers, the shortest that share a scale, are whole vectors.
using Floats = hn::CappedTag<float, 16>;
using Ints = hn::RebindToSigned<Floats>;
using FloatVec = hn::Vec<Floats>;
using IntVec = hn::Vec<Ints>;

// N bytes, each in a lane.
template <typename Byte>
IntVec LoadBytes(const Byte* bytes) {
  return hn::PromoteTo(Ints(), hn::LoadU(hn::Rebind<Byte, Ints>(), bytes));
}

IntVec LowHalves(IntVec bytes) { return hn::And(bytes, hn::Set(Ints(), 15)); }
IntVec HighHalves(IntVec bytes) { return hn::ShiftRight<4>(bytes); }

// out[0 .. N) = scale * q, or scale * q + offset.
void Store(FloatVec scale, IntVec q, float* out) {
  hn::StoreU(hn::Mul(scale, hn::ConvertTo(Floats(), q)), Floats(), out);
}
void Store(FloatVec scale, IntVec q, FloatVec offset, float* out) {
  hn::StoreU(hn::MulAdd(scale, hn::ConvertTo(Floats(), q), offset), Floats(), out);
}

// Without branches, so that a loop of these becomes SIMD code. Makes no subnormal f32, which would
// be slow.
float ToF32(F16 h) {
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

FloatVec Broadcast(float x) { return hn::Set(Floats(), x); }

// ---- One block each, in the layouts of formats.h -----------------------------------------------
// i runs over the numbers of a sub-block, N at a time.

void Block(const BlockQ4_0& b, float* out) {
  const FloatVec d = Broadcast(ToF32(b.d));
  const IntVec eight = hn::Set(Ints(), 8);
  for (size_t i = 0; i < 16; i += hn::Lanes(Ints())) {
    const IntVec qs = LoadBytes(b.qs + i);
    Store(d, hn::Sub(LowHalves(qs), eight), out + i);
    Store(d, hn::Sub(HighHalves(qs), eight), out + i + 16);
  }
}

void Block(const BlockQ4_1& b, float* out) {
  const FloatVec d = Broadcast(ToF32(b.d));
  const FloatVec m = Broadcast(ToF32(b.m));
  for (size_t i = 0; i < 16; i += hn::Lanes(Ints())) {
    const IntVec qs = LoadBytes(b.qs + i);
    Store(d, LowHalves(qs), m, out + i);
    Store(d, HighHalves(qs), m, out + i + 16);
  }
}

// Bits i, i + 1, ... of `bits`, each in a lane as 0 or 16.
IntVec FifthBits(uint32_t bits, size_t i) {
  const IntVec first = hn::Set(Ints(), 1);
  const IntVec shifted = hn::Set(Ints(), static_cast<int32_t>(bits >> i));
  const IntVec bit = hn::And(hn::Shr(shifted, hn::Iota(Ints(), 0)), first);
  return hn::ShiftLeft<4>(bit);
}

uint32_t LoadU32(const uint8_t (&bytes)[4]) {
  uint32_t value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

void Block(const BlockQ5_0& b, float* out) {
  const FloatVec d = Broadcast(ToF32(b.d));
  const uint32_t qh = LoadU32(b.qh);
  const IntVec sixteen = hn::Set(Ints(), 16);
  for (size_t i = 0; i < 16; i += hn::Lanes(Ints())) {
    const IntVec qs = LoadBytes(b.qs + i);
    Store(d, hn::Sub(hn::Or(LowHalves(qs), FifthBits(qh, i)), sixteen), out + i);
    Store(d, hn::Sub(hn::Or(HighHalves(qs), FifthBits(qh, i + 16)), sixteen), out + i + 16);
  }
}

void Block(const BlockQ5_1& b, float* out) {
  const FloatVec d = Broadcast(ToF32(b.d));
  const FloatVec m = Broadcast(ToF32(b.m));
  const uint32_t qh = LoadU32(b.qh);
  for (size_t i = 0; i < 16; i += hn::Lanes(Ints())) {
    const IntVec qs = LoadBytes(b.qs + i);
    Store(d, hn::Or(LowHalves(qs), FifthBits(qh, i)), m, out + i);
    Store(d, hn::Or(HighHalves(qs), FifthBits(qh, i + 16)), m, out + i + 16);
  }
}

void Block(const BlockQ8_0& b, float* out) {
  const FloatVec d = Broadcast(ToF32(b.d));
  for (size_t i = 0; i < 32; i += hn::Lanes(Ints())) Store(d, LoadBytes(b.qs + i), out + i);
}

// The 8 scales and mins of a Q4_K or Q5_K block, times their shared factors. The mins become
// negative: they are added.
void UnpackScales(const uint8_t (&packed)[12], float d, float dmin, float* scales, float* offsets) {
  for (int j = 0; j < 4; ++j) {
    scales[j] = d * static_cast<float>(packed[j] & 63);
    offsets[j] = -dmin * static_cast<float>(packed[j + 4] & 63);
    scales[j + 4] = d * static_cast<float>((packed[j + 8] & 15) | packed[j] >> 6 << 4);
    offsets[j + 4] = -dmin * static_cast<float>(packed[j + 8] >> 4 | packed[j + 4] >> 6 << 4);
  }
}

void Block(const BlockQ4_K& b, float* out) {
  float scales[8];
  float offsets[8];
  UnpackScales(b.scales, ToF32(b.d), ToF32(b.dmin), scales, offsets);
  for (int s = 0; s < 8; s += 2) {
    const FloatVec scale0 = Broadcast(scales[s]), offset0 = Broadcast(offsets[s]);
    const FloatVec scale1 = Broadcast(scales[s + 1]), offset1 = Broadcast(offsets[s + 1]);
    for (size_t i = 0; i < 32; i += hn::Lanes(Ints())) {
      const IntVec qs = LoadBytes(b.qs + 16 * s + i);
      Store(scale0, LowHalves(qs), offset0, out + 32 * s + i);
      Store(scale1, HighHalves(qs), offset1, out + 32 * s + 32 + i);
    }
  }
}

void Block(const BlockQ5_K& b, float* out) {
  float scales[8];
  float offsets[8];
  UnpackScales(b.scales, ToF32(b.d), ToF32(b.dmin), scales, offsets);
  const IntVec sixteen = hn::Set(Ints(), 16);
  for (int s = 0; s < 8; s += 2) {
    const FloatVec scale0 = Broadcast(scales[s]), offset0 = Broadcast(offsets[s]);
    const FloatVec scale1 = Broadcast(scales[s + 1]), offset1 = Broadcast(offsets[s + 1]);
    for (size_t i = 0; i < 32; i += hn::Lanes(Ints())) {
      const IntVec qs = LoadBytes(b.qs + 16 * s + i);
      const IntVec qh = hn::ShiftRightSame(LoadBytes(b.qh + i), s);
      const IntVec fifth0 = hn::And(hn::ShiftLeft<4>(qh), sixteen);
      const IntVec fifth1 = hn::And(hn::ShiftLeft<3>(qh), sixteen);
      Store(scale0, hn::Or(LowHalves(qs), fifth0), offset0, out + 32 * s + i);
      Store(scale1, hn::Or(HighHalves(qs), fifth1), offset1, out + 32 * s + 32 + i);
    }
  }
}

void Block(const BlockQ6_K& b, float* out) {
  const float d = ToF32(b.d);
  const IntVec high_bits = hn::Set(Ints(), 0x30);
  const IntVec thirty_two = hn::Set(Ints(), 32);
  for (int run = 0; run < 4; ++run) {  // 16 bytes of qh, which 4 sub-blocks share
    const int half = run / 2, part = run % 2;
    const uint8_t* ql = b.ql + 64 * half + 16 * part;
    const int8_t* scales = b.scales + 8 * half + part;
    float* to = out + 128 * half + 16 * part;
    FloatVec scale0 = Broadcast(d * static_cast<float>(scales[0]));
    FloatVec scale1 = Broadcast(d * static_cast<float>(scales[2]));
    FloatVec scale2 = Broadcast(d * static_cast<float>(scales[4]));
    FloatVec scale3 = Broadcast(d * static_cast<float>(scales[6]));
    for (size_t i = 0; i < 16; i += hn::Lanes(Ints())) {
      const IntVec ql0 = LoadBytes(ql + i);
      const IntVec ql1 = LoadBytes(ql + 32 + i);
      const IntVec qh = LoadBytes(b.qh + 16 * run + i);
      const IntVec high0 = hn::And(hn::ShiftLeft<4>(qh), high_bits);
      const IntVec high1 = hn::And(hn::ShiftLeft<2>(qh), high_bits);
      const IntVec high2 = hn::And(qh, high_bits);
      const IntVec high3 = hn::And(hn::ShiftRight<2>(qh), high_bits);
      Store(scale0, hn::Sub(hn::Or(LowHalves(ql0), high0), thirty_two), to + i);
      Store(scale1, hn::Sub(hn::Or(LowHalves(ql1), high1), thirty_two), to + 32 + i);
      Store(scale2, hn::Sub(hn::Or(HighHalves(ql0), high2), thirty_two), to + 64 + i);
      Store(scale3, hn::Sub(hn::Or(HighHalves(ql1), high3), thirty_two), to + 96 + i);
    }
  }
}

template <typename BlockT>
void Blocks(const void* blocks, int64_t n, int block_size, float* out) {
  const auto* block = static_cast<const BlockT*>(blocks);
  for (int64_t i = 0; i < n / block_size; ++i) Block(block[i], out + i * block_size);
}

// ---- Formats without blocks: plain loops, which the compiler vectorizes ------------------------

void HalvesF16(const void* __restrict halves, int64_t n, float* __restrict out) {
  const auto* bytes = static_cast<const char*>(halves);
  for (int64_t i = 0; i < n; ++i) {
    F16 h;
    std::memcpy(&h, bytes + 2 * i, sizeof(h));
    out[i] = ToF32(h);
  }
}

void HalvesBF16(const void* __restrict halves, int64_t n, float* __restrict out) {
  const auto* bytes = static_cast<const char*>(halves);
  for (int64_t i = 0; i < n; ++i) {
    BF16 h;
    std::memcpy(&h, bytes + 2 * i, sizeof(h));
    out[i] = std::bit_cast<float>(static_cast<uint32_t>(h) << 16);
  }
}

}  // namespace

void DequantizeForTarget(Format format, const void* blocks, int64_t n, float* out) {
  switch (format) {
    case Format::kF32:
      std::memcpy(out, blocks, static_cast<size_t>(n) * sizeof(float));
      return;
    case Format::kF16:
      return HalvesF16(blocks, n, out);
    case Format::kBF16:
      return HalvesBF16(blocks, n, out);
    case Format::kQ4_0:
      return Blocks<BlockQ4_0>(blocks, n, kBlock32, out);
    case Format::kQ4_1:
      return Blocks<BlockQ4_1>(blocks, n, kBlock32, out);
    case Format::kQ5_0:
      return Blocks<BlockQ5_0>(blocks, n, kBlock32, out);
    case Format::kQ5_1:
      return Blocks<BlockQ5_1>(blocks, n, kBlock32, out);
    case Format::kQ8_0:
      return Blocks<BlockQ8_0>(blocks, n, kBlock32, out);
    case Format::kQ4_K:
      return Blocks<BlockQ4_K>(blocks, n, kBlock256, out);
    case Format::kQ5_K:
      return Blocks<BlockQ5_K>(blocks, n, kBlock256, out);
    case Format::kQ6_K:
      return Blocks<BlockQ6_K>(blocks, n, kBlock256, out);
  }
}

}  // namespace aios::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace aios::kernels {

HWY_EXPORT(DequantizeForTarget);

void Dequantize(Format format, const void* blocks, int64_t n, float* out) {
  if (n == 0) return;  // memcpy must not be given the null pointer of an empty tensor
  HWY_DYNAMIC_DISPATCH(DequantizeForTarget)(format, blocks, n, out);
}

}  // namespace aios::kernels
#endif  // HWY_ONCE
