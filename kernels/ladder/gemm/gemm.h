// The gemm ladder: C[m, n] = A[m, k] B[n, k]^T, that is y = x W^T with m tokens, n = d_out and
// k = d_in. bf16 in and out, f32 accumulation. Each level is one file, which opens with what
// changed and why that is faster.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <vector>

#include "kernels/ladder/harness.h"

namespace aios::ladder::gemm {

// All row-major, without gaps, 16-byte aligned; m, n, k >= 1. C overlaps neither A nor B.
struct GemmArgs {
  const __nv_bfloat16* a;  // [m, k]
  const __nv_bfloat16* b;  // [n, k]
  __nv_bfloat16* c;        // [m, n]
  int m, n, k;
};

struct Level {
  int number;
  const char* name;
  // Whether this level can do the shape; any m is accepted by all. Copies of 16 bytes need rows
  // that begin at multiples of 16 bytes: k % 8 == 0.
  bool (*accepts)(int m, int n, int k);
  // Starts the kernel. Throws CudaError. What `accepts` refuses must not be launched.
  void (*launch)(const GemmArgs& args, cudaStream_t stream);
};

// The levels that this build and this device can run, lowest first: those from 6 up need a GPU of
// compute capability 9.0 and a build for it (90a).
std::vector<Level> Levels();

// Verifies each level over many shapes (throws where one differs), then times it: rows of the
// levels and of cuBLASLt. With `flags.quick`, one shape and few repeats. limits.gemm_flop_s may be
// 0.
std::vector<Row> RunGemmLadder(const Limits& limits, const Flags& flags);

// One of each file.
Level Naive();
Level Coalesced();
Level SharedTiles();
Level RegisterTiles();
Level Mma();
#ifdef AIOS_CUDA_SM90A
Level WgmmaTma();
Level ProducerConsumer();
Level Persistent();
#endif

}  // namespace aios::ladder::gemm
