// Lesson 00's probe beside what others would say of the same machine, in one run.
//
//     bazel run -c opt //benchmarks:bench_lesson_00
//
// Memory: the probe's reading beside loops like those of STREAM (McCalpin 1995: copy, scale, add,
// triad; here with the threads and arrays of a probe, and a sum, which only reads) and the C
// library's memcpy. "bytes_per_second" counts what STREAM counts: each array once. A store first
// reads the line that it overwrites, which is not counted: so copies look slower than reads.
//
// Arithmetic: the probe's product beside Eigen's of the same shape, and beside the registers' peak.
#include <benchmark/benchmark.h>

#include <Eigen/Core>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "common/base/thread_pool.h"
#include "common/profile/cpu_gemm.h"
#include "common/profile/probe.h"
#include "kernels/ladder/gemm_cpu/peak.h"

namespace aios {
namespace {

constexpr int64_t kArray = int64_t{32} << 20;  // doubles: 256 MiB

ThreadPool& Pool() {
  static ThreadPool pool;
  return pool;
}

void ProbeRead(benchmark::State& state) {
  double best = 0;
  for (auto _ : state) best = std::max(best, MeasureReadBandwidth(Pool().n_threads()));
  state.counters["bytes_per_second"] = best;
}

// body(begin, end) over three arrays, cut among all threads in stretches of a millisecond or so:
// the best of them, as the probe takes it. `n_arrays`: how many it touches.
template <typename Body>
void Stream(benchmark::State& state, int n_arrays, Body&& body) {
  static std::vector<double> a(kArray, 1.0), b(kArray, 2.0), c(kArray, 0.0);
  constexpr int64_t kStretch = 2 << 20;  // 16 MiB of each array
  double best = 0;
  for (auto _ : state) {
    for (int64_t first = 0; first < kArray; first += kStretch) {
      const auto start = std::chrono::steady_clock::now();
      Pool().ParallelFor(kStretch, [&](int64_t begin, int64_t end, int) {
        body(a.data() + first + begin, b.data() + first + begin, c.data() + first + begin,
             end - begin);
      });
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      const double n_bytes = static_cast<double>(n_arrays) * kStretch * sizeof(double);
      best = std::max(best, n_bytes / seconds.count());
    }
  }
  state.counters["bytes_per_second"] = best;
}

void StreamSum(benchmark::State& state) {
  Stream(state, 1, [](const double* a, double*, double*, int64_t n) {
    double sums[8] = {};
    for (int64_t i = 0; i + 8 <= n; i += 8) {
      for (int j = 0; j < 8; ++j) sums[j] += a[i + j];
    }
    benchmark::DoNotOptimize(sums);
  });
}

void StreamCopy(benchmark::State& state) {
  Stream(state, 2, [](const double* a, double*, double* c, int64_t n) {
    for (int64_t i = 0; i < n; ++i) c[i] = a[i];
    benchmark::ClobberMemory();
  });
}

void StreamTriad(benchmark::State& state) {
  Stream(state, 3, [](const double* a, const double* b, double* c, int64_t n) {
    for (int64_t i = 0; i < n; ++i) c[i] = a[i] + 3.0 * b[i];
    benchmark::ClobberMemory();
  });
}

void Memcpy(benchmark::State& state) {
  Stream(state, 2, [](const double* a, double*, double* c, int64_t n) {
    std::memcpy(c, a, n * sizeof(double));
    benchmark::ClobberMemory();
  });
}

void ProbeGemm(benchmark::State& state) {
  double best = 0;
  for (auto _ : state) best = std::max(best, MeasureF32Gemm(Pool().n_threads()));
  state.counters["flop_per_second"] = best;
}

// The same stretches as the probe's, one for each thread at a time, with Eigen's product.
void EigenGemm(benchmark::State& state) {
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  constexpr CpuGemmShape kShape;
  constexpr int64_t kOutputs = 64;
  Eigen::setNbThreads(1);  // the threads are ours
  const Matrix x = Matrix::Constant(kShape.n_rows, kShape.d_in, 0.5F);
  const Matrix weight = Matrix::Constant(kShape.d_out, kShape.d_in, 0.25F);
  const double flops = 2.0 * kShape.n_rows * kShape.d_in * kOutputs;
  std::vector<double> best(Pool().n_threads(), 0);
  for (auto _ : state) {
    std::vector<std::jthread> threads;
    for (int t = 0; t < Pool().n_threads(); ++t) {
      threads.emplace_back([&, t] {
        Matrix y(kShape.n_rows, kOutputs);
        for (int64_t i = 0; i < 5 * kShape.d_out / kOutputs; ++i) {
          const auto start = std::chrono::steady_clock::now();
          y.noalias() = x * weight.middleRows(i * kOutputs % kShape.d_out, kOutputs).transpose();
          benchmark::DoNotOptimize(y.data());
          const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
          best[t] = std::max(best[t], flops / seconds.count());
        }
      });
    }
  }
  double sum = 0;
  for (const double rate : best) sum += rate;
  state.counters["flop_per_second"] = sum;
}

void RegisterPeak(benchmark::State& state) {
  double best = 0;
  for (auto _ : state) best = std::max(best, ladder::gemm_cpu::MeasurePeak(Pool().n_threads()));
  state.counters["flop_per_second"] = best;
}

BENCHMARK(ProbeRead)->Iterations(3)->UseRealTime();
BENCHMARK(StreamSum)->Iterations(20)->UseRealTime();
BENCHMARK(StreamCopy)->Iterations(20)->UseRealTime();
BENCHMARK(StreamTriad)->Iterations(20)->UseRealTime();
BENCHMARK(Memcpy)->Iterations(20)->UseRealTime();
BENCHMARK(ProbeGemm)->Iterations(3)->UseRealTime();
BENCHMARK(EigenGemm)->Iterations(3)->UseRealTime();
BENCHMARK(RegisterPeak)->Iterations(3)->UseRealTime();

}  // namespace
}  // namespace aios

BENCHMARK_MAIN();
