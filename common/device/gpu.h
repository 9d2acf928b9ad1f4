// Gpu: finding an NVIDIA GPU that this program can use, or saying why there is none.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <string>

namespace aios {

struct Gpu {
  int index = 0;  // among those that CUDA_VISIBLE_DEVICES leaves
  std::string name;
  int n_sms = 0;
  int compute_capability = 0;  // 90 for 9.0
  int64_t total_bytes = 0;
  int64_t l2_bytes = 0;
};

// The GPU of this index, made current for the calling thread. Throws InputError, which says what is
// in the way and what to do: no driver, a driver older than this build's CUDA, no GPU, none left by
// CUDA_VISIBLE_DEVICES, no such index, or a GPU that this build has no code for.
Gpu OpenGpu(int index);

// Whether OpenGpu would succeed; if not, `why` is the sentence.
bool CanOpenGpu(int index, std::string* why);

// What was found where no GPU was, and the sentence that it makes.
struct NoGpu {
  cudaError_t error = cudaSuccess;        // of cudaGetDeviceCount
  int driver = 0;                         // the newest CUDA that it knows, 13000 for 13.0; 0: none
  int built_with = 0;                     // the CUDA of this program, likewise
  const char* visible_devices = nullptr;  // CUDA_VISIBLE_DEVICES, or nullptr
};
std::string WhyNoGpu(const NoGpu& found);

// Free memory of the current GPU, in bytes.
int64_t FreeGpuMemory();

}  // namespace aios
