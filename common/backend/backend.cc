#include "common/backend/backend.h"

#include "common/backend/cpu_backend.h"
#include "common/base/error.h"
#ifdef AIOS_HAVE_CUDA
#include "common/backend/cuda_backend.h"
#include "common/device/gpu.h"
#endif

namespace aios {

std::string WhyNoCuda(int device) {
#ifdef AIOS_HAVE_CUDA
  std::string why;
  CanOpenGpu(device, &why);
  return why;
#else
  (void)device;
  return "this program was built without CUDA: build it where the CUDA toolkit is";
#endif
}

std::unique_ptr<Backend> MakeBackend(const BackendOptions& options) {
  std::string why_not;
  if (options.backend != "cpu") {
    why_not = WhyNoCuda(options.device);
    const bool must = options.backend == "cuda" || options.device != 0;
    if (must && !why_not.empty()) throw InputError("{}; or take --backend cpu", why_not);
  }
#ifdef AIOS_HAVE_CUDA
  if (options.backend != "cpu" && why_not.empty()) {
    return MakeCudaBackend({.device = options.device,
                            .dtype = options.dtype == "f32" ? DType::kF32 : DType::kBF16,
                            .deterministic = options.deterministic});
  }
#endif
  if (options.dtype == "bf16") {
    throw InputError("--dtype bf16: the CPU computes in f32; bf16 is for GPUs{}",
                     why_not.empty() ? "" : ", and " + why_not);
  }
  return MakeCpuBackend(options.n_threads);
}

}  // namespace aios
