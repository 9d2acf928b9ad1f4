#include "common/base/thread_pool.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <chrono>
#include <ctime>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace aios {
namespace {

// More threads than this machine may have cores: what they do must not depend on it.
constexpr int kThreadCounts[] = {1, 2, 3, 8};

TEST(ThreadPoolTest, EveryTaskOnceInTheShareOfItsThread) {
  for (const int n_threads : kThreadCounts) {
    ThreadPool pool(n_threads);
    ASSERT_EQ(pool.n_threads(), n_threads);
    for (const int64_t n_tasks : {0, 1, 2, 3, 7, 8, 9, 100, 1001}) {
      std::vector<int> runs(n_tasks, 0);  // not atomic: the thread sanitizer sees overlaps
      std::vector<int> calls(n_threads, 0);
      pool.ParallelFor(n_tasks, [&](int64_t begin, int64_t end, int thread) {
        ++calls.at(thread);
        ASSERT_LT(begin, end);
        if (n_tasks > 1) {
          ASSERT_EQ(begin, thread * n_tasks / n_threads);
          ASSERT_EQ(end, (thread + 1) * n_tasks / n_threads);
        }
        for (int64_t i = begin; i < end; ++i) ++runs.at(i);
      });
      ASSERT_EQ(runs, std::vector<int>(n_tasks, 1)) << n_threads << " threads";
      for (const int n : calls) ASSERT_LE(n, 1);
    }
  }
}

TEST(ThreadPoolTest, DynamicEveryTaskOnce) {
  for (const int n_threads : kThreadCounts) {
    ThreadPool pool(n_threads);
    for (const int64_t n_tasks : {0, 1, 2, 7, 1001}) {
      std::vector<int> runs(n_tasks, 0);
      std::vector<int64_t> of_thread(n_threads, 0);
      pool.ParallelForDynamic(n_tasks, [&](int64_t task, int thread) {
        ++runs.at(task);
        ++of_thread.at(thread);
      });
      ASSERT_EQ(runs, std::vector<int>(n_tasks, 1)) << n_threads << " threads";
      ASSERT_EQ(std::accumulate(of_thread.begin(), of_thread.end(), int64_t{0}), n_tasks);
    }
  }
}

TEST(ThreadPoolTest, ThreadsAreDistinctAndTheFirstIsTheCaller) {
  ThreadPool pool(4);
  std::vector<std::thread::id> ids(4);
  pool.ParallelFor(4,
                   [&](int64_t, int64_t, int thread) { ids[thread] = std::this_thread::get_id(); });
  EXPECT_EQ(ids[0], std::this_thread::get_id());
  EXPECT_EQ(std::set(ids.begin(), ids.end()).size(), 4U);
}

// One task that waits for the others' end: static shares of 2 threads would not come to an end.
TEST(ThreadPoolTest, DynamicTasksDoNotWaitForASlowOne) {
  ThreadPool pool(2);
  std::atomic<int> done = 0;
  pool.ParallelForDynamic(20, [&](int64_t task, int) {
    if (task == 0) {
      while (done < 19) std::this_thread::yield();
    } else {
      ++done;
    }
  });
  EXPECT_EQ(done, 19);
}

// What one job writes the next one reads on another thread, with no atomics in between.
TEST(ThreadPoolTest, JobsFollowOneAnother) {
  ThreadPool pool(3);
  std::vector<int64_t> numbers(300, 0), next(300);
  constexpr int kJobs = 1000;
  for (int job = 0; job < kJobs; ++job) {
    pool.ParallelFor(300, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) next[i] = numbers[299 - i] + 1;
    });
    numbers.swap(next);
  }
  EXPECT_EQ(numbers, std::vector<int64_t>(300, kJobs));
}

TEST(ThreadPoolTest, WakesAfterSleep) {
  ThreadPool pool(2);
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // far longer than it spins
    int64_t sums[2] = {};
    pool.ParallelFor(10,
                     [&](int64_t begin, int64_t end, int thread) { sums[thread] = end - begin; });
    ASSERT_EQ(sums[0] + sums[1], 10);
  }
}

TEST(ThreadPoolTest, IdleThreadsUseNoProcessorTime) {
  ThreadPool pool(4);
  pool.ParallelFor(4, [](int64_t, int64_t, int) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const std::clock_t before = std::clock();  // of all threads of this process
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_LT(static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC, 0.02);
}

TEST(ThreadPoolTest, ThrowsAgainWhatTheLowestThreadThrew) {
  ThreadPool pool(4);
  for (int round = 0; round < 50; ++round) {
    std::vector<int> runs(4, 0);
    try {
      pool.ParallelFor(4, [&](int64_t begin, int64_t, int thread) {
        ++runs[thread];
        if (begin >= 1) throw std::runtime_error("task " + std::to_string(begin));
      });
      FAIL() << "nothing was thrown";
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "task 1");
    }
    EXPECT_EQ(runs, std::vector<int>(4, 1));  // the pool is whole, and all had their share
  }
}

TEST(ThreadPoolTest, DynamicStopsAfterAnException) {
  ThreadPool pool(2);
  std::atomic<int> begun = 0;
  const auto task = [&](int64_t i, int) {
    ++begun;
    if (i == 3) throw std::out_of_range("three");
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  };
  EXPECT_THROW(pool.ParallelForDynamic(100000, task), std::out_of_range);
  EXPECT_LT(begun, 50000);
  int after = 0;
  pool.ParallelForDynamic(1, [&](int64_t, int) { ++after; });
  EXPECT_EQ(after, 1);
}

TEST(ThreadPoolTest, DefaultIsTheCoresOfTheAffinityMask) {
  cpu_set_t before, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  EXPECT_EQ(ThreadPool().n_threads(), CPU_COUNT(&before));
  CPU_ZERO(&one);
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &before)) {
      CPU_SET(core, &one);
      break;
    }
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(ThreadPool().n_threads(), 1);
  ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
}

TEST(ThreadPoolTest, ConstAndMutableFunctionObjects) {
  ThreadPool pool(2);
  std::atomic<int64_t> sum = 0;
  const auto add = [&](int64_t begin, int64_t end, int) { sum += end - begin; };
  pool.ParallelFor(10, add);
  pool.ParallelForDynamic(5, [&, calls = 0](int64_t, int) mutable { sum += ++calls > 0 ? 1 : 0; });
  EXPECT_EQ(sum, 15);
}

using ThreadPoolDeathTest = testing::Test;

TEST(ThreadPoolDeathTest, ATaskMayNotUseThePool) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        ThreadPool pool(2);
        pool.ParallelFor(
            2, [&](int64_t, int64_t, int) { pool.ParallelFor(2, [](int64_t, int64_t, int) {}); });
      },
      "within a task");
  EXPECT_DEATH(ThreadPool(-1), "n_threads");
}

}  // namespace
}  // namespace aios
