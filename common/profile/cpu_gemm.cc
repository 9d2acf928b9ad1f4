#include "common/profile/cpu_gemm.h"

#include <algorithm>
#include <barrier>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

#include "common/base/check.h"
#include "kernels/cpu/matmul.h"

namespace aios {

double MeasureF32Gemm(int n_threads, const CpuGemmShape& shape) {
  using Clock = std::chrono::steady_clock;
  constexpr auto kTime = std::chrono::milliseconds(400);  // the clock goes up in the first part
  // A thread's stretch: some 1 ms of work, so that a thread of a busy machine, too, has a core to
  // itself during some of them.
  constexpr int64_t kOutputs = 64;
  static_assert(kOutputs % kernels::cpu::kMatMulGroup == 0);
  AIOS_CHECK(n_threads >= 1 && shape.d_out >= kOutputs);

  // Any numbers do, but for subnormal ones, which are slow.
  const std::vector<float> x(shape.n_rows * shape.d_in, 0.5F);
  const std::vector<float> weight(shape.d_out * shape.d_in, 0.25F);
  std::vector<double> best(n_threads, 0);  // FLOP/s of each thread's best stretch
  const int64_t n_stretches = shape.d_out / kOutputs;
  const double flops = 2.0 * static_cast<double>(shape.n_rows * shape.d_in) * kOutputs;

  Clock::time_point deadline;
  std::barrier start(n_threads, [&]() noexcept { deadline = Clock::now() + kTime; });
  const auto work = [&](int thread) {
    std::vector<float> y(shape.n_rows * shape.d_out);
    const kernels::cpu::MatMulArgs args = {.format = kernels::Format::kF32,
                                           .weight = weight.data(),
                                           .x = x.data(),
                                           .y = y.data(),
                                           .n_rows = shape.n_rows,
                                           .d_in = shape.d_in,
                                           .d_out = shape.d_out,
                                           .y_stride = shape.d_out};
    std::vector<float> scratch(kernels::cpu::MatMulScratchFloats(args));
    start.arrive_and_wait();
    // Each begins elsewhere in the weight, as when they share one product.
    int64_t i = thread * n_stretches / static_cast<int64_t>(best.size());
    for (auto begin = Clock::now(); begin < deadline || best[thread] == 0; ++i) {
      const int64_t first = i % n_stretches * kOutputs;
      kernels::cpu::MatMul(args, first, first + kOutputs, scratch.data());
      const auto end = Clock::now();
      const std::chrono::duration<double> seconds = end - begin;
      // Not after the deadline, when the others may have left this thread what they shared.
      if (end <= deadline || best[thread] == 0)
        best[thread] = std::max(best[thread], flops / seconds.count());
      begin = end;
    }
  };
  {
    std::vector<std::jthread> threads;
    for (int t = 1; t < n_threads; ++t) threads.emplace_back(work, t);
    work(0);
  }
  return std::accumulate(best.begin(), best.end(), 0.0);
}

}  // namespace aios
