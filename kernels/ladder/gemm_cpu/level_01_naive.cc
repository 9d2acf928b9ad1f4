// Level 1: three loops, as the formula says: y[i][j] = sum over d of x[i][d] * w[j][d].
//
// Why it is slow. Each addition needs the sum that the one before it made, and an addition takes 3
// to 5 cycles to come out: one product, 2 FLOPs, in about 4 cycles. A core with AVX-512 could do 32
// FLOPs in each cycle (64 with two units for such vectors): this level reaches about 1 / 64 of it.
// The compiler may not help: floating-point addition is not associative, and another order of the
// additions would be another result.
//
// Memory is not to blame yet. Both rows are read in the order in which they lie, 8 bytes in 4
// cycles, which every cache and even DRAM can give.
#include "kernels/ladder/gemm_cpu/levels.h"

namespace aios::ladder::gemm_cpu {

void Naive(const GemmArgs& args) {
  const auto [m, n, k, x, w, y, n_threads] = args;
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      float sum = 0;
      for (int64_t d = 0; d < k; ++d) sum += x[i * k + d] * w[j * k + d];
      y[i * n + j] = sum;
    }
  }
}

}  // namespace aios::ladder::gemm_cpu
