// The operations on the GPU that are bound by memory, each beside the rate at which this GPU
// copies:
//
//     ./bazelw run -c opt //benchmarks:bench_cuda_ops -- [--json FILE] [--quick]
//
// "large" rows move several times the L2 and are held against the copy rate. "decode" rows are one
// or 32 tokens: there it is the time that counts, and most of it is that of any kernel at all.
// Inputs of the small ones stay in the L2, as they do behind the kernel that made them.
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "kernels/cuda/check.h"
#include "kernels/cuda/dequantize.h"
#include "kernels/cuda/embed.h"
#include "kernels/cuda/gather.h"
#include "kernels/cuda/rms_norm.h"
#include "kernels/cuda/rope_kv.h"
#include "kernels/cuda/sample.h"
#include "kernels/cuda/silu_mul.h"
#include "kernels/ladder/harness.h"

namespace aios {
namespace {

using kernels::Format;
using ladder::DeviceArray;

// Llama 3.1 8B.
constexpr int kModel = 4096, kFf = 14336, kHeads = 32, kKvHeads = 8, kHeadDim = 128;
constexpr int kVocab = 128256;
constexpr int kQkv = (kHeads + 2 * kKvHeads) * kHeadDim;
constexpr int kLarge = 16384;  // tokens

template <typename T>
DeviceArray ToDevice(const std::vector<T>& host) {
  DeviceArray array(host.size() * sizeof(T));
  AIOS_CUDA_CHECK(cudaMemcpy(array.As<T>(), host.data(), array.n_bytes(), cudaMemcpyHostToDevice));
  return array;
}

const char* Name(Format dtype) { return dtype == Format::kF32 ? "f32" : "bf16"; }
double Bytes(Format dtype) { return dtype == Format::kF32 ? 4 : 2; }

DeviceArray Normal(Format dtype, size_t n, uint64_t seed) {
  return dtype == Format::kF32 ? DeviceArray::NormalF32(n, seed) : DeviceArray::NormalBF16(n, seed);
}

class Bench {
 public:
  explicit Bench(bool quick) : limits_(ladder::MeasureLimits(/*with_gemm=*/false)) {
    options_.repeats = quick ? 5 : 11;
    std::printf("%s: reads %.2f TB/s, copies %.2f TB/s\n\n%-16s %-24s %-5s %10s %8s %8s\n",
                limits_.device.c_str(), limits_.read_bytes_s * 1e-12, limits_.copy_bytes_s * 1e-12,
                "operation", "shape", "", "time", "TB/s", "of copy");
  }

  void Run(const std::string& op, const std::string& shape, Format dtype, double bytes,
           const std::function<void(int, cudaStream_t)>& launch) {
    const double seconds = ladder::TimeKernel(launch, options_);
    rows_.push_back({.op = op,
                     .level = 1,
                     .name = Name(dtype),
                     .shape = shape,
                     .seconds = seconds,
                     .flops = 0,
                     .bytes = bytes,
                     .error = 0,
                     .limit = limits_.copy_bytes_s,
                     .memory_bound = true});
    std::printf("%-16s %-24s %-5s %7.2f us %8.2f %7.1f%%\n", op.c_str(), shape.c_str(), Name(dtype),
                seconds * 1e6, bytes / seconds * 1e-12,
                100 * bytes / seconds / limits_.copy_bytes_s);
  }

  void Write(const std::string& path) const { ladder::WriteJson(path, limits_, rows_); }

