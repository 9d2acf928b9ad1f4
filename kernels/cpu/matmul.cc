// Compiled once for each instruction set; see dequantize.cc.
#include "kernels/cpu/matmul.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/matmul.cc"
#include "hwy/foreach_target.h"  // before highway.h, which it steers
#include "hwy/highway.h"
#include "kernels/cpu/dequantize.h"
#include "kernels/cpu/matmul_tile-inl.h"
#include "kernels/cpu/unpack-inl.h"

#ifndef AIOS_KERNELS_CPU_MATMUL_CC_  // once for all instruction sets
#define AIOS_KERNELS_CPU_MATMUL_CC_
namespace aios::kernels::cpu {

// Up to here no instruction set needs scratch.
inline constexpr int64_t kRowsWithoutPanel = 4;

// A panel: rows of the weight as f32, half of a second-level cache of 1 MiB.
inline constexpr int64_t kPanelFloats = (512 << 10) / sizeof(float);

inline int64_t PanelOutputs(int64_t d_in) {
  return std::max(kMatMulGroup,
                  kPanelFloats / std::max<int64_t>(1, d_in) / kMatMulGroup * kMatMulGroup);
}

inline int64_t RowBytes(const MatMulArgs& args) {
  return args.d_in / Info(args.format).block_size * Info(args.format).block_bytes;
}

// These are rare; they become f32 by way of a panel whatever the number of rows.
inline bool HasUnpack(Format format) {
  return format != Format::kQ5_0 && format != Format::kQ5_1 && format != Format::kQ5_K;
}

}  // namespace aios::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace aios::kernels::cpu::HWY_NAMESPACE {
namespace {

// Rows beyond n_rows repeat the last: a short tile computes something twice, and the code has one
// shape.
template <int kRows>
HWY_INLINE void RowPointers(const MatMulArgs& args, int64_t row, const float* (&x)[kRows]) {
  for (int r = 0; r < kRows; ++r) {
    x[r] = args.x + std::min(row + r, args.n_rows - 1) * args.d_in;
  }
}

// Likewise for the rows of the weight from `first` on, which has n of them.
HWY_INLINE void OutputPointers(const void* rows, int64_t row_bytes, int64_t first, int64_t n,
                               const void* (&w)[kOuts]) {
  for (int o = 0; o < kOuts; ++o) {
    w[o] = static_cast<const char*>(rows) + std::min(first + o, n - 1) * row_bytes;
  }
}

template <int kRows>
HWY_INLINE void Store(const float (&sums)[kRows][kOuts], const MatMulArgs& args, int64_t row,
                      int64_t out, int64_t end) {
  const int64_t n_rows = std::min<int64_t>(kRows, args.n_rows - row);
  const int64_t n_outs = std::min<int64_t>(kOuts, end - out);
  for (int64_t r = 0; r < n_rows; ++r) {
    float* y = args.y + (row + r) * args.y_stride + out;
    if (args.add) {
      for (int64_t o = 0; o < n_outs; ++o) y[o] += sums[r][o];
    } else if (n_outs == kOuts) {
      std::memcpy(y, sums[r], sizeof(sums[r]));  // one store
    } else {
      std::copy_n(sums[r], n_outs, y);
    }
  }
}

// ---- Few rows: the weight is unpacked in registers, anew for every kRows rows -------------------

template <class Block, int kRows>
void FewRows(const MatMulArgs& args, int64_t begin, int64_t end) {
  const int64_t row_bytes = RowBytes(args);
  for (int64_t out = begin; out < end; out += kOuts) {
    const void* w[kOuts];
    OutputPointers(args.weight, row_bytes, out, end, w);
    // The four rows of the weight are in the first-level cache after the first tile.
    for (int64_t row = 0; row < args.n_rows; row += kRows) {
      const float* x[kRows];
      RowPointers<kRows>(args, row, x);
      float sums[kRows][kOuts];
      Tile<Block, kRows, /*kPrefetch=*/true>(w, x, args.d_in, sums);
      Store<kRows>(sums, args, row, out, end);
    }
  }
}

template <class Block>
void FewRows(const MatMulArgs& args, int64_t begin, int64_t end) {
  if (args.n_rows == 1) return FewRows<Block, 1>(args, begin, end);
  // Accumulators, unpacked weights and x fit into 32 registers, or into 16.
  if (args.n_rows == 2 || kLanes < 16) return FewRows<Block, 2>(args, begin, end);
  return FewRows<Block, 4>(args, begin, end);
}

// ---- Many rows: a panel of the weight is unpacked once for all of them --------------------------

void ManyRows(const MatMulArgs& args, int64_t begin, int64_t end, float* panel) {
  constexpr int kRows = kLanes == 16 ? 6 : 3;  // 24 accumulators of 32 registers, 12 of 16
  const int64_t row_bytes = RowBytes(args);
  const int64_t panel_row_bytes = args.d_in * static_cast<int64_t>(sizeof(float));
  const int64_t panel_outs = PanelOutputs(args.d_in);
  for (int64_t first = begin; first < end; first += panel_outs) {
    const int64_t n_outs = std::min(panel_outs, end - first);
    Dequantize(args.format, static_cast<const char*>(args.weight) + first * row_bytes,
               n_outs * args.d_in, panel);
    // A tile's rows of x stay in the first-level cache, while the panel passes by from the second.
    for (int64_t row = 0; row < args.n_rows; row += kRows) {
      const float* x[kRows];
      RowPointers<kRows>(args, row, x);
      for (int64_t out = 0; out < n_outs; out += kOuts) {
        const void* w[kOuts];
        OutputPointers(panel, panel_row_bytes, out, n_outs, w);
        float sums[kRows][kOuts];
        Tile<BlockF32, kRows, /*kPrefetch=*/false>(w, x, args.d_in, sums);
        Store<kRows>(sums, args, row, first + out, first + n_outs);
      }
    }
  }
}

}  // namespace

