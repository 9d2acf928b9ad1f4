// MatMul: y = x W^T, or y += x W^T, for weights in any format: every product of a forward pass but
// attention's.
#pragma once

#include <cstdint>

#include "kernels/formats.h"

namespace aios::kernels::cpu {

struct MatMulArgs {
  Format format = Format::kF32;  // of the weight
  const void* weight = nullptr;  // [d_out, d_in] in blocks, row after row; at any address
  const float* x = nullptr;      // [n_rows, d_in]
  float* y = nullptr;            // [n_rows, d_out], rows y_stride floats apart; overlaps nothing
  int64_t n_rows = 0;
  int64_t d_in = 0;  // a multiple of the format's block size
  int64_t d_out = 0;
  int64_t y_stride = 0;  // >= d_out. More than d_out: y is some columns of a wider matrix
  bool add = false;      // to what is in y
};

// Outputs are computed in groups of this many: a range that is cut elsewhere costs a little more.
inline constexpr int64_t kMatMulGroup = 4;

// Floats of scratch that each thread that calls MatMul needs: at most 128 Ki, or four rows of the
// weight if that is more. 0 for few rows.
int64_t MatMulScratchFloats(const MatMulArgs& args);

// Writes columns [begin, end) of y: threads share a product by its outputs, so that each reads its
// part of the weight once. Thread-safe for ranges that do not overlap, each with its own scratch.
//
// All in f32: the weight as Dequantize gives it, x as it is. With vectors of N lanes (16, 8, 4 or
// 1) lane i sums products i, i + N, i + 2N, ... in that order, with fused multiply-add where the
// CPU has it; the lanes are then added pairwise. The bits of y[row][output] depend on that row of
// x, that row of the weight and the instruction set alone: not on n_rows, the row's place, begin,
// end or the threads.
//
// Throws std::invalid_argument for sizes that would reach outside of the arrays.
void MatMul(const MatMulArgs& args, int64_t begin, int64_t end, float* scratch);

}  // namespace aios::kernels::cpu
