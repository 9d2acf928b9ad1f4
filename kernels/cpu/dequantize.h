// Dequantize: numbers of any weight format become f32.
#pragma once

#include <cstdint>

#include "kernels/formats.h"

namespace aios::kernels {

// out[i] = the i-th number of `blocks`, exactly as its format defines it, for i in [0, n).
//
// n: a multiple of the format's block size. blocks: n / block_size blocks, at any address. out: n
// floats. Thread-safe.
//
// Bitwise the same on every CPU (which NaN an infinite scale gives apart): a scale has 11 bits, a
// scale of a sub-block at most 7, a quantized number at most 6, so that their product is exact in
// f32, and only the sum with a minimum rounds, with fused multiply-add or without.
void Dequantize(Format format, const void* blocks, int64_t n, float* out);

}  // namespace aios::kernels
