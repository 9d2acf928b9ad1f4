// Level 4: the sums stay in registers; vectors as wide as the CPU has.
//
// What changed. A tile of y, kRows rows x 2 vectors of columns, lives in registers while a whole
// panel of terms passes by. One step multiplies kRows numbers of x with 2 vectors of W:
//
//                     w0        w1          2 vectors loaded
//            x0 |  sum[0][0] sum[0][1]
//            x1 |  sum[1][0] sum[1][1]      kRows numbers loaded, each into all lanes of a vector
//            ...|     ...       ...
//                                           2 kRows multiply-adds (FMA)
//
// Why it is faster. With AVX-512 and kRows = 12: 14 loads and no store for 24 FMAs of 16 lanes, 768
// FLOPs; level 3 needed 48 loads and 24 stores for as many products even with such vectors. And 24
// sums that do not wait for each other are more than the 8 to 10 that two FMA units with 4 to 5
// cycles of latency can have under way. 24 sums, 2 vectors of W and one of x are 27 of the 32
// registers. AVX2 has 16: kRows = 6, 12 + 2 + 1.
//
// The blocks are Goto's (https://doi.org/10.1145/1356052.1356053), one for each cache:
//   L2: kDepth terms x kColumns columns of W, 256 x 512 floats = 512 KB, packed as panels of 2
//       vectors of columns, in the order in which the tile reads them;
//   L1: kDepth terms x kRows rows of x, 12 KB, packed too, and used by all panels of that block.
// One step of a tile reads 128 bytes of a panel from L2 for its 24 FMAs, at most 11 bytes a cycle
// of the 32 to 64 that an L2 gives. Packing moves each number of W once a product, and each of x
// once for every 512 columns.
//
// The file is compiled once for each instruction set; the best one is chosen when it runs
// (kernels/cpu/dequantize.cc does the same).
#include <hwy/aligned_allocator.h>

#include <algorithm>
#include <cstring>

#include "kernels/ladder/gemm_cpu/levels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ladder/gemm_cpu/level_04_simd.cc"
#include "hwy/foreach_target.h"  // before highway.h, which it steers
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace aios::ladder::gemm_cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Floats = hn::CappedTag<float, 16>;
using FloatVec = hn::Vec<Floats>;

constexpr int64_t kRows = hn::MaxLanes(Floats()) == 16 ? 12 : 6;
constexpr int64_t kWidth = 2 * hn::MaxLanes(Floats());  // columns of a tile
constexpr int64_t kDepth = 256;
constexpr int64_t kColumns = 512;  // a multiple of every kWidth

// to[d][r] = from[r][d] for d < n_terms, r < width, where `from` has n_rows rows, k apart; what
// lies below its last row becomes 0, so that the tile below need not know where a matrix ends.
void PackPanel(const float* from, int64_t k, int64_t n_rows, int64_t n_terms, int64_t width,
               float* to) {
  for (int64_t r = 0; r < width; ++r) {
    if (r < n_rows) {
      for (int64_t d = 0; d < n_terms; ++d) to[d * width + r] = from[r * k + d];
    } else {
      for (int64_t d = 0; d < n_terms; ++d) to[d * width + r] = 0;
    }
  }
}

// The product of a panel of x, [n_terms, kRows], and one of W, [n_terms, kWidth], is added to the
// top left n_rows x n_columns of y's tile, whose rows are n apart.
void AddTile(const float* x_panel, const float* w_panel, int64_t n_terms, int64_t n_rows,
             int64_t n_columns, int64_t n, float* y) {
  const Floats floats;
  constexpr int64_t kLanes = kWidth / 2;
  FloatVec sums[kRows][2];
  for (int r = 0; r < kRows; ++r) sums[r][0] = sums[r][1] = hn::Zero(floats);

  for (int64_t d = 0; d < n_terms; ++d) {
    const FloatVec w0 = hn::Load(floats, w_panel + d * kWidth);
    const FloatVec w1 = hn::Load(floats, w_panel + d * kWidth + kLanes);
    for (int r = 0; r < kRows; ++r) {
      const FloatVec factor = hn::Set(floats, x_panel[d * kRows + r]);
      sums[r][0] = hn::MulAdd(factor, w0, sums[r][0]);
      sums[r][1] = hn::MulAdd(factor, w1, sums[r][1]);
    }
  }

  if (n_rows == kRows && n_columns == kWidth) {
    for (int r = 0; r < kRows; ++r) {
      float* to = y + r * n;
      hn::StoreU(hn::Add(hn::LoadU(floats, to), sums[r][0]), floats, to);
      hn::StoreU(hn::Add(hn::LoadU(floats, to + kLanes), sums[r][1]), floats, to + kLanes);
    }
    return;
  }
  // At the right and the lower edge of y: by way of a whole tile.
  HWY_ALIGN float tile[kRows][kWidth];
  for (int r = 0; r < kRows; ++r) {
    hn::Store(sums[r][0], floats, tile[r]);
    hn::Store(sums[r][1], floats, tile[r] + kLanes);
  }
  for (int64_t r = 0; r < n_rows; ++r) {
    for (int64_t j = 0; j < n_columns; ++j) y[r * n + j] += tile[r][j];
  }
}

}  // namespace

void SimdColumnsForTarget(const GemmArgs& args, int64_t begin, int64_t end) {
  const auto [m, n, k, x, w, y, n_threads] = args;
  const auto w_block = hwy::AllocateAligned<float>(kDepth * kColumns);
  const auto x_panel = hwy::AllocateAligned<float>(kDepth * kRows);
  for (int64_t i = 0; i < m; ++i) std::fill(y + i * n + begin, y + i * n + end, 0.0F);

  for (int64_t column = begin; column < end; column += kColumns) {
    const int64_t block_end = std::min(column + kColumns, end);
    for (int64_t term = 0; term < k; term += kDepth) {
      const int64_t n_terms = std::min(kDepth, k - term);
      for (int64_t j = column; j < block_end; j += kWidth) {
        PackPanel(w + j * k + term, k, std::min(kWidth, block_end - j), n_terms, kWidth,
                  w_block.get() + (j - column) * n_terms);
      }
      for (int64_t i = 0; i < m; i += kRows) {
        const int64_t n_rows = std::min(kRows, m - i);
        PackPanel(x + i * k + term, k, n_rows, n_terms, kRows, x_panel.get());
        for (int64_t j = column; j < block_end; j += kWidth) {
          AddTile(x_panel.get(), w_block.get() + (j - column) * n_terms, n_terms, n_rows,
                  std::min(kWidth, block_end - j), n, y + i * n + j);
        }
      }
    }
  }
}

}  // namespace aios::ladder::gemm_cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace aios::ladder::gemm_cpu {

HWY_EXPORT(SimdColumnsForTarget);

void SimdColumns(const GemmArgs& args, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(SimdColumnsForTarget)(args, begin, end);
}

void Simd(const GemmArgs& args) { SimdColumns(args, 0, args.n); }

}  // namespace aios::ladder::gemm_cpu
#endif  // HWY_ONCE
