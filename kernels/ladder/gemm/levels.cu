#include "kernels/cuda/check.h"
#include "kernels/ladder/gemm/gemm.h"

namespace aios::ladder::gemm {

std::vector<Level> Levels() {
  std::vector<Level> levels = {Naive(), Coalesced(), SharedTiles(), RegisterTiles(), Mma()};
#ifdef AIOS_CUDA_SM90A
  // wgmma and setmaxnreg exist on 9.0 alone: newer GPUs have other instructions in their place.
  int device = 0, major = 0, minor = 0;
  AIOS_CUDA_CHECK(cudaGetDevice(&device));
  AIOS_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  AIOS_CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
  if (major == 9 && minor == 0)
    for (const Level& level : {WgmmaTma(), ProducerConsumer(), Persistent()})
      levels.push_back(level);
#endif
  return levels;
}

}  // namespace aios::ladder::gemm
