#include "common/base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <chrono>

#include "common/base/check.h"

namespace aios {
namespace {

// How long a thread spins before it sleeps: longer than what lies between two jobs of a step, short
// enough that an idle program uses no core.
constexpr auto kSpinTime = std::chrono::microseconds(50);
constexpr int kPausesPerLookAtClock = 16;

// Tells the core that this is a spin loop: it uses less power, and leaves more to its other thread.
void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until `value` is no longer `old`; everything written before that change is then visible.
void AwaitChange(const std::atomic<uint32_t>& value, uint32_t old) {
  const auto give_up = std::chrono::steady_clock::now() + kSpinTime;
  do {
    for (int i = 0; i < kPausesPerLookAtClock; ++i) {
      if (value.load(std::memory_order_acquire) != old) return;
      Pause();
    }
  } while (std::chrono::steady_clock::now() < give_up);
  value.wait(old, std::memory_order_acquire);  // a futex
}

}  // namespace

int ThreadPool::AvailableCores() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (sched_getaffinity(0, sizeof(cores), &cores) == 0) return std::max(1, CPU_COUNT(&cores));
  // A machine of more than 1,024 cores, which do not fit into cpu_set_t.
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

ThreadPool::ThreadPool(int n_threads)
    : n_threads_(n_threads == 0 ? AvailableCores() : n_threads),
      failures_(static_cast<size_t>(std::max(0, n_threads_))) {
  AIOS_CHECK(n_threads_ >= 1, "n_threads {}", n_threads);
  workers_.reserve(static_cast<size_t>(n_threads_ - 1));
  for (int thread = 1; thread < n_threads_; ++thread) {
    workers_.emplace_back([this, thread] { Work(thread); });
  }
}

ThreadPool::~ThreadPool() {
  stop_ = true;
  started_.fetch_add(1, std::memory_order_release);
  started_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::Run(Share share, int64_t n_tasks, Call call, void* context) {
  AIOS_CHECK(!busy_.exchange(true, std::memory_order_acquire),
             "ParallelFor within a task, or of two threads at once");
  job_ = {.share = share, .n_tasks = n_tasks, .call = call, .context = context};
  next_task_.store(0, std::memory_order_relaxed);

  // One task is the caller's, and wakes nobody.
  const bool alone = n_threads_ == 1 || n_tasks <= 1;
  if (alone) {
    if (n_tasks == 1) job_.share = Share::kOneByOne;  // its contiguous share may be another's
    DoShare(0);
  } else {
    working_.store(static_cast<uint32_t>(n_threads_ - 1), std::memory_order_relaxed);
    started_.fetch_add(1, std::memory_order_release);
    started_.notify_all();
    DoShare(0);
    for (uint32_t working; (working = working_.load(std::memory_order_acquire)) != 0;) {
      AwaitChange(working_, working);
    }
  }

  std::exception_ptr first;
  for (std::exception_ptr& failure : failures_) {
    if (failure && !first) first = failure;
    failure = nullptr;
  }
  busy_.store(false, std::memory_order_release);
  if (first) std::rethrow_exception(first);
}

void ThreadPool::DoShare(int thread) {
  const Job& job = job_;
  try {
    if (job.share == Share::kContiguous) {
      const int64_t begin = thread * job.n_tasks / n_threads_;
      const int64_t end = (thread + 1) * job.n_tasks / n_threads_;
      if (begin < end) job.call(job.context, begin, end, thread);
    } else {
      while (true) {
        const int64_t task = next_task_.fetch_add(1, std::memory_order_relaxed);
        if (task >= job.n_tasks) break;
        job.call(job.context, task, task + 1, thread);
      }
    }
  } catch (...) {
    failures_[static_cast<size_t>(thread)] = std::current_exception();
    next_task_.store(job.n_tasks, std::memory_order_relaxed);  // the others begin no more
  }
}

void ThreadPool::Work(int thread) {
  // The caller starts no job before this one's end: none is missed.
  for (uint32_t seen = 0;; ++seen) {
    AwaitChange(started_, seen);
    if (stop_) return;
    DoShare(thread);
    if (working_.fetch_sub(1, std::memory_order_acq_rel) == 1) working_.notify_one();
  }
}

}  // namespace aios
