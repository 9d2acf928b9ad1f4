// The matrix products of a step of 16 to 2048 rows: Hopper's own (gemm_sm90.h) beside cuBLASLt, and
// the limits, the GPU's read stream and cuBLASLt's rate on a large product, measured in one run.
//
// "layers": eight layers of a model as one graph, as the backend does them but for the attention:
//     own:      norm; qkv; out + residual; norm; gate, up + SiLU; down + residual; all overlapped
//     library:  the same, SiLU a kernel of its own, and no overlap with cuBLASLt's kernels
// Then the single products, over different matrices, many times the L2 in all.
//
//   bazel run -c opt //benchmarks:bench_gemm_rows -- [--json FILE] [--quick]
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "kernels/cuda/gemm.h"
#include "kernels/cuda/gemm_sm90.h"
#include "kernels/cuda/rms_norm.h"
#include "kernels/cuda/silu_mul.h"
#include "kernels/ladder/harness.h"

namespace aios {
namespace {

using kernels::Format;
using kernels::cuda::GemvOutput;
using ladder::DeviceArray;

constexpr int64_t kMaxRows = 2048;
constexpr int kLayers = 8;

struct Model {
  const char* name;
  int64_t d_model, d_ff, d_query, d_qkv;
};
constexpr Model kModels[] = {{"llama-8b", 4096, 14336, 4096, 6144},
                             {"llama-1b", 2048, 8192, 2048, 3072},
                             {"qwen3-0.6b", 1024, 3072, 2048, 4096}};

DeviceArray Rows(int64_t d, size_t size) { return DeviceArray(kMaxRows * d * size); }

// What the product does, by one or the other.
struct Product {
  const void* x;
  const void* weight;
  void* y;
  int64_t n_rows, d_in, d_out;
  Format y_dtype = Format::kBF16;
  GemvOutput output = GemvOutput::kStore;
  void* both = nullptr;  // for kSiluMul by the library: [n_rows, 2 d_out]
};

void Own(const Product& p, cudaStream_t stream) {
  kernels::cuda::GemmSm90({.x = p.x,
                           .weight = p.weight,
                           .y = p.y,
                           .n_rows = p.n_rows,
                           .d_in = p.d_in,
                           .d_out = p.d_out,
                           .y_dtype = p.y_dtype,
                           .output = p.output,
                           .overlap_previous = true},
                          stream);
}

void Library(kernels::cuda::Gemm& gemm, const Product& p, cudaStream_t stream) {
  const bool silu = p.output == GemvOutput::kSiluMul;
  gemm.Run({.x = p.x,
            .weight = p.weight,
            .y = silu ? p.both : p.y,
            .n_rows = p.n_rows,
            .d_in = p.d_in,
            .d_out = silu ? 2 * p.d_out : p.d_out,
            .y_dtype = p.y_dtype,
            .add = p.output == GemvOutput::kAdd},
           stream);
  if (!silu) return;
  kernels::cuda::SiluMul({.dtype = Format::kBF16,
                          .gate_up = p.both,
                          .n_tokens = p.n_rows,
                          .d_ff = p.d_out,
                          .out = p.y,
                          .overlap_previous = true},
                         stream);
}

class Layers {
 public:
  explicit Layers(const Model& model)
      : m_(model),
        n_of_layer_(m_.d_qkv * m_.d_model + m_.d_model * m_.d_query + 3 * m_.d_ff * m_.d_model),
        // Small, so that the residual stream stays of one size over replays.
        weights_(DeviceArray::NormalBF16(kLayers * n_of_layer_, 1, 0.02F)),
        norm_weight_(DeviceArray::NormalF32(m_.d_model, 2)),
        residual_(DeviceArray::NormalF32(kMaxRows * m_.d_model, 3)),
        heads_(DeviceArray::NormalBF16(kMaxRows * m_.d_query, 4)),
        normed_(Rows(m_.d_model, 2)),
        qkv_(Rows(m_.d_qkv, 2)),
        both_(Rows(2 * m_.d_ff, 2)),
        hidden_(Rows(m_.d_ff, 2)) {}

  double Bytes() const { return 2.0 * kLayers * static_cast<double>(n_of_layer_); }

  template <typename Multiply>
  void Run(int64_t n_rows, const Multiply& multiply, cudaStream_t stream) const {
    for (int i = 0; i < kLayers; ++i) {
      const uint16_t* w = weights_.As<uint16_t>() + i * n_of_layer_;
      Norm(n_rows, stream);
      multiply(Product{normed_.As<void>(), w, qkv_.As<void>(), n_rows, m_.d_model, m_.d_qkv});
      w += m_.d_qkv * m_.d_model;
      multiply(Product{heads_.As<void>(), w, residual_.As<void>(), n_rows, m_.d_query, m_.d_model,
                       Format::kF32, GemvOutput::kAdd});
      w += m_.d_model * m_.d_query;
      Norm(n_rows, stream);
      multiply(Product{normed_.As<void>(), w, hidden_.As<void>(), n_rows, m_.d_model, m_.d_ff,
                       Format::kBF16, GemvOutput::kSiluMul, both_.As<void>()});
      w += 2 * m_.d_ff * m_.d_model;
      multiply(Product{hidden_.As<void>(), w, residual_.As<void>(), n_rows, m_.d_ff, m_.d_model,
                       Format::kF32, GemvOutput::kAdd});
    }
  }

