// CudaBackend: the operations of a forward pass on one NVIDIA GPU, in bf16 or in true f32.
#pragma once

#include <memory>

#include "common/backend/backend.h"

namespace aios {

struct CudaBackendOptions {
  int device = 0;
  DType dtype = DType::kBF16;  // kBF16 or kF32: of matrices, activations, keys and values
  bool deterministic = false;  // BackendOptions::deterministic
};

// Throws InputError if there is no such GPU (common/device/gpu.h).
std::unique_ptr<Backend> MakeCudaBackend(const CudaBackendOptions& options);

}  // namespace aios
