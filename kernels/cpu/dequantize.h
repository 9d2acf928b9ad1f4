// Dequantize: numbers of any weight format become f32.
#pragma once

#include <cstdint>

#include "kernels/formats.h"

namespace aios::kernels {

// out[i] = the i-th number of `blocks`, exactly as its format defines it, for i in [0, n).
// n: a multiple of the format's block size. blocks: n / block_size blocks, of any alignment. out: n
// floats. Thread-safe: pure. Bitwise the same on every machine: each number is one multiplication
// and at most one addition, never fused.
void Dequantize(Format format, const void* blocks, int64_t n, float* out);

}  // namespace aios::kernels
