// Level 5: a smaller gap between kernels. This is the engine's: kernels/cuda/gemv.cu, read it
// there.
//
//   bazel run -c opt //kernels/ladder/gemv:ladder_gemv -- --level 5
//
// What changed: the kernel starts while the one before it still runs (programmatic dependent
// launch, kernels/cuda/pdl.cuh), and its weights are on their way before it waits for x. A block
// does a tile of rows together, each warp a part of d_in, so that narrow outputs fill the GPU too.
// And 1 to 8 vectors at the cost of one: the tensor cores multiply and add across lanes.
#include "kernels/cuda/gemv.h"
#include "kernels/ladder/gemv/gemv.h"

namespace aios::ladder::gemv {

void GemvLevel5(const GemvArgs& args, cudaStream_t stream) {
  GemvArgs overlapped = args;
  overlapped.overlap_previous = true;
  kernels::cuda::Gemv(overlapped, stream);
}

}  // namespace aios::ladder::gemv
