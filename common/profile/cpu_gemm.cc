#include "common/profile/cpu_gemm.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "common/base/thread_pool.h"
#include "kernels/cpu/matmul.h"

namespace aios {

double MeasureF32Gemm(int n_threads, const CpuGemmShape& shape) {
  using Clock = std::chrono::steady_clock;
  using Seconds = std::chrono::duration<double>;
  using kernels::cpu::kMatMulGroup;
  constexpr int kMinTries = 5;
  constexpr Seconds kTime(0.4);

  ThreadPool pool(n_threads);
  // Any numbers do, but for subnormal ones, which are slow.
  const std::vector<float> x(shape.n_rows * shape.d_in, 0.5F);
  const std::vector<float> weight(shape.d_out * shape.d_in, 0.25F);
  std::vector<float> y(shape.n_rows * shape.d_out);
  const kernels::cpu::MatMulArgs args = {.format = kernels::Format::kF32,
                                         .weight = weight.data(),
                                         .x = x.data(),
                                         .y = y.data(),
                                         .n_rows = shape.n_rows,
                                         .d_in = shape.d_in,
                                         .d_out = shape.d_out,
                                         .y_stride = shape.d_out};
  std::vector<std::vector<float>> scratch(pool.n_threads());
  for (auto& floats : scratch) floats.resize(kernels::cpu::MatMulScratchFloats(args));

  const int64_t n_groups = (shape.d_out + kMatMulGroup - 1) / kMatMulGroup;
  double best_seconds = 0;
  const auto begin = Clock::now();
  for (int i = 0; i < kMinTries || Clock::now() - begin < kTime; ++i) {
    const auto start = Clock::now();
    pool.ParallelFor(n_groups, [&](int64_t first, int64_t last, int thread) {
      kernels::cpu::MatMul(args, first * kMatMulGroup, std::min(last * kMatMulGroup, shape.d_out),
                           scratch[thread].data());
    });
    const double seconds = Seconds(Clock::now() - start).count();
    if (i == 0 || seconds < best_seconds) best_seconds = seconds;
  }
  return 2.0 * static_cast<double>(shape.n_rows * shape.d_in) * static_cast<double>(shape.d_out) /
         best_seconds;
}

}  // namespace aios
