// Gather: some rows of a matrix, such as those whose logits are wanted.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/formats.h"

namespace aios::kernels::cuda {

struct GatherArgs {
  Format dtype = Format::kBF16;   // kBF16 or kF32
  const void* x = nullptr;        // [any, d]
  const int32_t* rows = nullptr;  // [n_rows], each a row of x: the kernel trusts them
  int64_t n_rows = 0;
  int64_t d = 0;
  void* out = nullptr;  // [n_rows, d]; does not overlap x

  // Start while the kernel before on the stream still runs, and wait for it (kernels/cuda/pdl.cuh).
  bool overlap_previous = false;
};

// out[i] = x[rows[i]], exactly. All pointers are to device memory. Fast where x and out are aligned
// to 16 bytes and a row's bytes are a multiple of 16. Asynchronous on `stream`, may be captured
// into a graph. Thread-safe. Throws std::invalid_argument for another dtype, CudaError if the
// launch fails.
void Gather(const GatherArgs& args, cudaStream_t stream);

}  // namespace aios::kernels::cuda
