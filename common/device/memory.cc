#include "common/device/memory.h"

#include <string>

#include "common/base/error.h"
#include "common/base/memory.h"
#include "common/device/gpu.h"
#include "kernels/cuda/check.h"

namespace aios {

DeviceBuffer::DeviceBuffer(int64_t n_bytes, std::string_view what) : n_bytes_(n_bytes) {
  if (n_bytes == 0) return;
  void* data = nullptr;
  const cudaError_t error = cudaMalloc(&data, static_cast<size_t>(n_bytes));
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // not sticky
    throw InputError(
        "the GPU is out of memory: {:.2f} GB were asked for ({}), {:.2f} GB are free: take a "
        "smaller model, a shorter context, or end what else uses the GPU",
        static_cast<double>(n_bytes) * 1e-9, what, static_cast<double>(FreeGpuMemory()) * 1e-9);
  }
  AIOS_CUDA_CHECK(error);
  data_.reset(data);
}

PinnedBuffer::PinnedBuffer(int64_t n_bytes, std::string_view what) : n_bytes_(n_bytes) {
  if (n_bytes == 0) return;
  CheckFitsMemory(n_bytes, std::string(what));  // Linux would rather end programs than say no.
  void* data = nullptr;
  const cudaError_t error = cudaMallocHost(&data, static_cast<size_t>(n_bytes));
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // not sticky
    throw InputError(
        "the system gives no {:.2f} GB of page-locked memory ({}): ask for less, or raise its "
        "limit (ulimit -l)",
        static_cast<double>(n_bytes) * 1e-9, what);
  }
  AIOS_CUDA_CHECK(error);
  data_.reset(data);
}

}  // namespace aios
