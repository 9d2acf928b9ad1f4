// The CPU's matrix product beside the machine's limits, all measured in the same run.
//
//     bazel run //benchmarks:bench_cpu_matmul
//
// All cores. One row (decode) is bound by the memory: "bytes_per_second" counts the weight, of 128
// MiB, which no cache holds, and "limit" is what ReadMemory, reading as much and doing nothing with
// it, got just before; "fraction" is their ratio. Many rows (prefill) are bound by arithmetic:
// "flop_per_second", beside that of Peak, which multiplies and adds in registers. The shapes are
// those of SmolLM2-135M (d_model 576, d_ff 1536) and of a layer of 4096.
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "common/base/thread_pool.h"
#include "common/tensor/buffer.h"
#include "kernels/cpu/matmul.h"
#include "kernels/formats.h"

namespace aios {
namespace {

using kernels::Format;
using kernels::cpu::kMatMulGroup;
using kernels::cpu::MatMulArgs;

constexpr int64_t kWeightBytes = 128 << 20;

ThreadPool& Pool() {
  static ThreadPool pool;
  return pool;
}

// Memory in large pages, so that what is measured is the memory and not the walks of page tables; a
// model's weights are better off there too.
class LargePages {
 public:
  explicit LargePages(int64_t n_bytes) : n_bytes_(static_cast<size_t>(n_bytes)) {
    data_ = mmap(nullptr, n_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data_ == MAP_FAILED) throw std::bad_alloc();
    madvise(data_, n_bytes_, MADV_HUGEPAGE);
  }
  LargePages(const LargePages&) = delete;
  LargePages& operator=(const LargePages&) = delete;
  ~LargePages() { munmap(data_, n_bytes_); }
  uint8_t* data() { return static_cast<uint8_t*>(data_); }

 private:
  size_t n_bytes_;
  void* data_;
};

// Random quantized numbers under scales of about 0.01: no infinity or subnormal slows the
// arithmetic.
void FillWeight(Format format, int64_t n_bytes, uint8_t* weight) {
  std::mt19937 random(1);
  for (int64_t i = 0; i + 4 <= n_bytes; i += 4) {
    const auto word = static_cast<uint32_t>(random());
    std::memcpy(weight + i, &word, sizeof(word));
  }
  const kernels::FormatInfo info = kernels::Info(format);
  for (int64_t i = 0; i < n_bytes / info.block_bytes; ++i) {
    uint8_t* block = weight + i * info.block_bytes;
    const auto scale = static_cast<uint16_t>(0x2000 | (random() & 0x83FF));  // an f16 about 0.01
    switch (format) {
      case Format::kF32: {
        const float number = static_cast<float>(random() % 2001) * 1e-3F - 1;
        std::memcpy(block, &number, sizeof(number));
        break;
      }
      case Format::kBF16:
        block[1] = 0x3C | (block[1] & 0x80);  // about 0.01
        break;
      case Format::kQ6_K:
        std::memcpy(block + 208, &scale, sizeof(scale));
        break;
      case Format::kQ4_1:
      case Format::kQ5_1:
      case Format::kQ4_K:
      case Format::kQ5_K:
        std::memcpy(block + 2, &scale, sizeof(scale));
        [[fallthrough]];
      default:
        std::memcpy(block, &scale, sizeof(scale));
    }
  }
}

void Run(const MatMulArgs& args, std::vector<HostBuffer>& scratch) {
  const int64_t n_groups = (args.d_out + kMatMulGroup - 1) / kMatMulGroup;
  Pool().ParallelFor(n_groups, [&](int64_t begin, int64_t end, int thread) {
    kernels::cpu::MatMul(args, begin * kMatMulGroup, std::min(end * kMatMulGroup, args.d_out),
                         scratch[thread].As<float>());
  });
}

// Sums words, eight at a time, with every load independent of the others.
uint64_t SumWords(const uint8_t* bytes, int64_t n_bytes) {
  uint64_t sums[8] = {};
  for (int64_t i = 0; i + 64 <= n_bytes; i += 64) {
    uint64_t words[8];
    std::memcpy(words, bytes + i, sizeof(words));
    for (int j = 0; j < 8; ++j) sums[j] += words[j];
  }
  uint64_t sum = 0;
  for (const uint64_t part : sums) sum += part;
  return sum;
}

void ReadAll(const uint8_t* bytes, int64_t n_bytes) {
  const int64_t n_lines = n_bytes / 64;
  Pool().ParallelFor(n_lines, [&](int64_t begin, int64_t end, int) {
    benchmark::DoNotOptimize(SumWords(bytes + begin * 64, (end - begin) * 64));
  });
}

// The best of five: what the memory can do when nobody else uses it.
double ReadLimit(const uint8_t* bytes, int64_t n_bytes) {
  double best = 0;
  for (int i = 0; i < 5; ++i) {
    const auto start = std::chrono::steady_clock::now();
    ReadAll(bytes, n_bytes);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(n_bytes) / seconds.count());
  }
  return best;
}

void ReadMemory(benchmark::State& state) {
  LargePages memory(kWeightBytes);
  std::memset(memory.data(), 1, kWeightBytes);
  for (auto _ : state) ReadAll(memory.data(), kWeightBytes);
  state.SetBytesProcessed(state.iterations() * kWeightBytes);
}

// kSums sums of 16 lanes, as many as a core needs to hide the latency of a multiply-add.
[[gnu::target("avx512f,prefer-vector-width=512")]] void MultiplyAdd(int64_t n, float* out) {
  constexpr int kSums = 12;
  typedef float Vector __attribute__((vector_size(64)));
  Vector sums[kSums] = {}, a = {}, b = {};
  a += 1.0000001F, b += 0.1F;
  // Different sums, or the compiler sees that one is enough.
  for (int j = 0; j < kSums; ++j) sums[j] += static_cast<float>(j);
  for (int64_t i = 0; i < n; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kSums; ++j) sums[j] = sums[j] * a + b;
    asm volatile("" : "+v"(a), "+v"(b));  // or the loop is computed beforehand
  }
  for (int j = 1; j < kSums; ++j) sums[0] += sums[j];
  std::memcpy(out, &sums[0], sizeof(float));
}

