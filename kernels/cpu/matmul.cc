// Compiled once for each instruction set; see dequantize.cc.
#include "kernels/cpu/matmul.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <type_traits>

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

// Up to here the weight is unpacked in registers.
inline constexpr int64_t kFewRows = 4;

// Bytes of a panel, rows of the weight as f32. A small one stays in the first-level cache, half of
// which it takes, and x passes by from the second. If there is more of x than half of that, a large
// panel passes by instead.
inline constexpr int64_t kSmallPanel = 20 << 10;
inline constexpr int64_t kLargePanel = 512 << 10;

inline int64_t PanelOutputs(const MatMulArgs& args) {
  const int64_t row_bytes = std::max<int64_t>(1, args.d_in * static_cast<int64_t>(sizeof(float)));
  const int64_t panel = args.n_rows * row_bytes <= kLargePanel ? kSmallPanel : kLargePanel;
  return std::max(kMatMulGroup, panel / row_bytes / kMatMulGroup * kMatMulGroup);
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

template <int kRows>
HWY_INLINE void Store(const float (&sums)[kRows][kOuts], const MatMulArgs& args, int64_t row,
                      int64_t out, int64_t n_outs) {
  for (int64_t r = 0; r < kRows; ++r) {
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

// Columns [out, out + n_outs) of kRows rows of y; `weight`: the first of these rows of the weight.
template <class Block, int kRows, bool kPrefetch>
HWY_INLINE void Outputs(const MatMulArgs& args, int64_t row, const char* weight, int64_t row_bytes,
                        int64_t out, int64_t n_outs) {
  float sums[kRows][kOuts];
  const float* const x = args.x + row * args.d_in;
  int64_t o = 0;
  for (; o + kOuts <= n_outs; o += kOuts) {
    Tile<Block, kRows, kPrefetch>(weight + o * row_bytes, row_bytes, x, args.d_in, sums);
    Store<kRows>(sums, args, row, out + o, kOuts);
  }
  for (; o < n_outs; ++o) {  // the rest one by one, as four of the same
    Tile<Block, kRows, false>(weight + o * row_bytes, 0, x, args.d_in, sums);
    Store<kRows>(sums, args, row, out + o, 1);
  }
}

// Calls tile(row, number) for all rows, kRows at a time and then the rest; the compiler knows
// `number`.
template <int kRows, class Fn>
HWY_INLINE void ForEachTile(int64_t n_rows, const Fn& tile) {
  int64_t row = 0;
  for (; row + kRows <= n_rows; row += kRows) tile(row, std::integral_constant<int, kRows>());
  const auto rest = [&](auto number) {
    if constexpr (number < kRows) {
      if (n_rows - row == number) tile(row, number);
    }
  };
  rest(std::integral_constant<int, 1>());
  rest(std::integral_constant<int, 2>());
  rest(std::integral_constant<int, 3>());
  rest(std::integral_constant<int, 4>());
  rest(std::integral_constant<int, 5>());
}

// ---- Few rows: the weight is unpacked in registers, anew for every tile -------------------------

template <class Block>
void FewRows(const MatMulArgs& args, int64_t begin, int64_t end) {
  // Accumulators, unpacked weights and x fit into 32 registers, or into 16.
  constexpr int kRows = kLanes < 16 ? 2 : 4;
  const int64_t row_bytes = RowBytes(args);
  for (int64_t out = begin; out < end; out += kOuts) {
    // The four rows of the weight are in the first-level cache after the first tile.
    ForEachTile<kRows>(args.n_rows, [&](int64_t row, auto number) {
      Outputs<Block, number, /*kPrefetch=*/true>(
          args, row, static_cast<const char*>(args.weight) + out * row_bytes, row_bytes, out,
          std::min<int64_t>(kOuts, end - out));
    });
  }
}

// ---- Many rows: a panel of the weight is unpacked once for all of them --------------------------

void ManyRows(const MatMulArgs& args, int64_t begin, int64_t end, float* scratch) {
  constexpr int kRows = kLanes == 16 ? 6 : 3;  // 24 accumulators of 32 registers, 12 of 16
  const int64_t row_bytes = RowBytes(args);
  const int64_t panel_row_bytes = args.d_in * static_cast<int64_t>(sizeof(float));
  const int64_t panel_outs = PanelOutputs(args);
  for (int64_t first = begin; first < end; first += panel_outs) {
    const int64_t n_outs = std::min(panel_outs, end - first);
    const char* panel = static_cast<const char*>(args.weight) + first * row_bytes;
    if (args.format != Format::kF32) {
      Dequantize(args.format, panel, n_outs * args.d_in, scratch);
      panel = reinterpret_cast<const char*>(scratch);
    }
    ForEachTile<kRows>(args.n_rows, [&](int64_t row, auto number) {
      Outputs<BlockF32, number, /*kPrefetch=*/false>(args, row, panel, panel_row_bytes, first,
                                                     n_outs);
    });
  }
}

}  // namespace

void MatMulForTarget(const MatMulArgs& args, int64_t begin, int64_t end, float* scratch) {
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
  if (args.format == Format::kF32) return 0;
  if (args.n_rows <= kFewRows && HasUnpack(args.format)) return 0;
  return std::min(PanelOutputs(args), args.d_out) * args.d_in;
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