 private:
  ladder::Limits limits_;
  ladder::TimingOptions options_;
  std::vector<ladder::Row> rows_;
};

std::string Tokens(int n) { return std::to_string(n) + (n == 1 ? " token" : " tokens"); }

// Far from one another, so that rows of a table do not come out of the L2.
std::vector<int32_t> SpreadRows(int n, int of) {
  std::vector<int32_t> rows;
  for (int64_t i = 0; i < n; ++i) rows.push_back(static_cast<int32_t>(i * 50021 % of));
  return rows;
}

void BenchEmbed(Bench& bench, Format dtype, int n_tokens) {
  const DeviceArray table = Normal(dtype, size_t{kVocab} * kModel, 1);
  const DeviceArray tokens = ToDevice(SpreadRows(n_tokens, kVocab));
  const DeviceArray out(size_t(n_tokens) * kModel * 4);
  bench.Run("embed", Tokens(n_tokens), dtype, n_tokens * kModel * (Bytes(dtype) + 4),
            [&](int, cudaStream_t stream) {
              kernels::cuda::Embed({.table_dtype = dtype,
                                    .table = table.As<void>(),
                                    .tokens = tokens.As<int32_t>(),
                                    .n_tokens = n_tokens,
                                    .d_model = kModel,
                                    .out = out.As<float>()},
                                   stream);
            });
}

void BenchGather(Bench& bench, Format dtype, int n_rows) {
  const DeviceArray x = Normal(dtype, size_t{2 * kLarge} * kModel, 1);
  const DeviceArray rows = ToDevice(SpreadRows(n_rows, 2 * kLarge));
  const DeviceArray out(size_t(n_rows) * kModel * 4);
  bench.Run("gather", Tokens(n_rows), dtype, n_rows * kModel * 2.0 * Bytes(dtype),
            [&](int, cudaStream_t stream) {
              kernels::cuda::Gather({.dtype = dtype,
                                     .x = x.As<void>(),
                                     .rows = rows.As<int32_t>(),
                                     .n_rows = n_rows,
                                     .d = kModel,
                                     .out = out.As<void>()},
                                    stream);
            });
}

void BenchSiluMul(Bench& bench, Format dtype, int n_tokens) {
  const DeviceArray gate_up = Normal(dtype, size_t(n_tokens) * 2 * kFf, 1);
  const DeviceArray out(size_t(n_tokens) * kFf * 4);
  bench.Run("silu_mul", Tokens(n_tokens), dtype, n_tokens * 3.0 * kFf * Bytes(dtype),
            [&](int, cudaStream_t stream) {
              kernels::cuda::SiluMul({.dtype = dtype,
                                      .gate_up = gate_up.As<void>(),
                                      .n_tokens = n_tokens,
                                      .d_ff = kFf,
                                      .out = out.As<void>()},
                                     stream);
            });
}

void BenchRmsNorm(Bench& bench, Format dtype, int n_tokens) {
  const DeviceArray x = DeviceArray::NormalF32(size_t(n_tokens) * kModel, 1);
  const DeviceArray delta = Normal(dtype, size_t(n_tokens) * kModel, 2);
  const DeviceArray weight = DeviceArray::NormalF32(kModel, 3);
  const DeviceArray out(size_t(n_tokens) * kModel * 4);
  bench.Run("rms_norm", Tokens(n_tokens), dtype, n_tokens * kModel * (8 + 2 * Bytes(dtype)),
            [&](int, cudaStream_t stream) {
              kernels::cuda::RmsNorm({.x = x.As<float>(),
                                      .delta = delta.As<void>(),
                                      .weight = weight.As<float>(),
                                      .out = out.As<void>(),
                                      .n_rows = n_tokens,
                                      .d_model = kModel,
                                      .dtype = dtype},
                                     stream);
            });
}

// Sequences of `rows_per_seq` tokens each. qwen: with the biases and norms of Qwen 2 and 3.
void BenchRope(Bench& bench, Format dtype, int n_tokens, int rows_per_seq, bool qwen) {
  constexpr int kPage = 64;
  const int pages_per_seq = (rows_per_seq + kPage - 1) / kPage;
  const int n_seqs = n_tokens / rows_per_seq;
  const int n_pages = n_seqs * pages_per_seq;
  std::vector<int32_t> offsets = {0}, positions, table;
  for (int t = 0; t < n_tokens; ++t) positions.push_back(t % rows_per_seq);
  for (int s = 1; s <= n_seqs; ++s) offsets.push_back(s * rows_per_seq);
  for (int p = 0; p < n_pages; ++p) table.push_back(n_pages - 1 - p);
  const DeviceArray qkv = Normal(dtype, size_t(n_tokens) * kQkv, 1);
  const DeviceArray bias = DeviceArray::NormalF32(kQkv, 2);
  const DeviceArray norm = DeviceArray::NormalF32(kHeadDim, 3);
  const DeviceArray cos = DeviceArray::NormalF32(size_t(rows_per_seq) * kHeadDim / 2, 4);
  const DeviceArray sin = DeviceArray::NormalF32(size_t(rows_per_seq) * kHeadDim / 2, 5);
  const DeviceArray device_offsets = ToDevice(offsets), device_positions = ToDevice(positions);
  const DeviceArray device_table = ToDevice(table);
  const size_t page_bytes = size_t(n_pages) * kKvHeads * kPage * kHeadDim * 4;
  const DeviceArray k(page_bytes), v(page_bytes), q(size_t(n_tokens) * kHeads * kHeadDim * 4);
  bench.Run(qwen ? "rope_kv+qwen" : "rope_kv",
            Tokens(n_tokens) + " in " + std::to_string(n_seqs) + " seqs", dtype,
            n_tokens * 2.0 * kQkv * Bytes(dtype), [&](int, cudaStream_t stream) {
              kernels::cuda::RopeAndStoreKv({.dtype = dtype,
                                             .qkv = qkv.As<void>(),
                                             .bias = qwen ? bias.As<float>() : nullptr,
                                             .q_norm = qwen ? norm.As<float>() : nullptr,
                                             .k_norm = qwen ? norm.As<float>() : nullptr,
                                             .cos = cos.As<float>(),
                                             .sin = sin.As<float>(),
                                             .seq_offsets = device_offsets.As<int32_t>(),
                                             .positions = device_positions.As<int32_t>(),
                                             .n_seqs = n_seqs,
                                             .n_tokens = n_tokens,
                                             .page_table = device_table.As<int32_t>(),
                                             .page_table_stride = pages_per_seq,
                                             .page_size = kPage,
                                             .k_pages = k.As<void>(),
                                             .v_pages = v.As<void>(),
                                             .n_heads = kHeads,
                                             .n_kv_heads = kKvHeads,
                                             .head_dim = kHeadDim,
                                             .q = q.As<void>()},
                                            stream);
            });
}

// A quarter of a billion numbers.
void BenchDequantize(Bench& bench, Format format, Format out_dtype) {
  constexpr int64_t kNumbers = int64_t{1} << 28;
  const auto info = kernels::Info(format);
  const double in_bytes = static_cast<double>(kNumbers / info.block_size * info.block_bytes);
  const DeviceArray blocks = DeviceArray::NormalF32(static_cast<size_t>(in_bytes) / 4, 1);
  const DeviceArray out(kNumbers * 4);
  bench.Run("dequantize", std::string(info.name) + ", 2^28 numbers", out_dtype,
            in_bytes + kNumbers * Bytes(out_dtype), [&](int, cudaStream_t stream) {
              kernels::cuda::Dequantize({.format = format,
                                         .blocks = blocks.As<void>(),
                                         .n = kNumbers,
                                         .out_dtype = out_dtype,
                                         .out = out.As<void>()},
                                        stream);
            });
}

// The bytes are those of the logits, read once.
void BenchSample(Bench& bench, int n_rows, const char* how, kernels::cuda::SampleParams params) {
  constexpr int kSets = 8;  // so that the logits of a launch do not come out of the L2
  const size_t n = size_t(n_rows) * kVocab;
  const DeviceArray logits = DeviceArray::NormalF32(n * kSets, 1, 2.5F);
  std::vector<kernels::cuda::SampleParams> rows(n_rows, params);
  for (int row = 0; row < n_rows; ++row) rows[row].step = row;
  const DeviceArray device_rows = ToDevice(rows);
  const DeviceArray tokens(n_rows * sizeof(int32_t));
  bench.Run(std::string("sample ") + how, std::to_string(n_rows) + " rows", Format::kF32, n * 4.0,
            [&](int launch, cudaStream_t stream) {
              kernels::cuda::Sample({.logits = logits.As<float>() + launch % kSets * n,
                                     .params = device_rows.As<kernels::cuda::SampleParams>(),
                                     .tokens = tokens.As<int32_t>(),
                                     .n_rows = n_rows,
                                     .vocab_size = kVocab},
                                    stream);
            });
}

void Main(const ladder::Flags& flags) {
  Bench bench(flags.quick);
  for (const int n : {1, 8, 32, 128}) {
    BenchSample(bench, n, "greedy", {});
    BenchSample(bench, n, "k50 p.95", {.temperature = 0.8F, .top_k = 50, .top_p = 0.95F});
    BenchSample(bench, n, "t1", {.temperature = 1});
    BenchSample(bench, n, "p.95", {.temperature = 1, .top_p = 0.95F});
    BenchSample(bench, n, "minp.05", {.temperature = 1, .min_p = 0.05F});
  }
  for (const Format dtype : {Format::kBF16, Format::kF32}) {
    for (const int n : {1, 32, kLarge}) BenchEmbed(bench, dtype, n);
    for (const int n : {1, 32, kLarge}) BenchGather(bench, dtype, n);
    for (const int n : {1, 32, kLarge}) BenchRmsNorm(bench, dtype, n);
    for (const int n : {1, 32, kLarge / 2}) BenchSiluMul(bench, dtype, n);
    for (const bool qwen : {false, true}) {
      for (const int n : {1, 32, 256}) BenchRope(bench, dtype, n, 1, qwen);
      BenchRope(bench, dtype, kLarge, 1024, qwen);
    }
  }
  for (const Format format :
       {Format::kF16, Format::kQ8_0, Format::kQ4_0, Format::kQ4_1, Format::kQ4_K, Format::kQ6_K}) {
    BenchDequantize(bench, format, Format::kBF16);
  }
  BenchDequantize(bench, Format::kQ8_0, Format::kF32);
  if (!flags.json.empty()) bench.Write(flags.json);
}

}  // namespace
}  // namespace aios

int main(int argc, char** argv) {
  try {
    aios::Main(aios::ladder::ParseFlags(argc, argv));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
    return 1;
  }
}
