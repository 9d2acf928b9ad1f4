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
#include <vector>

#include "common/base/memory.h"
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
  constexpr int kPasses = 5;
  // Four times the cache, but no more than 1 GiB: some virtual machines report the host's cache.
  const int64_t l3_bytes = CacheBytes(_SC_LEVEL3_CACHE_SIZE);
  const int64_t wanted = std::clamp<int64_t>(4 * l3_bytes, int64_t{256} << 20, int64_t{1} << 30);
  const int64_t words_per_thread =
      std::min(wanted, AvailableMemory() / 4) / n_threads / static_cast<int64_t>(sizeof(uint64_t));
  const HostBuffer buffer(words_per_thread * n_threads * sizeof(uint64_t));

  std::atomic<uint64_t> sink = 0;  // keeps the compiler from dropping the loads
  const auto for_each_thread = [&](auto&& work) {
    std::vector<std::thread> threads;
    threads.reserve(n_threads);
    for (int t = 0; t < n_threads; ++t) {
      threads.emplace_back(
          [&work, part = buffer.As<uint64_t>() + t * words_per_thread] { work(part); });
    }
    for (std::thread& thread : threads) thread.join();
  };
  // Untouched pages are all the same page of zeros: each thread first writes its own.
  for_each_thread(
      [&](uint64_t* part) { std::memset(part, 1, words_per_thread * sizeof(uint64_t)); });

  double best_seconds = std::numeric_limits<double>::infinity();
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    for_each_thread([&](const uint64_t* part) { sink += SumWords(part, words_per_thread); });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best_seconds = std::min(best_seconds, seconds.count());
  }
  return static_cast<double>(buffer.n_bytes()) / best_seconds;
}

}  // namespace aios
