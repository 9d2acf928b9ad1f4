// How fast this machine's cores multiply matrices.
#pragma once

#include <cstdint>

namespace aios {

// y = x W^T in f32 with the engine's own kernel, kernels/cpu/matmul.h, at this shape: rows enough
// that arithmetic decides, and a weight of 16 MB, cut among the threads by its outputs.
struct CpuGemmShape {
  int64_t n_rows = 512;
  int64_t d_in = 1024;
  int64_t d_out = 4096;
};

// FLOPs per second of `n_threads` threads: the sum of the best that each did in a stretch of a
// millisecond while all of them worked, so that other programs on the machine lower it little; for
// more threads than cores it means nothing. Takes 0.4 s. REQUIRES: n_threads >= 1, d_out >= 64.
// What a core could do in registers alone is more: kernels/ladder/gemm_cpu/peak.h.
double MeasureF32Gemm(int n_threads, const CpuGemmShape& shape = {});

}  // namespace aios
