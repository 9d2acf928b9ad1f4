// The five levels' functions, each in the file of its name.
#pragma once

#include <cstdint>

#include "kernels/ladder/gemm_cpu/gemm_cpu.h"

namespace aios::ladder::gemm_cpu {

void Naive(const GemmArgs& args);      // level_01_naive.cc
void Reordered(const GemmArgs& args);  // level_02_reordered.cc
void Tiled(const GemmArgs& args);      // level_03_tiled.cc
void Simd(const GemmArgs& args);       // level_04_simd.cc
void Threads(const GemmArgs& args);    // level_05_threads.cc

// Level 4 for the columns [begin, end) of y alone: a thread's share in level 5.
void SimdColumns(const GemmArgs& args, int64_t begin, int64_t end);

}  // namespace aios::ladder::gemm_cpu
