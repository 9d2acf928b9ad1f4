// How fast weights become f32, for each format, beside what the memory allows.
//
//     bazel run //benchmarks:bench_dequantize
//
// One thread. "bytes_per_second" counts the blocks read and the f32 numbers written, so that it
// compares with Copy, which reads and writes as well, and with Fill, which only writes. Two sizes:
// 64 Ki numbers (out: 256 KiB) stay in the second-level cache, as when a kernel takes a tile at a
// time; 16 Mi numbers (64 MiB) do not fit in any.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/cpu/dequantize.h"
#include "kernels/formats.h"

namespace aios {
namespace {

constexpr int64_t kSizes[] = {64 << 10, 16 << 20};

void Report(benchmark::State& state, int64_t n, int64_t n_bytes) {
  state.SetBytesProcessed(state.iterations() * n_bytes);
  state.SetItemsProcessed(state.iterations() * n);
}

void Dequantize(benchmark::State& state, kernels::Format format) {
  const int64_t n = state.range(0);
  const kernels::FormatInfo info = kernels::Info(format);
  // Every byte is 0x35: scales of 0.3, so that no infinity or subnormal slows the arithmetic.
  const std::vector<uint8_t> blocks(n / info.block_size * info.block_bytes, 0x35);
  std::vector<float> out(n);
  for (auto _ : state) {
    kernels::Dequantize(format, blocks.data(), n, out.data());
    benchmark::ClobberMemory();
  }
  Report(state, n, static_cast<int64_t>(blocks.size() + out.size() * sizeof(float)));
}

// memcpy of f32. Above some size it writes past the caches, which saves reading each line before it
// is written.
void Copy(benchmark::State& state) {
  const int64_t n = state.range(0);
  const std::vector<float> in(n, 1.0f);
  std::vector<float> out(n);
  for (auto _ : state) {
    std::memcpy(out.data(), in.data(), n * sizeof(float));
    benchmark::ClobberMemory();
  }
  Report(state, n, 2 * n * static_cast<int64_t>(sizeof(float)));
}

// Ordinary stores and nothing else.
void Fill(benchmark::State& state) {
  const int64_t n = state.range(0);
  std::vector<float> out(n);
  for (auto _ : state) {
    std::fill(out.begin(), out.end(), 1.0f);
    benchmark::ClobberMemory();
  }
  Report(state, n, n * static_cast<int64_t>(sizeof(float)));
}

void RegisterAll() {
  for (const int64_t n : kSizes) {
    benchmark::RegisterBenchmark("Copy", Copy)->Arg(n);
    benchmark::RegisterBenchmark("Fill", Fill)->Arg(n);
    for (int i = 0; i < kernels::kNumFormats; ++i) {
      const auto format = static_cast<kernels::Format>(i);
      const std::string name = "Dequantize/" + std::string(kernels::Info(format).name);
      benchmark::RegisterBenchmark(name.c_str(), Dequantize, format)->Arg(n);
    }
  }
}

}  // namespace
}  // namespace aios

int main(int argc, char** argv) {
  aios::RegisterAll();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
