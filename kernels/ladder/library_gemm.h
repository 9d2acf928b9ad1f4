// cuBLASLt's product, the peer of the gemm and gemv ladders and their reference.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>

namespace aios::ladder {

// C[m, n] = A[m, k] B[n, k]^T, row-major bf16 inputs, f32 accumulation; C is bf16, or f32 to be a
// reference (then only the order of the sums rounds). Takes the first algorithm of cuBLASLt's
// heuristic; keeps its workspace. Throws std::runtime_error if the library knows none.
// Launches of one object must not overlap (they share the workspace).
class LibraryGemm {
 public:
  enum class Output { kBF16, kF32 };
  LibraryGemm(int m, int n, int k, Output output);
  ~LibraryGemm();
  LibraryGemm(LibraryGemm&&) noexcept;
  LibraryGemm& operator=(LibraryGemm&&) noexcept;

  // A, B and C 16-byte aligned.
  void Launch(const void* a, const void* b, void* c, cudaStream_t stream) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace aios::ladder
