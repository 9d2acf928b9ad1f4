#include "kernels/ladder/library_gemm.h"

#include <cublasLt.h>

#include <stdexcept>
#include <string>

#include "kernels/ladder/harness.h"

namespace aios::ladder {
namespace {

void Check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw std::runtime_error(std::string("cuBLASLt, ") + what + ": " +
                             cublasLtGetStatusString(status));
}

}  // namespace

struct LibraryGemm::Impl {
  cublasLtHandle_t handle = nullptr;
  cublasLtMatmulDesc_t product = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
  cublasLtMatmulAlgo_t algorithm = {};
  DeviceArray workspace{size_t{32} << 20};  // what NVIDIA advises for Hopper

  ~Impl() {
    if (c) cublasLtMatrixLayoutDestroy(c);
    if (b) cublasLtMatrixLayoutDestroy(b);
    if (a) cublasLtMatrixLayoutDestroy(a);
    if (product) cublasLtMatmulDescDestroy(product);
    if (handle) cublasLtDestroy(handle);
  }
};

// cuBLASLt's matrices are column-major. Our row-major A[m, k] is its k x m, so that our C
// (row-major) is C^T = B A^T in its terms: its first operand is our B transposed, its second our A.
LibraryGemm::LibraryGemm(int m, int n, int k, Output output) : impl_(std::make_unique<Impl>()) {
  Impl& i = *impl_;
  Check(cublasLtCreate(&i.handle), "create");
  Check(cublasLtMatmulDescCreate(&i.product, CUBLAS_COMPUTE_32F, CUDA_R_32F), "product");
  const cublasOperation_t transposed = CUBLAS_OP_T;
  Check(cublasLtMatmulDescSetAttribute(i.product, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                       sizeof(transposed)),
        "transpose");
  Check(cublasLtMatrixLayoutCreate(&i.b, CUDA_R_16BF, k, n, k), "layout of B");
  Check(cublasLtMatrixLayoutCreate(&i.a, CUDA_R_16BF, k, m, k), "layout of A");
  Check(
      cublasLtMatrixLayoutCreate(&i.c, output == Output::kF32 ? CUDA_R_32F : CUDA_R_16BF, n, m, n),
      "layout of C");

  cublasLtMatmulPreference_t preference = nullptr;
  Check(cublasLtMatmulPreferenceCreate(&preference), "preference");
  const size_t workspace = i.workspace.n_bytes();
  cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                       &workspace, sizeof(workspace));
  cublasLtMatmulHeuristicResult_t found = {};
  int n_found = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      i.handle, i.product, i.b, i.a, i.c, i.c, preference, 1, &found, &n_found);
  cublasLtMatmulPreferenceDestroy(preference);
  Check(status, "heuristic");
  if (n_found == 0) throw std::runtime_error("cuBLASLt has no algorithm for this shape");
  i.algorithm = found.algo;
}

LibraryGemm::~LibraryGemm() = default;
LibraryGemm::LibraryGemm(LibraryGemm&&) noexcept = default;
LibraryGemm& LibraryGemm::operator=(LibraryGemm&&) noexcept = default;

void LibraryGemm::Launch(const void* a, const void* b, void* c, cudaStream_t stream) const {
  const Impl& i = *impl_;
  const float one = 1, zero = 0;
  Check(cublasLtMatmul(i.handle, i.product, &one, b, i.b, a, i.a, &zero, c, i.c, c, i.c,
                       &i.algorithm, i.workspace.As<void>(), i.workspace.n_bytes(), stream),
        "matmul");
}

}  // namespace aios::ladder
