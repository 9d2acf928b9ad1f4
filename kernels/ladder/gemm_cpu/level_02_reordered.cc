// Level 2: the same sums, with the loop over the columns of y inside.
//
// What changed. Level 1 finishes one sum before it begins the next. Here the innermost loop takes
// one step of n different sums, none of which waits for another: y[i][j] += x[i][d] * wt[d][j] for
// all j. Neighbours in j are neighbours in memory (W is transposed once at the start, n k moves
// against m n k products), so the compiler makes SIMD code of the loop without changing the order
// of any sum: 4 sums an instruction with the SSE2 that every x86-64 CPU has.
//
// What limits it now. The sums no longer fit the registers: each product loads wt, loads y and
// stores y, 12 bytes for 2 FLOPs, and many cores store one vector a cycle: 8 FLOPs a cycle at best.
// A row of y stays in the L1 cache, but all of wt passes by once for each row of x: m * 4 n k
// bytes, 2 for each FLOP. At m = n = k = 768 that is 1.8 GB for 0.9 GFLOP, out of whichever cache
// holds 2.4 MB. A quiet L3 brings that in time, DRAM does not: one Zen 4 core did 23 GFLOP/s at
// 1536, where wt has 9 MB, 16 at 2048, and 14 at any size while neighbours used the same L3.
#include <vector>

#include "kernels/ladder/gemm_cpu/levels.h"

namespace aios::ladder::gemm_cpu {

void Reordered(const GemmArgs& args) {
  const auto [m, n, k, x, w, y, n_threads] = args;
  std::vector<float> wt(k * n);  // [k, n]
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t d = 0; d < k; ++d) wt[d * n + j] = w[j * k + d];
  }
  for (int64_t i = 0; i < m; ++i) {
    float* __restrict sums = y + i * n;  // overlaps nothing: the compiler need not check it
    for (int64_t j = 0; j < n; ++j) sums[j] = 0;
    for (int64_t d = 0; d < k; ++d) {
      const float factor = x[i * k + d];
      const float* wt_row = wt.data() + d * n;
      for (int64_t j = 0; j < n; ++j) sums[j] += factor * wt_row[j];
    }
  }
}

}  // namespace aios::ladder::gemm_cpu