void Peak(benchmark::State& state) {
  constexpr int64_t kRounds = 1 << 20;
  if (!__builtin_cpu_supports("avx512f")) {
    state.SkipWithError("needs AVX-512");
    return;
  }
  for (auto _ : state) {
    Pool().ParallelFor(Pool().n_threads(), [&](int64_t, int64_t, int) {
      float out;
      MultiplyAdd(kRounds, &out);
      benchmark::DoNotOptimize(out);
    });
  }
  const double flops = 2.0 * 12 * 16 * kRounds * Pool().n_threads();
  state.counters["flop_per_second"] =
      benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
}

void MatMul(benchmark::State& state, Format format, int64_t n_rows, int64_t d_in, int64_t d_out) {
  const kernels::FormatInfo info = kernels::Info(format);
  const int64_t row_bytes = d_in / info.block_size * info.block_bytes;
  const bool of_memory = d_out == 0;  // as many outputs as fill the memory
  if (of_memory) d_out = kWeightBytes / row_bytes / kMatMulGroup * kMatMulGroup;
  LargePages weight(row_bytes * d_out);
  FillWeight(format, row_bytes * d_out, weight.data());
  // At the beginning of cache lines, as in the engine.
  const HostBuffer x(n_rows * d_in * sizeof(float)), y(n_rows * d_out * sizeof(float));
  std::mt19937 random(2);
  std::generate_n(x.As<float>(), n_rows * d_in,
                  [&] { return static_cast<float>(random() % 2001) * 1e-3F - 1; });
  const MatMulArgs args{.format = format,
                        .weight = weight.data(),
                        .x = x.As<float>(),
                        .y = y.As<float>(),
                        .n_rows = n_rows,
                        .d_in = d_in,
                        .d_out = d_out,
                        .y_stride = d_out};
  const auto n_scratch = static_cast<size_t>(kernels::cpu::MatMulScratchFloats(args));
  std::vector<HostBuffer> scratch;
  for (int i = 0; i < Pool().n_threads(); ++i) scratch.emplace_back(n_scratch * sizeof(float));
  const double limit = of_memory ? ReadLimit(weight.data(), row_bytes * d_out) : 0;

  for (auto _ : state) {
    Run(args, scratch);
    benchmark::ClobberMemory();
  }
  using benchmark::Counter;
  if (of_memory) {
    const auto n_bytes = static_cast<double>(row_bytes * d_out);
    state.SetBytesProcessed(state.iterations() * row_bytes * d_out);
    state.counters["limit"] = Counter(limit, Counter::kDefaults, Counter::kIs1024);
    state.counters["fraction"] = Counter(n_bytes / limit, Counter::kIsIterationInvariantRate);
  }
  const double flops = 2.0 * static_cast<double>(n_rows * d_in * d_out);
  state.counters["flop_per_second"] = Counter(flops, Counter::kIsIterationInvariantRate);
}

void RegisterAll() {
  const auto add = [](const std::string& name, auto... args) {
    benchmark::RegisterBenchmark(name.c_str(), args...)->UseRealTime();
  };
  const auto name = [](Format format, int64_t n_rows, int64_t d_in, const std::string& d_out) {
    return "MatMul/" + std::string(kernels::Info(format).name) + "/" + std::to_string(n_rows) +
           "x" + std::to_string(d_in) + "x" + d_out;
  };
  add("ReadMemory", ReadMemory);
  for (const Format format : {Format::kF32, Format::kF16, Format::kBF16, Format::kQ8_0,
                              Format::kQ4_0, Format::kQ4_1, Format::kQ4_K, Format::kQ6_K}) {
    for (const int64_t d_in : {576, 1536, 4096}) {
      if (d_in % kernels::Info(format).block_size != 0) continue;
      for (const int64_t n_rows : {1, 4}) {
        add(name(format, n_rows, d_in, "memory"), MatMul, format, n_rows, d_in, 0);
      }
    }
  }
  add("Peak", Peak);
  struct Shape {
    int64_t d_in, d_out;
  };
  for (const Shape& shape : {Shape{576, 576}, Shape{576, 1536}, Shape{1536, 576}, Shape{576, 49152},
                             Shape{4096, 4096}}) {
    for (const Format format : {Format::kF32, Format::kQ4_1, Format::kQ6_K}) {
      if (shape.d_in % kernels::Info(format).block_size != 0) continue;
      for (const int64_t n_rows : {16, 32, 512}) {
        add(name(format, n_rows, shape.d_in, std::to_string(shape.d_out)), MatMul, format, n_rows,
            shape.d_in, shape.d_out);
      }
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
