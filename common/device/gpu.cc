#include "common/device/gpu.h"

#include <cuda_runtime_api.h>

#include <cstdlib>

#include "common/base/error.h"
#include "common/device/any_kernel.h"
#include "kernels/cuda/check.h"

namespace aios {
namespace {

std::string Version(int number) {  // 13000 -> "13.0"
  return fmt::format("{}.{}", number / 1000, number % 1000 / 10);
}

int CountGpus() {
  int n_gpus = 0;
  const cudaError_t error = cudaGetDeviceCount(&n_gpus);
  if (error == cudaSuccess && n_gpus > 0) return n_gpus;
  cudaGetLastError();
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
  throw InputError("{}", WhyNoGpu({.error = error,
                                   .driver = driver,
                                   .built_with = CUDART_VERSION,
                                   .visible_devices = std::getenv("CUDA_VISIBLE_DEVICES")}));
}

}  // namespace

std::string WhyNoGpu(const NoGpu& found) {
  if (found.driver == 0) return "there is no NVIDIA driver on this machine";
  const int major = found.built_with / 1000 * 1000;  // a driver of 13.0 runs programs of all 13.x
  if (found.error == cudaErrorInsufficientDriver || found.driver < major) {
    return fmt::format(
        "the NVIDIA driver is too old: it knows CUDA up to {}, this program was built with {}: "
        "update the driver",
        Version(found.driver), Version(found.built_with));
  }
  if (found.visible_devices != nullptr) {
    return fmt::format("CUDA_VISIBLE_DEVICES={} leaves no GPU to use: unset it or name one in it",
                       Quoted(found.visible_devices));
  }
  if (found.error != cudaSuccess && found.error != cudaErrorNoDevice) {
    return fmt::format("the NVIDIA driver does not answer ({})", cudaGetErrorString(found.error));
  }
  return "there is no NVIDIA GPU in this machine";
}

Gpu OpenGpu(int index) {
  const int n_gpus = CountGpus();
  if (index < 0 || index >= n_gpus) {
    throw InputError("--device {}: this machine has {} (counted from 0)", index,
                     n_gpus == 1 ? "one GPU, 0" : fmt::format("GPUs 0 to {}", n_gpus - 1));
  }
  cudaDeviceProp properties;
  AIOS_CUDA_CHECK(cudaGetDeviceProperties(&properties, index));
  const cudaError_t set = cudaSetDevice(index);
  if (set != cudaSuccess) {
    cudaGetLastError();
    throw InputError("GPU {} ({}) cannot be used: {}", index, properties.name,
                     cudaGetErrorString(set));
  }
  cudaFuncAttributes attributes;
  const cudaError_t code = cudaFuncGetAttributes(&attributes, AnyKernel());
  if (code == cudaErrorNoKernelImageForDevice || code == cudaErrorInvalidDeviceFunction) {
    cudaGetLastError();
    throw InputError(
        "GPU {} ({}) has compute capability {}.{}, and this program no code for it: build with "
        "--//bazel:cuda_archs={}{}",
        index, properties.name, properties.major, properties.minor, properties.major,
        properties.minor);
  }
  AIOS_CUDA_CHECK(code);
  return {.index = index,
          .name = properties.name,
          .n_sms = properties.multiProcessorCount,
          .compute_capability = 10 * properties.major + properties.minor,
          .total_bytes = static_cast<int64_t>(properties.totalGlobalMem),
          .l2_bytes = properties.l2CacheSize};
}

bool CanOpenGpu(int index, std::string* why) {
  try {
    OpenGpu(index);
    return true;
  } catch (const InputError& error) {
    *why = error.what();
    return false;
  }
}

int64_t FreeGpuMemory() {
  size_t free = 0;
  size_t total = 0;
  AIOS_CUDA_CHECK(cudaMemGetInfo(&free, &total));
  return static_cast<int64_t>(free);
}

}  // namespace aios
