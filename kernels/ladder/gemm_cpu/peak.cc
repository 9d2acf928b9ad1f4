// Compiled once for each instruction set; see level_04_simd.cc.
#include "kernels/ladder/gemm_cpu/peak.h"

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <numeric>
#include <thread>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ladder/gemm_cpu/peak.cc"
#include "hwy/foreach_target.h"  // before highway.h, which it steers
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace aios::ladder::gemm_cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Runs `steps` rounds of kSums independent multiply-adds; `flops` becomes their FLOPs. 12 sums are
// more than two FMA units with 5 cycles of latency can have under way, and fit 16 registers.
float MultiplyAdds(int64_t steps, double& flops) {
  constexpr int kSums = 12;
  const hn::CappedTag<float, 16> floats;
  // Opaque to the compiler, which could otherwise work the loop out. The sums tend to 1.
  volatile float half = 0.5F;
  const auto factor = hn::Set(floats, half);
  hn::Vec<hn::CappedTag<float, 16>> sums[kSums];
  for (auto& sum : sums) sum = hn::Zero(floats);
  for (int64_t step = 0; step < steps; ++step) {
    for (auto& sum : sums) sum = hn::MulAdd(sum, factor, factor);
  }
  for (int s = 1; s < kSums; ++s) sums[0] = hn::Add(sums[0], sums[s]);
  flops = 2.0 * kSums * static_cast<double>(hn::Lanes(floats)) * static_cast<double>(steps);
  return hn::GetLane(sums[0]);
}

}  // namespace aios::ladder::gemm_cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace aios::ladder::gemm_cpu {

HWY_EXPORT(MultiplyAdds);

double MeasurePeak(int n_threads) {
  using Clock = std::chrono::steady_clock;
  constexpr auto kTime = std::chrono::milliseconds(100);  // the clock goes up in the first part
  constexpr int64_t kSteps = 200'000;                     // about 0.6 ms
  Clock::time_point deadline;
  std::barrier start(n_threads, [&]() noexcept { deadline = Clock::now() + kTime; });
  std::vector<double> best(n_threads, 0);  // FLOP/s of each thread's best stretch
  const auto work = [&](int thread) {
    start.arrive_and_wait();
    double mine = 0;
    for (auto begin = Clock::now(); begin < deadline;) {
      double flops = 0;
      [[maybe_unused]] volatile float keep = HWY_DYNAMIC_DISPATCH(MultiplyAdds)(kSteps, flops);
      const auto end = Clock::now();
      // Not after the deadline, when the others may have left this thread a shared core.
      const double rate = flops / std::chrono::duration<double>(end - begin).count();
      if (end <= deadline || mine == 0) mine = std::max(mine, rate);
      begin = end;
    }
    best[thread] = mine;
  };
  {
    std::vector<std::jthread> threads;
    for (int t = 1; t < n_threads; ++t) threads.emplace_back(work, t);
    work(0);
  }
  return std::accumulate(best.begin(), best.end(), 0.0);
}

}  // namespace aios::ladder::gemm_cpu
#endif  // HWY_ONCE
