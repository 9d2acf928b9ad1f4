#include "kernels/cuda/gemm.h"

#include <cublasLt.h>

#include <map>
#include <stdexcept>
#include <string>
#include <tuple>

#include "kernels/cuda/check.h"

namespace aios::kernels::cuda {
namespace {

void Check(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) [[likely]]
    return;
  throw std::runtime_error(std::string("cuBLASLt, ") + what + ": " +
                           cublasLtGetStatusString(status));
}

cudaDataType_t TypeOf(Format format) {
  if (format == Format::kF32) return CUDA_R_32F;
  if (format == Format::kBF16) return CUDA_R_16BF;
  throw std::invalid_argument("Gemm: numbers are F32 or BF16, not " +
                              std::string(Info(format).name));
}

// cuBLASLt's objects, each with the call that ends it.
template <auto Destroy>
struct Destroyer {
  template <typename T>
  void operator()(T* object) const {
    Destroy(object);
  }
};
template <typename Handle, auto Destroy>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroyer<Destroy>>;
using Context = Owned<cublasLtHandle_t, cublasLtDestroy>;
using Product = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

// What the library chose for a shape. Its matrices are column-major, so that our row-major x
// [n_rows, d_in] is its d_in x n_rows, and y^T = W x^T is what it computes.
struct Plan {
  Product product;
  Layout weight;
  cublasLtMatmulAlgo_t algorithm = {};
};

constexpr size_t kWorkspaceBytes = size_t{32} << 20;  // what NVIDIA advises for Hopper
constexpr size_t kMaxPlans = 4096;  // a prompt of each length makes some: do not keep them forever

Layout MakeLayout(Format format, int64_t rows, int64_t columns) {
  cublasLtMatrixLayout_t layout = nullptr;
  Check(cublasLtMatrixLayoutCreate(&layout, TypeOf(format), rows, columns, rows), "layout");
  return Layout(layout);
}

// The library is asked for a way for so many rows, and takes it for those up to it: a text that
// grows by a token at each step would else make it look for, and load, other kernels at each. The
// few rows of Gemv are asked for as they are, so that it is compared with the library at its best.
int64_t RowsToPlanFor(int64_t n_rows) {
  if (n_rows <= 8) return n_rows;
  const int64_t step = n_rows <= 128 ? 16 : n_rows <= 1024 ? 64 : 256;
  return (n_rows + step - 1) / step * step;
}

Plan MakePlan(cublasLtHandle_t handle, const GemmArgs& args) {
  Plan plan;
  cublasLtMatmulDesc_t product = nullptr;
  Check(cublasLtMatmulDescCreate(&product, CUBLAS_COMPUTE_32F, CUDA_R_32F), "product");
  plan.product.reset(product);
  const cublasOperation_t transposed = CUBLAS_OP_T;
  Check(cublasLtMatmulDescSetAttribute(product, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                       sizeof(transposed)),
        "transpose");
  plan.weight = MakeLayout(args.dtype, args.d_in, args.d_out);
  const Layout x = MakeLayout(args.dtype, args.d_in, args.n_rows);
  const Layout y = MakeLayout(args.y_dtype, args.d_out, args.n_rows);

  cublasLtMatmulPreference_t preference = nullptr;
  Check(cublasLtMatmulPreferenceCreate(&preference), "preference");
  const Preference owner(preference);
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    Check(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value)),
          "preference");
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspaceBytes);
  for (const auto operand :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    prefer(operand, uint32_t{16});
  }
  cublasLtMatmulHeuristicResult_t found = {};
  int n_found = 0;
  Check(cublasLtMatmulAlgoGetHeuristic(handle, product, plan.weight.get(), x.get(), y.get(),
                                       y.get(), preference, 1, &found, &n_found),
        "heuristic");
  if (n_found == 0) throw std::runtime_error("cuBLASLt has no algorithm for this shape");
  plan.algorithm = found.algo;
  return plan;
}

}  // namespace

struct Gemm::Impl {
  using Key = std::tuple<int64_t, int64_t, int64_t, Format, Format>;

  Context handle;
  std::unique_ptr<void, Destroyer<cudaFree>> workspace;
  std::map<Key, Plan> plans;

  const Plan& PlanFor(const GemmArgs& args) {
    const Key key = {args.n_rows, args.d_in, args.d_out, args.dtype, args.y_dtype};
    if (const auto it = plans.find(key); it != plans.end()) return it->second;
    if (plans.size() >= kMaxPlans) plans.clear();
    return plans.emplace(key, MakePlan(handle.get(), args)).first->second;
  }

  // Whether the plan, which may have been made for more rows, can do it.
  bool TryRun(const Plan& plan, const GemmArgs& args, cudaStream_t stream) {
    const Layout x = MakeLayout(args.dtype, args.d_in, args.n_rows);
    const Layout y = MakeLayout(args.y_dtype, args.d_out, args.n_rows);
    const float one = 1;
    const float kept = args.add ? 1 : 0;  // of y
    const cublasStatus_t status =
        cublasLtMatmul(handle.get(), plan.product.get(), &one, args.weight, plan.weight.get(),
                       args.x, x.get(), &kept, args.y, y.get(), args.y, y.get(), &plan.algorithm,
                       workspace.get(), kWorkspaceBytes, stream);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE) {
      return false;
    }
    Check(status, "matmul");
    return true;
  }
};

Gemm::Gemm() : impl_(std::make_unique<Impl>()) {
  cublasLtHandle_t handle = nullptr;
  Check(cublasLtCreate(&handle), "create");
  impl_->handle.reset(handle);
  void* workspace = nullptr;
  AIOS_CUDA_CHECK(cudaMalloc(&workspace, kWorkspaceBytes));
  impl_->workspace.reset(workspace);
}
Gemm::Gemm(Gemm&&) noexcept = default;
Gemm& Gemm::operator=(Gemm&&) noexcept = default;
Gemm::~Gemm() = default;

void Gemm::Run(const GemmArgs& args, cudaStream_t stream) {
  if (args.n_rows == 0 || args.d_out == 0) return;
  GemmArgs planned = args;
  planned.n_rows = RowsToPlanFor(args.n_rows);
  if (impl_->TryRun(impl_->PlanFor(planned), args, stream)) return;
  if (impl_->TryRun(impl_->PlanFor(args), args, stream)) return;
  throw std::runtime_error("cuBLASLt refuses the way that it chose itself");
}

}  // namespace aios::kernels::cuda
