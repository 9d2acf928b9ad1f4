#include "common/profile/probe.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>
#include <limits>
#include <thread>

#include "common/base/memory.h"
#include "common/base/thread_pool.h"
#include "common/tensor/buffer.h"

namespace aios {
namespace {

// The rest of the first line of a /proc file that starts with `key`, after the colon; empty if
// there is none.
std::string ProcField(const char* path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return {};
}

std::string WidestSimd() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return "avx512";
  if (__builtin_cpu_supports("avx2")) return "avx2";
  return "sse2";
#elif defined(__aarch64__)
  return "neon";
#else
  return "scalar";
#endif
}

int64_t CacheBytes(int name) { return std::max<int64_t>(0, ::sysconf(name)); }

// The sum of n words. Eight sums at a time, so that the loads, not the additions, set the pace.
uint64_t SumWords(const uint64_t* words, int64_t n) {
  uint64_t sums[8] = {};
  for (int64_t i = 0; i + 8 <= n; i += 8) {
    for (int j = 0; j < 8; ++j) sums[j] += words[i + j];
  }
  uint64_t total = 0;
  for (const uint64_t sum : sums) total += sum;
  return total;
}

}  // namespace

MachineInfo ProbeMachine() {
  MachineInfo machine;
  machine.cpu = ProcField("/proc/cpuinfo", "model name");
  if (machine.cpu.empty()) machine.cpu = "unknown CPU";
  cpu_set_t allowed;
  machine.n_cores = ::sched_getaffinity(0, sizeof(allowed), &allowed) == 0
                        ? CPU_COUNT(&allowed)
                        : static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  machine.simd = WidestSimd();
  machine.memory_bytes = static_cast<int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
  machine.l1d_bytes = CacheBytes(_SC_LEVEL1_DCACHE_SIZE);
  machine.l2_bytes = CacheBytes(_SC_LEVEL2_CACHE_SIZE);
  machine.l3_bytes = CacheBytes(_SC_LEVEL3_CACHE_SIZE);
  return machine;
}

double MeasureReadBandwidth(int n_threads) {
  using Clock = std::chrono::steady_clock;
  constexpr int kPasses = 5;
  constexpr auto kMaxTime = std::chrono::seconds(1);  // on a busy machine
  // Four times the cache, but no more than 1 GiB: some virtual machines report the host's cache.
  const int64_t l3_bytes = CacheBytes(_SC_LEVEL3_CACHE_SIZE);
  const int64_t wanted = std::clamp<int64_t>(4 * l3_bytes, int64_t{256} << 20, int64_t{1} << 30);
  const int64_t available = std::min(wanted, AvailableMemory() / 4);
  // It is read in stretches of a millisecond or so: on a busy machine too, all threads have a core
  // to themselves during some of them.
  const int64_t stretch = std::max(int64_t{32} << 20, n_threads * (int64_t{8} << 20));
  const int64_t n_stretches = std::max<int64_t>(1, available / stretch);
  const int64_t words = std::min(stretch, available) / n_threads / sizeof(uint64_t);  // of a thread
  const HostBuffer buffer(n_stretches * n_threads * words * sizeof(uint64_t));

  // A pool whose threads spin between stretches: one that slept would begin its own late.
  ThreadPool pool(n_threads);
  const auto part_of = [&](int64_t thread) {
    return buffer.As<uint64_t>() + thread * n_stretches * words;
  };
  // Untouched pages are all the same page of zeros: each thread first writes its own.
  pool.ParallelFor(n_threads, [&](int64_t begin, int64_t, int) {
    std::memset(part_of(begin), 1, n_stretches * words * sizeof(uint64_t));
  });

  std::atomic<uint64_t> sink = 0;  // keeps the compiler from dropping the loads
  double best_seconds = std::numeric_limits<double>::infinity();
  const auto first = Clock::now();
  for (int64_t i = 0; i < kPasses * n_stretches && Clock::now() - first < kMaxTime; ++i) {
    const auto start = Clock::now();
    pool.ParallelFor(n_threads, [&](int64_t begin, int64_t, int) {
      sink += SumWords(part_of(begin) + i % n_stretches * words, words);
    });
    const std::chrono::duration<double> seconds = Clock::now() - start;
    best_seconds = std::min(best_seconds, seconds.count());
  }
  return static_cast<double>(n_threads * words * sizeof(uint64_t)) / best_seconds;
}

}  // namespace aios