void MatMulForTarget(const MatMulArgs& args, int64_t begin, int64_t end, float* scratch) {
  // Unpacking in registers is so cheap with 16 lanes that a panel pays late.
  constexpr int64_t kFewRows = kLanes == 16 ? 16 : kRowsWithoutPanel;
  if (args.n_rows > kFewRows) return ManyRows(args, begin, end, scratch);
  switch (args.format) {
    case Format::kF32:
      return FewRows<BlockF32>(args, begin, end);
    case Format::kF16:
      return FewRows<BlockF16>(args, begin, end);
    case Format::kBF16:
      return FewRows<BlockBF16>(args, begin, end);
    case Format::kQ4_0:
      return FewRows<BlockQ4_0>(args, begin, end);
    case Format::kQ4_1:
      return FewRows<BlockQ4_1>(args, begin, end);
    case Format::kQ8_0:
      return FewRows<BlockQ8_0>(args, begin, end);
    case Format::kQ4_K:
      return FewRows<BlockQ4_K>(args, begin, end);
    case Format::kQ6_K:
      return FewRows<BlockQ6_K>(args, begin, end);
    case Format::kQ5_0:
    case Format::kQ5_1:
    case Format::kQ5_K:
      return ManyRows(args, begin, end, scratch);
  }
}

}  // namespace aios::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace aios::kernels::cpu {

HWY_EXPORT(MatMulForTarget);

int64_t MatMulScratchFloats(const MatMulArgs& args) {
  if (args.n_rows <= kRowsWithoutPanel && HasUnpack(args.format)) return 0;
  return std::min(PanelOutputs(args.d_in), args.d_out) * args.d_in;
}

void MatMul(const MatMulArgs& args, int64_t begin, int64_t end, float* scratch) {
  if (begin >= end || args.n_rows <= 0) return;
  if (begin < 0 || end > args.d_out || args.y_stride < args.d_out) {
    throw std::invalid_argument(
        "MatMul: outputs [begin, end) outside of [0, d_out), or "
        "y_stride < d_out");
  }
  if (args.d_in < 0 || args.d_in % Info(args.format).block_size != 0) {
    throw std::invalid_argument("MatMul: d_in is not a multiple of the format's block size");
  }
  if (scratch == nullptr && MatMulScratchFloats(args) > 0) {
    throw std::invalid_argument("MatMul: needs MatMulScratchFloats(args) floats of scratch");
  }
  HWY_DYNAMIC_DISPATCH(MatMulForTarget)(args, begin, end, scratch);
}

}  // namespace aios::kernels::cpu
#endif  // HWY_ONCE
