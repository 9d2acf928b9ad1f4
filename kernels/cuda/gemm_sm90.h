// Matrix-matrix product on Hopper whose bits do not depend on the number of rows: the projections
// of a step with 9 rows or more, fused with what comes after them, as Gemv's are with fewer.
//
// With some rows, 9 to 256, the time is still that of reading the weights: a multiprocessor asks
// for them early, before the kernel that makes x is done, and keeps 100 to 200 KB of them on their
// way. With many it is that of the tensor cores.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <span>

#include "kernels/cuda/gemv.h"
#include "kernels/formats.h"

namespace aios::kernels::cuda {

// How the work is divided among blocks. `parts` alone decides the bits: the rest is speed.
struct GemmSm90Way {
  int weight_rows = 0;  // rows of W in a block: 64, 128 or 256
  int x_rows = 0;       // rows of x in a block
  int sharing = 0;      // blocks that load their common rows of x together: 1, 2 or 4
  int blocks = 0;       // on a multiprocessor: 1 or 2
  int parts = 0;        // of the columns: 1, 2, 3, 4 or 8; parts * sharing is at most 8
};

// All pointers are to device memory, aligned to 16 bytes. Numbers are bf16, but for y.
struct GemmSm90Args {
  const void* x = nullptr;       // [n_rows, d_in]
  const void* weight = nullptr;  // [d_out, d_in] row-major; kSiluMul: [2 * d_out, d_in]
  void* y = nullptr;             // [n_rows, d_out], of `y_dtype`; overlaps none of the others
  int64_t n_rows = 0;
  int64_t d_in = 0;
  int64_t d_out = 0;
  Format y_dtype = Format::kBF16;  // kBF16 or kF32; kF32 for kAdd
  GemvOutput output = GemvOutput::kStore;

  // Chosen where 0: weight_rows (then also x_rows, sharing and blocks), parts. For measurements.
  GemmSm90Way way = {};

  // As for Gemv: until the kernel before on the stream is done, weights are loaded. It must not
  // write `weight`.
  bool overlap_previous = false;
};

// Whether the current GPU, this build and these sizes allow it: compute capability 9.0, d_in a
// multiple of 8, d_out of 4, d_out at most 2^21. Does not depend on n_rows.
bool GemmSm90Supports(const GemmSm90Args& args);

// y = x W^T, or what args.output says (gemv.h). Sums in f32, by the tensor cores; y is rounded
// once, at the end. The columns of x are cut in parts, as d_in and d_out say; each is a chain
// of m64k16 steps, and the parts are added from the left. So a row of y is bitwise the same
// whatever n_rows and the other rows; but not the same as Gemv's.
//
// n_rows == 0: nothing to do. Asynchronous on `stream`, one launch; may be captured into a graph;
// allocates nothing. Throws std::invalid_argument for what GemmSm90Supports does not, CudaError if
// the launch fails. Thread-safe.
void GemmSm90(const GemmSm90Args& args, cudaStream_t stream);

// The ways that there are, without their parts; and the one that is taken for args.
std::span<const GemmSm90Way> GemmSm90Ways();
GemmSm90Way GemmSm90WayFor(const GemmSm90Args& args);

}  // namespace aios::kernels::cuda
