// Gemv for the shapes of Llama's layers, 1 to 8 vectors, bf16 and f32, beside cuBLASLt (bf16) and
// the limit, the GPU's read stream, all in one run. As decoding does it: a chain in a CUDA graph
// over different matrices, many times the L2 in all, each kernel overlapping the one before.
//
// "read, same chain" reads the same bytes in as many kernels that overlap in the same way, each
// ending after the one before, and does nothing else. It is what one plain way to read reaches in
// kernels of this size, no bound: Gemv, which keeps more on the way where rows are long, may pass
// it.
//
//   bazel run -c opt //benchmarks:bench_gemv -- [--json FILE] [--quick]
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "kernels/cuda/gemm.h"
#include "kernels/cuda/gemv.h"
#include "kernels/cuda/pdl.cuh"
#include "kernels/ladder/harness.h"

namespace aios {
namespace {

using kernels::Format;
using ladder::DeviceArray;

struct Shape {
  int d_out, d_in;
};

constexpr double kMatrixBytes = 1e9;  // read in turn: 17 times an H200's L2

// A repeat is one graph: at least as many launches as decoding has of a shape in a token (32
// layers), so that the start and end of the graph, some microseconds, do not count.
constexpr int kMinLaunches = 32, kMaxLaunches = 200;

constexpr int kReadThreads = 256;
constexpr int kReadLoads = 8;  // of 16 bytes, on the way a thread
constexpr size_t kReadBlockBytes = size_t{16} * kReadThreads * kReadLoads;

__global__ __launch_bounds__(kReadThreads) void ReadAndWait(const uint4* from, size_t n,
                                                            uint32_t* sink) {
  kernels::cuda::LetNextKernelStart();
  const size_t first = size_t{kReadThreads} * kReadLoads * blockIdx.x + threadIdx.x;
  uint4 loaded[kReadLoads];
#pragma unroll
  for (int i = 0; i < kReadLoads; ++i) {
    const size_t at = first + size_t{kReadThreads} * i;
    loaded[i] = at < n ? __ldcs(from + at) : uint4{};
  }
  kernels::cuda::WaitForPreviousKernel();
  uint32_t fold = 0;
#pragma unroll
  for (const uint4& v : loaded) fold ^= v.x ^ v.y ^ v.z ^ v.w;
  if (fold == 0x9E3779B9u) *sink = fold;  // or the loads would be dropped
}

void ReadChain(const void* from, size_t n_bytes, uint32_t* sink, cudaStream_t stream) {
  const size_t n_blocks = (n_bytes + kReadBlockBytes - 1) / kReadBlockBytes;
  kernels::cuda::Launch(ReadAndWait,
                        {.grid = dim3(static_cast<unsigned>(n_blocks)),
                         .block = dim3(kReadThreads),
                         .overlap_previous = true},
                        stream, static_cast<const uint4*>(from), n_bytes / 16, sink);
}

void Bench(const Shape& shape, Format dtype, const std::vector<int>& counts, bool with_library,
           const ladder::Limits& limits, std::vector<ladder::Row>& rows) {
  const auto normal = dtype == Format::kF32 ? DeviceArray::NormalF32 : DeviceArray::NormalBF16;
  const int size = kernels::Info(dtype).block_bytes;
  const size_t n = static_cast<size_t>(shape.d_out) * shape.d_in;
  const int n_matrices = std::max(2, static_cast<int>(kMatrixBytes / (n * size)));
  const DeviceArray weights = normal(n * n_matrices, 1, 1);
  const DeviceArray x = normal(static_cast<size_t>(kernels::cuda::kGemvMaxRows) * shape.d_in, 2, 1);
  const DeviceArray y(static_cast<size_t>(kernels::cuda::kGemvMaxRows) * shape.d_out * size);
  const auto weight = [&](int i) { return weights.As<char>() + i % n_matrices * n * size; };

  for (const int n_rows : counts) {
    const auto add = [&](int level, const std::string& name, auto launch) {
      const double seconds = ladder::TimeKernel(
          launch, {.launches_per_repeat = std::clamp(n_matrices, kMinLaunches, kMaxLaunches)});
      rows.push_back(
          {.op = "gemv",
           .level = level,
           .name = name,
           .shape = std::to_string(n_rows) + " x " + std::to_string(shape.d_in) + " to " +
                    std::to_string(shape.d_out) + ", " + std::string(kernels::Info(dtype).name),
           .seconds = seconds,
           .flops = 2.0 * n_rows * static_cast<double>(n),
           .bytes = size * (static_cast<double>(n) + n_rows * (shape.d_in + shape.d_out)),
           .limit = limits.read_bytes_s,
           .memory_bound = true});
    };
    add(1, "Gemv", [&](int i, cudaStream_t stream) {
      kernels::cuda::Gemv({.x = x.As<void>(),
                           .weight = weight(i),
                           .y = y.As<void>(),
                           .n_rows = n_rows,
                           .d_in = shape.d_in,
                           .d_out = shape.d_out,
                           .dtype = dtype,
                           .y_dtype = dtype,
                           .overlap_previous = true},
                          stream);
    });
    if (n_rows == 1) {
      add(2, "read, same chain", [&](int i, cudaStream_t stream) {
        ReadChain(weight(i), n * size, y.As<uint32_t>(), stream);
      });
    }
    if (!with_library) continue;
    kernels::cuda::Gemm library;
    add(0, "cuBLASLt", [&](int i, cudaStream_t stream) {
      library.Run({.x = x.As<void>(),
                   .weight = weight(i),
                   .y = y.As<void>(),
                   .n_rows = n_rows,
                   .d_in = shape.d_in,
                   .d_out = shape.d_out},
                  stream);
    });
  }
}

void Main(const ladder::Flags& flags) {
  const ladder::Limits limits = ladder::MeasureLimits(/*with_gemm=*/false);
  std::printf("%s: read %.2f TB/s\n", limits.device.c_str(), limits.read_bytes_s * 1e-12);
  std::vector<Shape> llama = {
      {4096, 4096}, {6144, 4096}, {28672, 4096}, {4096, 14336}, {128256, 4096},   // 8B
      {2048, 2048}, {3072, 2048}, {16384, 2048}, {2048, 8192},  {128256, 2048}};  // 1B
  if (flags.quick) llama = {{4096, 4096}, {2048, 2048}};
  std::vector<ladder::Row> rows;
  for (const Shape& shape : llama) Bench(shape, Format::kBF16, {1, 2, 4, 8}, true, limits, rows);
  for (const Shape& shape : {Shape{4096, 4096}, {2048, 2048}, {16384, 2048}}) {
    Bench(shape, Format::kF32, {1, 2, 4, 8}, false, limits, rows);
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
    std::fprintf(stderr, "bench_gemv: %s\n", e.what());
    return 1;
  }
}
