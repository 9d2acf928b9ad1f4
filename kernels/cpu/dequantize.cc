// Plain loops: this file is compiled once for each instruction set (Highway's foreach_target), the
// compiler vectorizes them for that set, and Dequantize picks the best that the CPU has when the
// program runs.
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

// Without branches, so that a loop of these becomes SIMD code. Never makes a subnormal f32, which
// would be slow.
inline float ToF32(F16 h) {
  const uint32_t magnitude = static_cast<uint32_t>(h & 0x7FFF)
                             << 13;  // exponent and fraction in place, wrong bias
  const uint32_t normal = magnitude + ((127u - 15) << 23);
  const uint32_t infinite =
      magnitude + ((255u - 31) << 23);  // infinity or NaN: the exponent stays all ones
  // A subnormal f16 is fraction * 2^-24. Put behind a leading 1 with that weight, it is a normal
  // f32 too large by 2^-14.
  const uint32_t small =
      std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude + ((127u - 14) << 23)) - 0x1p-14f);
  const uint32_t exponent = h & 0x7C00;
  const uint32_t bits = exponent == 0 ? small : exponent == 0x7C00 ? infinite : normal;
  return std::bit_cast<float>(bits | (static_cast<uint32_t>(h & 0x8000) << 16));
}

// ---- One block each, in the layouts of formats.h ------------------------------------------------
// __restrict: `out` is no part of the block, so loads may move before stores.

void Block(const BlockQ4_0& __restrict b, float* __restrict out) {
  const float d = ToF32(b.d);
  for (int j = 0; j < 16; ++j) out[j] = d * static_cast<float>((b.qs[j] & 15) - 8);
  for (int j = 0; j < 16; ++j) out[j + 16] = d * static_cast<float>((b.qs[j] >> 4) - 8);
}

void Block(const BlockQ4_1& __restrict b, float* __restrict out) {
  const float d = ToF32(b.d);
  const float m = ToF32(b.m);
  for (int j = 0; j < 16; ++j) out[j] = d * static_cast<float>(b.qs[j] & 15) + m;
  for (int j = 0; j < 16; ++j) out[j + 16] = d * static_cast<float>(b.qs[j] >> 4) + m;
}

// The fifth bits of 32 numbers, each as 0 or 16.
inline void FifthBits(const uint8_t (&qh)[4], int32_t* __restrict fifth) {
  uint32_t bits;
  std::memcpy(&bits, qh, sizeof(bits));
  for (int j = 0; j < 32; ++j) fifth[j] = static_cast<int32_t>((bits >> j & 1) << 4);
}

void Block(const BlockQ5_0& __restrict b, float* __restrict out) {
  const float d = ToF32(b.d);
  int32_t fifth[32];
  FifthBits(b.qh, fifth);
  for (int j = 0; j < 16; ++j) out[j] = d * static_cast<float>(((b.qs[j] & 15) | fifth[j]) - 16);
  for (int j = 0; j < 16; ++j)
    out[j + 16] = d * static_cast<float>(((b.qs[j] >> 4) | fifth[j + 16]) - 16);
}

void Block(const BlockQ5_1& __restrict b, float* __restrict out) {
  const float d = ToF32(b.d);
  const float m = ToF32(b.m);
  int32_t fifth[32];
  FifthBits(b.qh, fifth);
  for (int j = 0; j < 16; ++j) out[j] = d * static_cast<float>((b.qs[j] & 15) | fifth[j]) + m;
  for (int j = 0; j < 16; ++j)
    out[j + 16] = d * static_cast<float>((b.qs[j] >> 4) | fifth[j + 16]) + m;
}

void Block(const BlockQ8_0& __restrict b, float* __restrict out) {
  const float d = ToF32(b.d);
  for (int j = 0; j < 32; ++j) out[j] = d * static_cast<float>(b.qs[j]);
}

// The 8 scales and mins of a Q4_K or Q5_K block, times their shared factors.
inline void Scales(const uint8_t (&packed)[12], float d, float dmin, float* __restrict scales,
                   float* __restrict mins) {
  for (int j = 0; j < 4; ++j) {
    scales[j] = d * static_cast<float>(packed[j] & 63);
    mins[j] = dmin * static_cast<float>(packed[j + 4] & 63);
    scales[j + 4] = d * static_cast<float>((packed[j + 8] & 15) | packed[j] >> 6 << 4);
    mins[j + 4] = dmin * static_cast<float>(packed[j + 8] >> 4 | packed[j + 4] >> 6 << 4);
  }
}

