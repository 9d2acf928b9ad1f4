#include "tiled_gemm.h"

#include <algorithm>

namespace aios::exercise {

// BEGIN SOLUTION
namespace {

constexpr int64_t kRows = 4;
constexpr int64_t kColumns = 8;

// kRows x kColumns of c, whose sizes the compiler knows: the sums stay in registers.
void FullTile(const float* a, const float* b, float* c, int64_t n, int64_t k) {
  float sums[kRows][kColumns] = {};
  for (int64_t l = 0; l < k; ++l) {
    for (int64_t i = 0; i < kRows; ++i) {
      for (int64_t j = 0; j < kColumns; ++j) sums[i][j] += a[i * k + l] * b[l * n + j];
    }
  }
  for (int64_t i = 0; i < kRows; ++i) std::copy_n(sums[i], kColumns, c + i * n);
}

// At the edges: n_rows x n_columns of them.
void PartOfTile(const float* a, const float* b, float* c, int64_t n, int64_t k, int64_t n_rows,
                int64_t n_columns) {
  for (int64_t i = 0; i < n_rows; ++i) {
    for (int64_t j = 0; j < n_columns; ++j) {
      float sum = 0;
      for (int64_t l = 0; l < k; ++l) sum += a[i * k + l] * b[l * n + j];
      c[i * n + j] = sum;
    }
  }
}

}  // namespace

// END SOLUTION
void Gemm(const float* a, const float* b, float* c, int64_t m, int64_t n, int64_t k) {
  // BEGIN SOLUTION
  // Columns outside: a strip of b, k x 8, stays in the cache while all rows of a pass by.
  for (int64_t j = 0; j < n; j += kColumns) {
    const int64_t n_columns = std::min(kColumns, n - j);
    for (int64_t i = 0; i < m; i += kRows) {
      const int64_t n_rows = std::min(kRows, m - i);
      if (n_rows == kRows && n_columns == kColumns) {
        FullTile(a + i * k, b + j, c + i * n + j, n, k);
      } else {
        PartOfTile(a + i * k, b + j, c + i * n + j, n, k, n_rows, n_columns);
      }
    }
  }
  // END SOLUTION
}

}  // namespace aios::exercise
