// Programmatic dependent launch (PDL): a kernel that starts while the one before it still runs.
//
// A decoding step is a chain of kernels of a few microseconds. Between two of them the memory
// idles: the last blocks drain, the GPU notices, the next blocks start, and only then are their
// loads on the way. With PDL the next kernel's blocks start early, on what room there is, and do
// what does not depend on the one before (loading weights), then wait.
//
//     __global__ void Kernel(...) {
//       ... load weights ...         // nothing that an earlier kernel writes
//       WaitForPreviousKernel();     // every thread: from here on all earlier kernels are complete
//       ... load activations ...
//       LetNextKernelStart();        // a hint; the next one waits for our results by itself
//     }
//
// The rule that makes chains right: EVERY thread calls WaitForPreviousKernel before it reads what
// an earlier kernel wrote or writes anything at all. Then "the previous kernel is complete" means
// that all before it are, too. CUDA C++ Programming Guide, "Programmatic Dependent Launch and
// Synchronization".
#pragma once

#include <cuda_runtime.h>

#include <utility>

#include "kernels/cuda/check.h"

namespace aios::kernels::cuda {

// Returns at once in a kernel launched without the attribute, and on GPUs before Hopper, which
// never overlap. What earlier kernels wrote is visible afterwards to plain loads; not to
// ld.global.nc
// (__ldg, const __restrict__), which may be moved up or come from a stale line.
__device__ __forceinline__ void WaitForPreviousKernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// The next kernel may start once every block of this one has called this or has ended.
__device__ __forceinline__ void LetNextKernelStart() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

struct LaunchShape {
  dim3 grid;
  dim3 block;
  size_t shared_bytes = 0;
  bool overlap_previous = false;  // launch with PDL; can be captured into a graph
  dim3 cluster = dim3(1);         // blocks that are a cluster (Hopper): divides the grid
};

// kernel<<<grid, block, shared_bytes, stream>>>(args...), with the attributes that are asked for.
template <typename... Params, typename... Args>
void Launch(void (*kernel)(Params...), const LaunchShape& shape, cudaStream_t stream,
            Args&&... args) {
  cudaLaunchAttribute attributes[2] = {};
  unsigned n_attributes = 0;
  if (shape.overlap_previous) {
    auto& attribute = attributes[n_attributes++];
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
  }
  if (shape.cluster.x * shape.cluster.y * shape.cluster.z > 1) {
    auto& attribute = attributes[n_attributes++];
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {shape.cluster.x, shape.cluster.y, shape.cluster.z};
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = n_attributes;
  AIOS_CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, std::forward<Args>(args)...));
}

}  // namespace aios::kernels::cuda