void Block(const BlockQ4_K& __restrict b, float* __restrict out) {
  float scales[8];
  float mins[8];
  Scales(b.scales, ToF32(b.d), ToF32(b.dmin), scales, mins);
  for (int s = 0; s < 8; s += 2, out += 64) {
    const uint8_t* __restrict qs = b.qs + 16 * s;
    for (int i = 0; i < 32; ++i) out[i] = scales[s] * static_cast<float>(qs[i] & 15) - mins[s];
    for (int i = 0; i < 32; ++i)
      out[i + 32] = scales[s + 1] * static_cast<float>(qs[i] >> 4) - mins[s + 1];
  }
}

void Block(const BlockQ5_K& __restrict b, float* __restrict out) {
  float scales[8];
  float mins[8];
  Scales(b.scales, ToF32(b.d), ToF32(b.dmin), scales, mins);
  for (int s = 0; s < 8; ++s, out += 32) {
    const uint8_t* __restrict qs = b.qs + 32 * (s / 2);
    const int shift = 4 * (s % 2);
    for (int i = 0; i < 32; ++i) {
      const int q = (qs[i] >> shift & 15) | (b.qh[i] >> s & 1) << 4;
      out[i] = scales[s] * static_cast<float>(q) - mins[s];
    }
  }
}

void Block(const BlockQ6_K& __restrict b, float* __restrict out) {
  const float d = ToF32(b.d);
  for (int s = 0; s < 16; ++s, out += 16) {
    // Half, quarter of the half, 16 of the quarter.
    const int h = s / 8, q4 = s / 2 % 4, t = s % 2;
    const uint8_t* __restrict ql = b.ql + 64 * h + 32 * (q4 % 2) + 16 * t;
    const uint8_t* __restrict qh = b.qh + 32 * h + 16 * t;
    const float scale = d * static_cast<float>(b.scales[s]);
    for (int i = 0; i < 16; ++i) {
      const int q = (ql[i] >> 4 * (q4 / 2) & 15) | (qh[i] >> 2 * q4 & 3) << 4;
      out[i] = scale * static_cast<float>(q - 32);
    }
  }
}

template <typename BlockT>
void Blocks(const void* blocks, int64_t n, float* out, int block_size) {
  const auto* block = static_cast<const BlockT*>(blocks);
  for (int64_t i = 0; i < n / block_size; ++i) Block(block[i], out + i * block_size);
}

// ---- Formats without blocks ---------------------------------------------------------------------

void Halves(const void* __restrict halves, int64_t n, float* __restrict out) {
  const auto* bytes = static_cast<const char*>(halves);
  for (int64_t i = 0; i < n; ++i) {
    F16 h;
    std::memcpy(&h, bytes + 2 * i, sizeof(h));
    out[i] = ToF32(h);
  }
}

void BrainFloats(const void* __restrict halves, int64_t n, float* __restrict out) {
  const auto* bytes = static_cast<const char*>(halves);
  for (int64_t i = 0; i < n; ++i) {
    BF16 h;
    std::memcpy(&h, bytes + 2 * i, sizeof(h));
    out[i] = std::bit_cast<float>(static_cast<uint32_t>(h) << 16);
  }
}

}  // namespace

void DequantizeFor(Format format, const void* blocks, int64_t n, float* out) {
  switch (format) {
    case Format::kF32:
      std::memcpy(out, blocks, static_cast<size_t>(n) * sizeof(float));
      return;
    case Format::kF16:
      return Halves(blocks, n, out);
    case Format::kBF16:
      return BrainFloats(blocks, n, out);
    case Format::kQ4_0:
      return Blocks<BlockQ4_0>(blocks, n, out, kBlock32);
    case Format::kQ4_1:
      return Blocks<BlockQ4_1>(blocks, n, out, kBlock32);
    case Format::kQ5_0:
      return Blocks<BlockQ5_0>(blocks, n, out, kBlock32);
    case Format::kQ5_1:
      return Blocks<BlockQ5_1>(blocks, n, out, kBlock32);
    case Format::kQ8_0:
      return Blocks<BlockQ8_0>(blocks, n, out, kBlock32);
    case Format::kQ4_K:
      return Blocks<BlockQ4_K>(blocks, n, out, kBlock256);
    case Format::kQ5_K:
      return Blocks<BlockQ5_K>(blocks, n, out, kBlock256);
    case Format::kQ6_K:
      return Blocks<BlockQ6_K>(blocks, n, out, kBlock256);
  }
}

}  // namespace aios::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace aios::kernels {

HWY_EXPORT(DequantizeFor);

void Dequantize(Format format, const void* blocks, int64_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(DequantizeFor)(format, blocks, n, out);
}

}  // namespace aios::kernels
#endif  // HWY_ONCE
