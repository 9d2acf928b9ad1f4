// Level 4: the addition to the residual stream in the same kernel. This is the engine's:
// kernels/cuda/rms_norm.cu, read it there.
//
//   bazel run -c opt //kernels/ladder/rms_norm:ladder_rms_norm -- --level 4
//
// What changed: x is read and written once, 12 bytes a number instead of 16, and there is one
// launch instead of two. And this kernel starts while the one before still drains (programmatic
// dependent launch, kernels/cuda/pdl.cuh), with the weights already in registers: what counts for
// one row.
#include "kernels/cuda/rms_norm.h"
#include "kernels/ladder/rms_norm/rms_norm.h"

namespace aios::ladder::rms_norm {

void RmsNormLevel4(const RmsNormArgs& args, cudaStream_t stream) {
  RmsNormArgs overlapped = args;
  overlapped.overlap_previous = true;
  kernels::cuda::RmsNorm(overlapped, stream);
}

}  // namespace aios::ladder::rms_norm