 private:
  void Norm(int64_t n_rows, cudaStream_t stream) const {
    kernels::cuda::RmsNorm({.x = residual_.As<float>(),
                            .weight = norm_weight_.As<float>(),
                            .out = normed_.As<void>(),
                            .n_rows = n_rows,
                            .d_model = m_.d_model,
                            .overlap_previous = true},
                           stream);
  }

  Model m_;
  int64_t n_of_layer_;
  DeviceArray weights_, norm_weight_, residual_, heads_, normed_, qkv_, both_, hidden_;
};

// A row of the table: the limit is the larger of the two times.
ladder::Row RowOf(const ladder::Limits& limits, int level, const char* name, std::string shape,
                  double seconds, double flops, double bytes) {
  const bool memory_bound = bytes / limits.read_bytes_s > flops / limits.gemm_flop_s;
  return {.op = "gemm_rows",
          .level = level,
          .name = name,
          .shape = std::move(shape),
          .seconds = seconds,
          .flops = flops,
          .bytes = bytes,
          .limit = memory_bound ? limits.read_bytes_s : limits.gemm_flop_s,
          .memory_bound = memory_bound};
}

void BenchLayers(const Model& model, const std::vector<int64_t>& counts,
                 const ladder::Limits& limits, std::vector<ladder::Row>& rows) {
  const Layers layers(model);
  kernels::cuda::Gemm gemm;
  for (const int64_t n_rows : counts) {
    const auto add = [&](int level, const char* name, const auto& multiply) {
      const double seconds = ladder::TimeKernel(
          [&](int, cudaStream_t stream) {
            layers.Run(
                n_rows, [&](const Product& p) { multiply(p, stream); }, stream);
          },
          {.launches_per_repeat = 2});
      rows.push_back(RowOf(limits, level, name,
                           std::string(model.name) + " layers, " + std::to_string(n_rows), seconds,
                           layers.Bytes() * static_cast<double>(n_rows), layers.Bytes()));
    };
    add(1, "own", [](const Product& p, cudaStream_t stream) { Own(p, stream); });
    add(0, "cuBLASLt", [&](const Product& p, cudaStream_t stream) { Library(gemm, p, stream); });
  }
}

void BenchProduct(int64_t d_in, int64_t d_out, const std::vector<int64_t>& counts,
                  const ladder::Limits& limits, std::vector<ladder::Row>& rows) {
  constexpr int64_t kMatrixNumbers = 500'000'000;
  const int n_matrices = static_cast<int>(std::max<int64_t>(2, kMatrixNumbers / (d_in * d_out)));
  const DeviceArray weights = DeviceArray::NormalBF16(n_matrices * d_in * d_out, 1);
  const DeviceArray x = DeviceArray::NormalBF16(kMaxRows * d_in, 2);
  const DeviceArray y(std::min<int64_t>(kMaxRows, counts.back()) * d_out * 4);
  kernels::cuda::Gemm gemm;
  for (const int64_t n_rows : counts) {
    const auto add = [&](int level, const char* name, const auto& multiply) {
      const double seconds = ladder::TimeKernel(
          [&](int i, cudaStream_t stream) {
            multiply(Product{x.As<void>(), weights.As<uint16_t>() + i % n_matrices * d_in * d_out,
                             y.As<void>(), n_rows, d_in, d_out},
                     stream);
          },
          {.launches_per_repeat = std::clamp(n_matrices, 10, 60), .repeats = 7});
      const auto numbers = static_cast<double>(d_in * d_out);
      rows.push_back(RowOf(
          limits, level, name,
          std::to_string(n_rows) + " x " + std::to_string(d_in) + " to " + std::to_string(d_out),
          seconds, 2.0 * static_cast<double>(n_rows) * numbers,
          2 * (numbers + static_cast<double>(n_rows * (d_in + d_out)))));
    };
    add(1, "own", [](const Product& p, cudaStream_t stream) { Own(p, stream); });
    add(0, "cuBLASLt", [&](const Product& p, cudaStream_t stream) { Library(gemm, p, stream); });
  }
}

void Main(const ladder::Flags& flags) {
  const ladder::Limits limits = ladder::MeasureLimits(/*with_gemm=*/true);
  std::printf("%s: read %.2f TB/s, product %.0f TFLOP/s\n", limits.device.c_str(),
              limits.read_bytes_s * 1e-12, limits.gemm_flop_s * 1e-12);
  std::vector<ladder::Row> rows;
  for (const Model& model : kModels) {
    if (flags.quick && model.d_model != 1024) continue;
    BenchLayers(model, {16, 32, 64, 96, 128, 192, 256, 512, 2048}, limits, rows);
  }
  const std::vector<int64_t> counts = {16, 32, 64, 128, 256};
  if (!flags.quick) {
    for (const auto& [d_in, d_out] : {std::pair<int64_t, int64_t>{4096, 6144},
                                      {4096, 4096},
                                      {4096, 28672},
                                      {14336, 4096},
                                      {4096, 128256},
                                      {1024, 4096},
                                      {2048, 1024},
                                      {1024, 6144},
                                      {3072, 1024},
                                      {1024, 151936}}) {
      BenchProduct(d_in, d_out, counts, limits, rows);
    }
  }
  Print(rows);
  if (!flags.json.empty()) WriteJson(flags.json, limits, rows);
}

}  // namespace
}  // namespace aios

int main(int argc, char** argv) {
  const aios::ladder::Flags flags = aios::ladder::ParseFlags(argc, argv);
  try {
    aios::Main(flags);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench_gemm_rows: %s\n", e.what());
    return 1;
  }
}
