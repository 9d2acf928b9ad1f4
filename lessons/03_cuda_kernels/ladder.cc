#include "lessons/03_cuda_kernels/ladder.h"

#include <iostream>

#include "kernels/ladder/gemm_cpu/ladder.h"
#ifdef AIOS_HAVE_CUDA
#include "kernels/ladder/gemm/gemm.h"
#include "kernels/ladder/harness.h"
#endif

namespace aios::lessons {

void PrintLadder(bool on_gpu, int n_threads) {
#ifdef AIOS_HAVE_CUDA
  if (on_gpu) {
    const ladder::Limits limits = ladder::MeasureLimits(/*with_gemm=*/true);
    ladder::Flags flags;
    flags.quick = true;
    ladder::Print(ladder::gemm::RunGemmLadder(limits, flags));
    return;
  }
#else
  (void)on_gpu;
#endif
  ladder::gemm_cpu::Options options;
  options.n_threads = n_threads;
  ladder::gemm_cpu::Print(ladder::gemm_cpu::RunLadder(options), std::cout);
}

}  // namespace aios::lessons
