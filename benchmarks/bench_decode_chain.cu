// All matrix products of one decode step, in the order of the step and as one graph, for the shapes
// of whole models: what is lost between kernels shows here, beside the limit, the GPU's read
// stream, measured in the same run.
//
// "fused": a layer is five kernels: norm + qkv; a stand-in for the attention, which copies the
// queries; out + residual; norm + gate, up + SiLU; down + residual. Then norm + logits.
// "apart": the same with every operation a kernel of its own, eight a layer.
//
//   bazel run -c opt //benchmarks:bench_decode_chain -- [--json FILE] [--quick]
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "kernels/cuda/gemv.h"
#include "kernels/cuda/pdl.cuh"
#include "kernels/cuda/rms_norm.h"
#include "kernels/cuda/silu_mul.h"
#include "kernels/ladder/harness.h"

namespace aios {
namespace {

using kernels::Format;
using kernels::cuda::GemvOutput;
using kernels::cuda::kGemvMaxRows;
using ladder::DeviceArray;

struct Model {
  const char* name;
  int n_layers, d_model, d_ff, n_heads, n_kv_heads, head_dim, vocab_size;

  int DQuery() const { return n_heads * head_dim; }
  int DQkv() const { return (n_heads + 2 * n_kv_heads) * head_dim; }
};

constexpr Model kModels[] = {{"llama-8b", 32, 4096, 14336, 32, 8, 128, 128256},
                             {"llama-1b", 16, 2048, 8192, 32, 8, 64, 128256},
                             {"qwen3-0.6b", 28, 1024, 3072, 16, 8, 128, 151936},
                             {"smollm2-135m", 30, 576, 1536, 9, 3, 64, 49152}};

constexpr int kThreads = 128;

// In the attention's place: out = the queries of qkv.
__global__ __launch_bounds__(kThreads) void CopyQueries(const __nv_bfloat16* qkv, int d_qkv,
                                                        int d_query, __nv_bfloat16* out) {
  kernels::cuda::LetNextKernelStart();
  kernels::cuda::WaitForPreviousKernel();
  const int i = blockIdx.x * kThreads + threadIdx.x;
  if (i < d_query) out[blockIdx.y * d_query + i] = qkv[blockIdx.y * d_qkv + i];
}

// The layers' weights lie one after another, as a checkpoint's do: far more than the L2 holds.
class Chain {
 public:
  explicit Chain(const Model& model) : m_(model) {
    const auto weights = [&](size_t rows, size_t columns) {
      const size_t begin = n_weights_;
      n_weights_ += rows * columns;
      return begin;
    };
    for (int i = 0; i < m_.n_layers; ++i) {
      layers_.push_back({.qkv = weights(m_.DQkv(), m_.d_model),
                         .out = weights(m_.d_model, m_.DQuery()),
                         .gate_up = weights(2 * m_.d_ff, m_.d_model),
                         .down = weights(m_.d_model, m_.d_ff)});
    }
    logits_ = weights(m_.vocab_size, m_.d_model);
    // Small, so that the residual stream stays of one size over replays.
    weights_ = DeviceArray::NormalBF16(n_weights_, 1, 0.02F);
    norm_weight_ = DeviceArray::NormalF32(m_.d_model, 2);
    residual_ = DeviceArray::NormalF32(size_t{kGemvMaxRows} * m_.d_model, 3);
    const auto rows = [](size_t n, size_t bytes) { return DeviceArray(kGemvMaxRows * n * bytes); };
    normed_ = rows(m_.d_model, 2);
    qkv_out_ = rows(m_.DQkv(), 2);
    attention_out_ = rows(m_.DQuery(), 2);
    gate_up_out_ = rows(2 * m_.d_ff, 2);
    hidden_ = rows(m_.d_ff, 2);
    delta_ = rows(m_.d_model, 2);
    logits_out_ = rows(m_.vocab_size, 4);
  }

  // The weights, which is nearly all that a step must read.
  double Bytes() const { return 2.0 * static_cast<double>(n_weights_); }

  void Fused(int n_rows, cudaStream_t stream) {
    for (const Layer& layer : layers_) {
      Norm(n_rows, layer.qkv, m_.DQkv(), qkv_out_, Format::kBF16, GemvOutput::kStore, stream);
      Attention(n_rows, stream);
      Add(n_rows, attention_out_, layer.out, m_.DQuery(), stream);
      Norm(n_rows, layer.gate_up, m_.d_ff, hidden_, Format::kBF16, GemvOutput::kSiluMul, stream);
      Add(n_rows, hidden_, layer.down, m_.d_ff, stream);
    }
    Norm(n_rows, logits_, m_.vocab_size, logits_out_, Format::kF32, GemvOutput::kStore, stream);
  }

  void Apart(int n_rows, cudaStream_t stream) {
    const DeviceArray* delta = nullptr;  // of the layer before
    for (const Layer& layer : layers_) {
      RmsNorm(n_rows, delta, stream);
      Product(n_rows, normed_, layer.qkv, m_.d_model, m_.DQkv(), qkv_out_, stream);
      Attention(n_rows, stream);
      Product(n_rows, attention_out_, layer.out, m_.DQuery(), m_.d_model, delta_, stream);
      RmsNorm(n_rows, &delta_, stream);
      Product(n_rows, normed_, layer.gate_up, m_.d_model, 2 * m_.d_ff, gate_up_out_, stream);
      kernels::cuda::SiluMul({.dtype = Format::kBF16,
                              .gate_up = gate_up_out_.As<void>(),
                              .n_tokens = n_rows,
                              .d_ff = m_.d_ff,
                              .out = hidden_.As<void>(),
                              .overlap_previous = true},
                             stream);
      Product(n_rows, hidden_, layer.down, m_.d_ff, m_.d_model, delta_, stream);
      delta = &delta_;
    }
    RmsNorm(n_rows, delta, stream);
    Product(n_rows, normed_, logits_, m_.d_model, m_.vocab_size, logits_out_, stream, Format::kF32);
  }

