// This file is compiled once for each instruction set (Highway's foreach_target); Dequantize picks
// the best that the CPU has when the program runs. The code is the same for all: a vector has N
// lanes, 4 to 16 of them on x86.
#include "kernels/cpu/dequantize.h"

#include <algorithm>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/dequantize.cc"
#include "hwy/foreach_target.h"  // before highway.h, which it steers
#include "hwy/highway.h"
#include "kernels/cpu/unpack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace aios::kernels::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using cpu::HWY_NAMESPACE::Broadcast;
using cpu::HWY_NAMESPACE::Floats;
using cpu::HWY_NAMESPACE::FloatVec;
using cpu::HWY_NAMESPACE::Ints;
using cpu::HWY_NAMESPACE::IntVec;
using cpu::HWY_NAMESPACE::kLanes;
using cpu::HWY_NAMESPACE::kScalesAhead;
using cpu::HWY_NAMESPACE::kStep;
using cpu::HWY_NAMESPACE::LoadBytes;
using cpu::HWY_NAMESPACE::ToF32;
using cpu::HWY_NAMESPACE::Unpack;

// ---- Formats that matrix products unpack, too: see unpack-inl.h ---------------------------------

// So far ahead of their use blocks are asked for, to the second-level cache. A product unpacks a
// panel, computes with it for longer than that took, and goes on: what it unpacks next is on its
// way all the while.
inline constexpr int64_t kPrefetchBytes = 4096;

template <class Block>
void Blocks(const void* from, int64_t n, float* out) {
  using Format = Unpack<Block>;
  const auto* blocks = static_cast<const Block*>(from);
  const int64_t n_blocks = n / Format::kNumbers;
  for (int64_t first = 0; first < n_blocks; first += kScalesAhead) {
    const int64_t n_ahead = std::min(kScalesAhead, n_blocks - first);
    const char* const later = reinterpret_cast<const char*>(blocks + first) + kPrefetchBytes;
#pragma GCC unroll 16
    for (size_t i = 0; i < kScalesAhead * sizeof(Block); i += 64)
      __builtin_prefetch(later + i, 0, 2);
    float scales[kScalesAhead][std::max(1, Format::kScales)];
    if constexpr (Format::kScales > 0) {
      for (int64_t b = 0; b < n_ahead; ++b) Format::Scales(blocks[first + b], scales[b]);
    }
    for (int64_t b = 0; b < n_ahead; ++b) {
#pragma GCC unroll 8
      for (int s = 0; s < Format::kNumbers / kStep; ++s) {
        const typename Format::Step step(blocks[first + b], scales[b], s);
#pragma GCC unroll 8
        for (int i = 0; i < kStep; i += kLanes) {
          hn::StoreU(step.Numbers(i), Floats(), out + s * kStep + i);
        }
      }
      out += Format::kNumbers;
    }
  }
}

// The same for formats without blocks, of which any number may be left.
template <class Block, typename Number>
void Numbers(const void* from, int64_t n, float* out) {
  const int64_t whole = n / kStep * kStep;
  Blocks<Block>(from, whole, out);
  Block rest = {};
  std::memcpy(&rest, static_cast<const char*>(from) + whole * sizeof(Number),
              (n - whole) * sizeof(Number));
  float numbers[kStep];
  Blocks<Block>(&rest, kStep, numbers);
  std::copy_n(numbers, n - whole, out + whole);
}

// ---- The others, in the layouts of formats.h ----------------------------------------------------
// i runs over the numbers of a sub-block, N at a time.

IntVec LowHalves(IntVec bytes) { return hn::And(bytes, hn::Set(Ints(), 15)); }
IntVec HighHalves(IntVec bytes) { return hn::ShiftRight<4>(bytes); }

// out[0 .. N) = scale * q, or scale * q + offset.
void Store(FloatVec scale, IntVec q, float* out) {
  hn::StoreU(hn::Mul(scale, hn::ConvertTo(Floats(), q)), Floats(), out);
}
void Store(FloatVec scale, IntVec q, FloatVec offset, float* out) {
  hn::StoreU(hn::MulAdd(scale, hn::ConvertTo(Floats(), q), offset), Floats(), out);
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

// The 8 scales and mins of a Q5_K block, times their shared factors. The mins become
// negative: they are added.
void UnpackScales(const uint8_t (&packed)[12], float d, float dmin, float* scales, float* offsets) {
  for (int j = 0; j < 4; ++j) {
    scales[j] = d * static_cast<float>(packed[j] & 63);
    offsets[j] = -dmin * static_cast<float>(packed[j + 4] & 63);
    scales[j + 4] = d * static_cast<float>((packed[j + 8] & 15) | packed[j] >> 6 << 4);
    offsets[j + 4] = -dmin * static_cast<float>(packed[j + 8] >> 4 | packed[j + 4] >> 6 << 4);
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

template <class BlockT>
void OtherBlocks(const void* blocks, int64_t n, int block_size, float* out) {
  const auto* block = static_cast<const BlockT*>(blocks);
  for (int64_t i = 0; i < n / block_size; ++i) Block(block[i], out + i * block_size);
}

}  // namespace

void DequantizeForTarget(Format format, const void* blocks, int64_t n, float* out) {
  switch (format) {
    case Format::kF32:
      std::memcpy(out, blocks, static_cast<size_t>(n) * sizeof(float));
      return;
    case Format::kF16:
      return Numbers<cpu::HWY_NAMESPACE::BlockF16, F16>(blocks, n, out);
    case Format::kBF16:
      return Numbers<cpu::HWY_NAMESPACE::BlockBF16, BF16>(blocks, n, out);
    case Format::kQ4_0:
      return Blocks<BlockQ4_0>(blocks, n, out);
    case Format::kQ4_1:
      return Blocks<BlockQ4_1>(blocks, n, out);
    case Format::kQ8_0:
      return Blocks<BlockQ8_0>(blocks, n, out);
    case Format::kQ4_K:
      return Blocks<BlockQ4_K>(blocks, n, out);
    case Format::kQ6_K:
      return Blocks<BlockQ6_K>(blocks, n, out);
    case Format::kQ5_0:
      return OtherBlocks<BlockQ5_0>(blocks, n, kBlock32, out);
    case Format::kQ5_1:
      return OtherBlocks<BlockQ5_1>(blocks, n, kBlock32, out);
    case Format::kQ5_K:
      return OtherBlocks<BlockQ5_K>(blocks, n, kBlock256, out);
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
