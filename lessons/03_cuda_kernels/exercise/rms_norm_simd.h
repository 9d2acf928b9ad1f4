// Exercise: RMSNorm with SIMD, several numbers in one instruction.
//
//   out[i] = x[i] / sqrt(mean(x * x) + eps) * weight[i],  i = 0 .. n - 1
//
// Use Google Highway (https://google.github.io/highway), whose code is the same for every
// instruction set: rms_norm_simd.cc has what it takes already, and is compiled once for each. A
// vector has Lanes(d) numbers: 4 with SSE, 8 with AVX2, 16 with AVX-512; do not count on any of them.
// What you need:
//
//   hn::Zero(d)  hn::Set(d, number)  hn::LoadU(d, pointer)  hn::StoreU(vector, d, pointer)
//   hn::Mul(a, b)  hn::MulAdd(a, b, c) = a * b + c  hn::Add(a, b)
//   hn::GetLane(hn::SumOfLanes(d, vector))
//
// The traps: n need not be a multiple of the lanes, and the memory after the last number belongs to
// somebody else, for reading too. An addition takes about 4 cycles, and a sum that waits for itself
// does one in that time; keep two or four sums.
//
// By hand: x = [3, 4], weight = [1, 2], eps = 0: the mean of the squares is 12.5, its root 3.5355,
// out = [0.8485, 2.2627].
#pragma once

#include <cstdint>

namespace aios::exercise {

// x, weight, out [n], n >= 1; at any multiple of 4 bytes; out overlaps neither. For n = 2000 it
// must take at most half the time of a plain loop.
void RmsNorm(const float* x, const float* weight, float eps, int64_t n, float* out);

}  // namespace aios::exercise