 private:
  struct Layer {
    size_t qkv, out, gate_up, down;  // numbers from the first weight
  };

  const void* Weight(size_t at) const { return weights_.As<__nv_bfloat16>() + at; }

  void Attention(int n_rows, cudaStream_t stream) const {
    kernels::cuda::Launch(CopyQueries,
                          {.grid = dim3((m_.DQuery() + kThreads - 1) / kThreads, n_rows),
                           .block = dim3(kThreads),
                           .overlap_previous = true},
                          stream, qkv_out_.As<const __nv_bfloat16>(), m_.DQkv(), m_.DQuery(),
                          attention_out_.As<__nv_bfloat16>());
  }
  void Norm(int n_rows, size_t weight, int64_t d_out, const DeviceArray& y, Format y_dtype,
            GemvOutput output, cudaStream_t stream) const {
    kernels::cuda::Gemv({.residual = residual_.As<float>(),
                         .norm_weight = norm_weight_.As<float>(),
                         .workspace = normed_.As<void>(),
                         .weight = Weight(weight),
                         .y = y.As<void>(),
                         .n_rows = n_rows,
                         .d_in = m_.d_model,
                         .d_out = d_out,
                         .y_dtype = y_dtype,
                         .output = output,
                         .overlap_previous = true},
                        stream);
  }
  void Add(int n_rows, const DeviceArray& x, size_t weight, int64_t d_in,
           cudaStream_t stream) const {
    kernels::cuda::Gemv({.x = x.As<void>(),
                         .weight = Weight(weight),
                         .y = residual_.As<float>(),
                         .n_rows = n_rows,
                         .d_in = d_in,
                         .d_out = m_.d_model,
                         .y_dtype = Format::kF32,
                         .output = GemvOutput::kAdd,
                         .overlap_previous = true},
                        stream);
  }
  void RmsNorm(int n_rows, const DeviceArray* delta, cudaStream_t stream) const {
    kernels::cuda::RmsNorm({.x = residual_.As<float>(),
                            .delta = delta == nullptr ? nullptr : delta->As<void>(),
                            .weight = norm_weight_.As<float>(),
                            .out = normed_.As<void>(),
                            .n_rows = n_rows,
                            .d_model = m_.d_model,
                            .overlap_previous = true},
                           stream);
  }
  void Product(int n_rows, const DeviceArray& x, size_t weight, int64_t d_in, int64_t d_out,
               const DeviceArray& y, cudaStream_t stream, Format y_dtype = Format::kBF16) const {
    kernels::cuda::Gemv({.x = x.As<void>(),
                         .weight = Weight(weight),
                         .y = y.As<void>(),
                         .n_rows = n_rows,
                         .d_in = d_in,
                         .d_out = d_out,
                         .y_dtype = y_dtype,
                         .overlap_previous = true},
                        stream);
  }

  Model m_;
  size_t n_weights_ = 0, logits_ = 0;
  std::vector<Layer> layers_;
  DeviceArray weights_, norm_weight_, residual_, normed_, qkv_out_, attention_out_, gate_up_out_,
      hidden_, delta_, logits_out_;
};

void Main(const ladder::Flags& flags) {
  const ladder::Limits limits = ladder::MeasureLimits(/*with_gemm=*/false);
  std::printf("%s: read %.2f TB/s\n", limits.device.c_str(), limits.read_bytes_s * 1e-12);
  std::vector<ladder::Row> rows;
  for (const Model& model : kModels) {
    if (flags.quick && model.n_layers * model.d_model > 40000) continue;  // 15 GB of llama-8b
    Chain chain(model);
    // Up to 50 ms: the clocks fall while the weights are made.
    ladder::TimeKernel([&](int, cudaStream_t stream) { chain.Fused(1, stream); }, {.repeats = 5});
    for (const int n_rows : {1, 2, 4, 8}) {
      const auto add = [&](int level, const char* name, auto step) {
        const double seconds = ladder::TimeKernel(
            [&](int, cudaStream_t stream) { step(n_rows, stream); }, {.launches_per_repeat = 2});
        rows.push_back({.op = "decode_chain",
                        .level = level,
                        .name = name,
                        .shape = std::string(model.name) + ", " + std::to_string(n_rows),
                        .seconds = seconds,
                        .flops = chain.Bytes() * n_rows,  // two a weight of two bytes
                        .bytes = chain.Bytes(),
                        .limit = limits.read_bytes_s,
                        .memory_bound = true});
      };
      add(1, "apart", [&](int n, cudaStream_t stream) { chain.Apart(n, stream); });
      add(2, "fused", [&](int n, cudaStream_t stream) { chain.Fused(n, stream); });
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
    std::fprintf(stderr, "bench_decode_chain: %s\n", e.what());
    return 1;
  }
}
