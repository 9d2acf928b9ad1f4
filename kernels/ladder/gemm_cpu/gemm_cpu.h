// The ladder of GEMM on a CPU: the product inside every linear layer, five times, from three plain
// loops to near what the cores can do. Read the files level_01_naive.cc to level_05_threads.cc in
// order; each opens with what changed and why it is faster.
//
// All levels add the products of an element in f32; they differ in the order, not in the work:
// 2 m n k FLOPs each (a multiplication and an addition for each of m n k pairs).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace aios::ladder::gemm_cpu {

// y = x W^T: row i of y holds what a layer's n outputs say of token i. All row-major, f32; y
// overlaps neither x nor w. No size is negative; k = 0 makes zeros.
struct GemmArgs {
  int64_t m = 0;             // rows of x and y: tokens
  int64_t n = 0;             // rows of w, columns of y: d_out
  int64_t k = 0;             // columns of x and w: d_in
  const float* x = nullptr;  // [m, k]
  const float* w = nullptr;  // [n, k]
  float* y = nullptr;        // [m, n], overwritten
  int n_threads = 1;         // of the level that uses threads; at least 1
};

struct Level {
  int number;
  std::string_view name;
  void (*run)(const GemmArgs&);  // thread-safe where the y do not overlap
};

// From the naive one up.
std::span<const Level> Levels();

}  // namespace aios::ladder::gemm_cpu
