// The number formats of weights, as bytes. This is the floor of the tree: it includes nothing of
// AIOS.
//
// A tensor is a sequence of blocks along its last dimension: one number for F32, F16, BF16; 32 or
// 256 quantized numbers that share scales for the others. All is little-endian. The quantized
// layouts are those of GGUF files: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md,
// ggml-common.h; they are checked against the `gguf` Python package in
// tests/kernels/cpu/dequantize_test.cc.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace aios::kernels {

static_assert(std::endian::native == std::endian::little, "the formats below are little-endian");

// clang-format off
enum class Format : uint8_t {
  kF32, kF16, kBF16, kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0, kQ4_K, kQ5_K, kQ6_K
};
// clang-format on
inline constexpr int kNumFormats = 11;

// 16-bit floats are kept as their bits: f16 is IEEE binary16, bf16 the upper half of an IEEE
// binary32.
using F16 = uint16_t;
using BF16 = uint16_t;

// A file may put blocks at any address, odd ones too.
#pragma pack(push, 1)

// ---- Blocks of 32: x[i] = d * q[i] (+ m) --------------------------------------------------------
// Four-bit numbers are packed so that byte j holds number j in its low half and number j + 16 in
// its high half.
inline constexpr int kBlock32 = 32;

struct BlockQ4_0 {  // x = d * (q - 8)
  F16 d;
  uint8_t qs[16];
};
struct BlockQ4_1 {  // x = d * q + m
  F16 d;
  F16 m;
  uint8_t qs[16];
};
struct BlockQ5_0 {  // x = d * (q - 16); bit i of qh is the fifth bit of number i
  F16 d;
  uint8_t qh[4];
  uint8_t qs[16];
};
struct BlockQ5_1 {  // x = d * q + m
  F16 d;
  F16 m;
  uint8_t qh[4];
  uint8_t qs[16];
};
struct BlockQ8_0 {  // x = d * q
  F16 d;
  int8_t qs[32];
};

// ---- Blocks of 256 ("K-quants"): sub-blocks whose scales are quantized in turn ------------------
inline constexpr int kBlock256 = 256;

// Q4_K, Q5_K: 8 sub-blocks of 32, x = d * scale * q - dmin * min. The 8 scales and 8 mins have 6
// bits each: byte j < 4 holds scale j, byte j + 4 min j in their low six bits; bytes 8 to 11 hold
// the low four bits of scales and mins 4 to 7 (scale in the low half), whose high two bits are the
// high two bits of bytes 0 to 7.
struct BlockQ4_K {
  F16 d;
  F16 dmin;
  uint8_t scales[12];
  uint8_t qs[128];  // sub-blocks 2j and 2j + 1 in the low and high halves of bytes 32j to 32j + 31
};
struct BlockQ5_K {
  F16 d;
  F16 dmin;
  uint8_t scales[12];
  uint8_t qh[32];   // bit s of byte i is the fifth bit of number i of sub-block s
  uint8_t qs[128];  // as in Q4_K
};

// Q6_K: 16 sub-blocks of 16, x = d * scale * (q - 32). Two halves of 128 numbers; each half has 64
// bytes of ql, 32 of qh, 8 scales. Number 32p + i of a half (p < 4, i < 32) has its low four bits
// in byte 32 (p % 2) + i of ql, in the low half of it for p < 2 and else in the high half, and its
// high two bits in byte i of qh, at bit 2p.
struct BlockQ6_K {
  uint8_t ql[128];
  uint8_t qh[64];
  int8_t scales[16];
  F16 d;
};

#pragma pack(pop)

static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20 && sizeof(BlockQ5_0) == 22);
static_assert(sizeof(BlockQ5_1) == 24 && sizeof(BlockQ8_0) == 34 && sizeof(BlockQ4_K) == 144);
static_assert(sizeof(BlockQ5_K) == 176 && sizeof(BlockQ6_K) == 210);

struct FormatInfo {
  std::string_view name;
  int block_size;   // numbers in a block
  int block_bytes;  // bytes of a block
};

constexpr FormatInfo Info(Format format) {
  switch (format) {
    case Format::kF32:
      return {"F32", 1, 4};
    case Format::kF16:
      return {"F16", 1, 2};
    case Format::kBF16:
      return {"BF16", 1, 2};
    case Format::kQ4_0:
      return {"Q4_0", kBlock32, sizeof(BlockQ4_0)};
    case Format::kQ4_1:
      return {"Q4_1", kBlock32, sizeof(BlockQ4_1)};
    case Format::kQ5_0:
      return {"Q5_0", kBlock32, sizeof(BlockQ5_0)};
    case Format::kQ5_1:
      return {"Q5_1", kBlock32, sizeof(BlockQ5_1)};
    case Format::kQ8_0:
      return {"Q8_0", kBlock32, sizeof(BlockQ8_0)};
    case Format::kQ4_K:
      return {"Q4_K", kBlock256, sizeof(BlockQ4_K)};
    case Format::kQ5_K:
      return {"Q5_K", kBlock256, sizeof(BlockQ5_K)};
    case Format::kQ6_K:
      return {"Q6_K", kBlock256, sizeof(BlockQ6_K)};
  }
  return {};
}

}  // namespace aios::kernels
