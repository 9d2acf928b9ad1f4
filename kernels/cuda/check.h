// Checked CUDA calls: a failing one throws with file, line and CUDA's own words.
#pragma once

#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

namespace aios::kernels::cuda {

// A CUDA call or launch that failed. Most such errors are sticky: the process's context is lost,
// and only ending the program helps. Running out of memory is not; see `code`.
class CudaError : public std::runtime_error {
 public:
  CudaError(cudaError_t code, const char* call, const char* file, int line)
      : std::runtime_error(std::string(file) + ":" + std::to_string(line) + ": " + call + ": " +
                           cudaGetErrorName(code) + ": " + cudaGetErrorString(code)),
        code_(code) {}

  cudaError_t code() const { return code_; }

 private:
  cudaError_t code_;
};

inline void ThrowIfFailed(cudaError_t code, const char* call, const char* file, int line) {
  if (code == cudaSuccess) [[likely]]
    return;
  cudaGetLastError();  // An error that is not sticky must not fail the next launch's check.
  throw CudaError(code, call, file, line);
}

}  // namespace aios::kernels::cuda

// AIOS_CUDA_CHECK(cudaMemcpyAsync(...));
#define AIOS_CUDA_CHECK(call) \
  ::aios::kernels::cuda::ThrowIfFailed((call), #call, __FILE__, __LINE__)

// After `kernel<<<...>>>(...)`: a launch returns nothing, what was wrong with it is asked for.
#define AIOS_CUDA_CHECK_LAUNCH() \
  ::aios::kernels::cuda::ThrowIfFailed(cudaGetLastError(), "kernel launch", __FILE__, __LINE__)
