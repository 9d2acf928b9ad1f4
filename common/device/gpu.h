// Gpu: finding an NVIDIA GPU that this program can use, or saying why there is none.
#pragma once

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

// Free memory of the current GPU, in bytes.
int64_t FreeGpuMemory();

}  // namespace aios
