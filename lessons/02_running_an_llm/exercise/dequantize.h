// Exercise: Q4_1, the format of most weights in the default model's file.
//
// 32 weights share a scale and a minimum; each has 4 bits of its own. A block is 20 bytes:
//
//   bytes 0, 1     d, the scale, a 16-bit float: its low byte first
//   bytes 2, 3     m, the minimum, the same
//   bytes 4 to 19  q, 16 bytes with two 4-bit numbers each: byte 4 + j has number j in its low half
//                  (the lower 4 bits) and number j + 16 in its high half
//
//   x[i] = d * q[i] + m,  with q[i] from 0 to 15
//
// By hand: d = 0.5, m = -1, and byte 4 is 0xF2. Its low half is 2, so x[0] = 0.5 * 2 - 1 = 0; its
// high half is 15, so x[16] = 0.5 * 15 - 1 = 6.5.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

namespace aios::exercise {

// The value of a 16-bit float (IEEE 754 binary16), given as its bits: 0x3800 is 0.5. It is here for
// you to use.
inline float HalfToFloat(uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const int fraction = bits & 1023;
  float value = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                              : std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
  if (exponent == 31) value = fraction == 0 ? INFINITY : NAN;
  return (bits & 0x8000) != 0 ? -value : value;
}

// Turns all blocks into numbers.
//   blocks [n_blocks * 20] bytes, at any address, odd ones too
//   out    [n_blocks * 32]
void DequantizeQ4_1(std::span<const uint8_t> blocks, std::span<float> out);

}  // namespace aios::exercise
