// What can be known of a machine that is not known: that the figures are plausible, and that they
// follow what the test does.
#include "common/profile/probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <thread>

namespace aios {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::Gt;
using testing::Le;

TEST(ProbeMachine, TellsWhatIsThere) {
  const MachineInfo machine = ProbeMachine();
  EXPECT_NE(machine.cpu, "");
  EXPECT_GE(machine.n_cores, 1);
  EXPECT_THAT(machine.simd, AnyOf("avx512", "avx2", "sse2", "neon", "scalar"));
  EXPECT_GT(machine.memory_bytes, int64_t{64} << 20);
}

TEST(ProbeMachine, CountsTheCoresThatThisProcessMayUse) {
  // In a thread, so that the others keep their cores.
  std::thread([] {
    cpu_set_t allowed;
    ASSERT_EQ(::sched_getaffinity(0, sizeof(allowed), &allowed), 0);
    int first = 0;
    while (!CPU_ISSET(first, &allowed)) ++first;
    CPU_ZERO(&allowed);
    CPU_SET(first, &allowed);
    ASSERT_EQ(::sched_setaffinity(0, sizeof(allowed), &allowed), 0);
    EXPECT_EQ(ProbeMachine().n_cores, 1);
  }).join();
}

// From a slow disk's speed to what no memory reaches: wrong units and dropped loads lie outside.
TEST(MeasureReadBandwidth, IsPlausibleWithAnyNumberOfThreads) {
  for (const int n_threads : {1, 3}) {
    EXPECT_THAT(MeasureReadBandwidth(n_threads), AllOf(Gt(2e8), Le(2e13))) << n_threads;
  }
}

}  // namespace
}  // namespace aios
