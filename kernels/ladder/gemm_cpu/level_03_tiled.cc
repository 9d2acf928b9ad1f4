// Level 3: blocks of W that fit the L1 cache, packed.
//
// What changed. W is cut into blocks of kColumns columns of y x kDepth terms of their sums: 64 x 64
// floats, 16 KB, half of an L1 cache. A block is fetched once, transposed into a buffer of its own,
// and then used by all m rows of x before the next one comes:
//
//            n                    wt block              for each block: for each row i of x:
//     +---+---+---+           +-----------+               y[i][64 columns] +=
//     |   | B |   |  k   -->  |  64 x 64  | packed            x[i][64 terms] * block
//     +---+---+---+           +-----------+
//
// Why it is faster. Level 2 moved 4 n k bytes of W for every row. Now W moves once, x n / 64 times
// and y k / 64 times back and forth: at 768 x 768 x 768 that is 2.4 MB + 12 * 2.4 MB + 24 * 2.4 MB
// = 87 MB instead of 1.8 GB. Packed, the block's rows lie one after the other: without that they
// would be n floats apart, which at n = 1024 is 4 KB, and addresses 4 KB apart share one set of the
// L1 cache, which holds 8 or 12 of them.
//
// How much that gains depends on what W cost before. Level 2's SSE2 asks for so little that a quiet
// L3 which holds all of W brings it in time: 1.1 times at 768 (Zen 4). Where W's 16 MB come from
// farther away, at 2048, it is 1.5 times, and where neighbours use the same L3, 1.8 times. The next
// level eats four times as much in the same time, and would starve without blocks.
//
// What limits it now. Four products of SSE2 still cost two loads and a store, though in L1: 8 FLOPs
// a cycle at best.
#include <algorithm>

#include "kernels/ladder/gemm_cpu/levels.h"

namespace aios::ladder::gemm_cpu {
namespace {

constexpr int64_t kColumns = 64;
constexpr int64_t kDepth = 64;

// block[d][j] = w[first_column + j][first_term + d], and zeros to the right of the matrix.
void Pack(const GemmArgs& args, int64_t first_column, int64_t n_columns, int64_t first_term,
          int64_t n_terms, float block[kDepth][kColumns]) {
  for (int64_t j = 0; j < kColumns; ++j) {
    for (int64_t d = 0; d < n_terms; ++d) {
      block[d][j] = j < n_columns ? args.w[(first_column + j) * args.k + first_term + d] : 0.0F;
    }
  }
}

}  // namespace

void Tiled(const GemmArgs& args) {
  const auto [m, n, k, x, w, y, n_threads] = args;
  std::fill(y, y + m * n, 0.0F);
  alignas(64) float block[kDepth][kColumns];
  for (int64_t column = 0; column < n; column += kColumns) {
    const int64_t n_columns = std::min(kColumns, n - column);
    for (int64_t term = 0; term < k; term += kDepth) {
      const int64_t n_terms = std::min(kDepth, k - term);
      Pack(args, column, n_columns, term, n_terms, block);
      for (int64_t i = 0; i < m; ++i) {
        alignas(64) float sums[kColumns] = {};
        for (int64_t d = 0; d < n_terms; ++d) {
          const float factor = x[i * k + term + d];
          for (int64_t j = 0; j < kColumns; ++j) sums[j] += factor * block[d][j];
        }
        float* to = y + i * n + column;
        for (int64_t j = 0; j < n_columns; ++j) to[j] += sums[j];
      }
    }
  }
}

}  // namespace aios::ladder::gemm_cpu
