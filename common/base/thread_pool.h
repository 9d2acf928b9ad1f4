// A pool of threads for work that is cut into tasks many thousands of times a second.
//
// A small model's decode step has some 200 products of 30 us each, so that waking a sleeping thread
// (5 to 50 us) for each would cost more than the work. Hence the workers spin for a little while
// after each job, and only then sleep; nothing is allocated for a call.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace aios {

// Not thread-safe: one thread at a time may call ParallelFor, and a task may not (either aborts).
class ThreadPool {
 public:
  // The cores that this process may run on (its affinity mask).
  static int AvailableCores();

  // n_threads counts the caller of ParallelFor, which works too: n_threads - 1 are started. More of
  // them than cores only wait for one another. 0: AvailableCores().
  explicit ThreadPool(int n_threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int n_threads() const { return n_threads_; }

  // Thread t of n gets tasks [t * n_tasks / n, (t + 1) * n_tasks / n): always the same ones, so
  // that what it read last time is still in its core's cache. Calls fn(begin, end, thread), once
  // for each thread that has tasks; thread 0 is the caller. For tasks of like cost.
  //
  // Returns when all are done; what the tasks wrote is then visible. If tasks throw, all threads
  // still finish, and the exception of the lowest thread is thrown again.
  template <typename Fn>
  void ParallelFor(int64_t n_tasks, Fn&& fn) {
    Run(
        Share::kContiguous, n_tasks,
        [](void* context, int64_t begin, int64_t end, int thread) {
          (*static_cast<std::remove_reference_t<Fn>*>(context))(begin, end, thread);
        },
        ContextOf(fn));
  }

  // Each thread takes the next task when it has done one: fn(task, thread). For tasks of unlike
  // cost, each long beside the 50 ns that taking it costs. After an exception no more are begun.
  template <typename Fn>
  void ParallelForDynamic(int64_t n_tasks, Fn&& fn) {
    Run(
        Share::kOneByOne, n_tasks,
        [](void* context, int64_t task, int64_t, int thread) {
          (*static_cast<std::remove_reference_t<Fn>*>(context))(task, thread);
        },
        ContextOf(fn));
  }

 private:
  enum class Share { kContiguous, kOneByOne };
  using Call = void (*)(void* context, int64_t begin, int64_t end, int thread);
  struct Job {
    Share share = Share::kContiguous;
    int64_t n_tasks = 0;
    Call call = nullptr;
    void* context = nullptr;
  };

  // A pointer to the caller's function object, which outlives the call: no copy, no std::function.
  template <typename Fn>
  static void* ContextOf(Fn& fn) {
    return const_cast<void*>(static_cast<const void*>(std::addressof(fn)));
  }

  void Run(Share share, int64_t n_tasks, Call call, void* context);
  void DoShare(int thread);  // of job_
  void Work(int thread);     // a worker's life

  const int n_threads_;
  Job job_;                                   // written by the caller while no worker looks
  std::vector<std::exception_ptr> failures_;  // [n_threads], each written by its thread
  std::atomic<bool> busy_ = false;            // within a ParallelFor
  bool stop_ = false;                         // written before the last step of started_

  // Each on a cache line of its own: a write to one must not disturb who spins on another.
  alignas(64) std::atomic<uint32_t> started_ = 0;   // jobs so far; a step of it starts the next
  alignas(64) std::atomic<uint32_t> working_ = 0;   // workers that have not finished the job
  alignas(64) std::atomic<int64_t> next_task_ = 0;  // of a job that is shared one by one

  std::vector<std::thread> workers_;  // last: they use the rest
};

}  // namespace aios
