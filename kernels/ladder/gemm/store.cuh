// What the levels with matrix instructions share: their accumulators go to C in pairs.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

namespace aios::ladder::gemm {

// C[row, column] and C[row, column + 1], what of them exists. `column` is even.
__device__ inline void StorePair(__nv_bfloat16* c, int m, int n, int row, int column, float v0,
                                 float v1) {
  if (row >= m || column >= n) return;
  __nv_bfloat16* const to = c + int64_t{row} * n + column;
  if (n % 2 == 0) {  // then each pair begins at a multiple of 4 bytes, and has both its columns
    *reinterpret_cast<__nv_bfloat162*>(to) = __floats2bfloat162_rn(v0, v1);
  } else {
    to[0] = __float2bfloat16(v0);
    if (column + 1 < n) to[1] = __float2bfloat16(v1);
  }
}

}  // namespace aios::ladder::gemm
