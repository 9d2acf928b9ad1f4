// Simulations whose times can be worked out by hand, and counted memory.
#include "common/sched/simulation.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/common/sched/sched_testing.h"

namespace aios {
namespace {

// A step takes 1 s to read the weights, 0.01 s for each key that it reads; or 0.25 s for each row;
// and half a second besides.
constexpr StepCost kCost = {.bytes_per_s = 1000,
                            .flops_per_s = 4000,
                            .weight_bytes = 1000,
                            .kv_bytes_per_token = 10,
                            .flops_per_token = 1000,
                            .overhead = 0.5};
constexpr SimulatedMemory kMemory = {.n_pages = 100, .page_size = 4};

TEST(StepCost, IsTheLongerOfReadingAndComputing) {
  EXPECT_DOUBLE_EQ(kCost.SecondsOf(1, 0), 1.5);
  EXPECT_DOUBLE_EQ(kCost.SecondsOf(1, 50), 2);    // 1.5 s of reading
  EXPECT_DOUBLE_EQ(kCost.SecondsOf(8, 50), 2.5);  // 2 s of computing
}

TEST(Simulate, OneRequest) {
  std::vector<int64_t> free;
  std::string events;
  const SimulationResult result = Simulate(
      {{.arrival = 2, .n_prompt = 10, .n_output = 3}}, {}, kMemory, kCost,
      [&](const Scheduler&, const StepPlan&, int64_t n_free) { free.push_back(n_free); },
      [&](const SchedulerEvent& e) { events += fmt::format("{} {} ", Name(e.kind), e.time); });
  // From 2: 10 rows, 2.5 s and the overhead. Then keys 11 and 12: 1.11 s and 1.12 s.
  const SimulatedResult& r = result.requests.at(0);
  EXPECT_FALSE(r.refused);
  EXPECT_DOUBLE_EQ(r.arrival, 2);
  EXPECT_DOUBLE_EQ(r.admitted, 2);
  EXPECT_DOUBLE_EQ(r.first_token, 5);
  EXPECT_DOUBLE_EQ(r.finished, 5 + 1.61 + 1.62);
  EXPECT_DOUBLE_EQ(r.longest_gap, 1.62);
  EXPECT_EQ(r.n_preemptions, 0);
  EXPECT_EQ(result.n_steps, 3);
  EXPECT_EQ(result.n_rows, 12);
  EXPECT_DOUBLE_EQ(result.seconds, r.finished);
  ASSERT_EQ(result.token_gaps.size(), 2);
  EXPECT_DOUBLE_EQ(result.token_gaps[0], 1.61);
  EXPECT_EQ(free, (std::vector<int64_t>{100, 97, 97, 97, 100}));
  EXPECT_EQ(events, "submitted 2 admitted 2 computed 2 computed 5 computed 6.61 finished 8.23 ");
}

// Two together share the reading of the weights; the second comes while the first is computed.
TEST(Simulate, TwoRequestsTogether) {
  const SimulationResult result = Simulate({{.arrival = 0, .n_prompt = 2, .n_output = 2},
                                            {.arrival = 1, .n_prompt = 3, .n_output = 1},
                                            {.arrival = 1, .n_prompt = 300, .n_output = 200}},
                                           {}, kMemory, kCost);
  // 0 to 1.52: the first prompt, keys 1 to 2. Then keys 3 and 3: 1.06 s.
  EXPECT_DOUBLE_EQ(result.requests[0].first_token, 1.52);
  EXPECT_DOUBLE_EQ(result.requests[1].admitted, 1.52);
  EXPECT_DOUBLE_EQ(result.requests[1].first_token, 1.52 + 1.56);
  EXPECT_DOUBLE_EQ(result.requests[0].finished, 1.52 + 1.56);
  EXPECT_TRUE(result.requests[2].refused);  // 500 tokens, of 400
  EXPECT_EQ(result.n_steps, 2);
  EXPECT_EQ(result.n_rows, 6);
}

// Every answer is there whatever the machine and the policy, and a faster machine is done sooner.
TEST(Simulate, IsFasterWithMoreBandwidthAndAlwaysComputesAll) {
  const Workload workload = DrawWorkload({.n_requests = 300,
                                          .requests_per_second = 20,
                                          .min_prompt = 10,
                                          .max_prompt = 100,
                                          .min_output = 5,
                                          .max_output = 50,
                                          .n_users = 3,
                                          .n_priorities = 3},
                                         1);
  int64_t n_prompt = 0;
  int64_t n_output = 0;
  for (const WorkloadRequest& r : workload) {
    n_prompt += r.n_prompt;
    n_output += r.n_output;
  }
  for (const Policy policy :
       {Policy::kFirstCome, Policy::kPriority, Policy::kShortestRemaining, Policy::kFairShare}) {
    SCOPED_TRACE(Name(policy));
    double before = 1e9;
    for (const double bytes_per_s : {1e3, 1e4, 1e5}) {
      StepCost cost = kCost;
      cost.bytes_per_s = bytes_per_s;
      cost.flops_per_s = 1e7;
      cost.overhead = 0.001;
      int64_t most_seqs = 0;
      const SimulationResult result =
          Simulate(workload, {.policy = policy, .max_seqs = 16}, {.n_pages = 1000, .page_size = 16},
                   cost, [&](const Scheduler& s, const StepPlan&, int64_t) {
                     most_seqs = std::max(most_seqs, s.n_admitted());
                   });
      EXPECT_LT(result.seconds, before);
      before = result.seconds;
      EXPECT_LE(most_seqs, 16);
      // The last token of each answer is not computed.
      EXPECT_GE(result.n_rows, n_prompt + n_output - 300);
      if (policy != Policy::kPriority) {  // which computes anew what it took from others
        EXPECT_EQ(result.n_rows, n_prompt + n_output - 300);
      }
      EXPECT_EQ(result.token_gaps.size(), n_output - 300);
      for (const SimulatedResult& r : result.requests) {
        EXPECT_FALSE(r.refused);
        EXPECT_LE(r.arrival, r.admitted);
        EXPECT_LT(r.admitted, r.first_token);
        EXPECT_LT(r.first_token, r.finished);
      }
    }
  }
}

// Four requests, of which three begin with the same 64 tokens, in pages of 16.
TEST(Simulate, SharedPrefixesAreComputedOnce) {
  Workload workload(4, {.n_prompt = 80, .n_output = 4, .prefix_group = 1, .n_shared = 64});
  workload[1] = {.arrival = 1.5, .n_prompt = 80, .n_output = 4};
  workload[2].arrival = workload[3].arrival = 1.5;
  const SimulationResult result = Simulate(workload, {}, {.n_pages = 100, .page_size = 16}, kCost);
  EXPECT_EQ(result.n_rows, 4 * 83 - 2 * 64);
}

TEST(Percentile, IsTheNearestRank) {
  const std::vector<double> values = {30, 10, 50, 20, 40};
  EXPECT_EQ(Percentile(values, 0), 10);
  EXPECT_EQ(Percentile(values, 20), 10);
  EXPECT_EQ(Percentile(values, 21), 20);
  EXPECT_EQ(Percentile(values, 50), 30);
  EXPECT_EQ(Percentile(values, 99), 50);
  EXPECT_EQ(Percentile(values, 100), 50);
  EXPECT_EQ(Percentile({7}, 50), 7);
  EXPECT_EQ(Percentile({}, 50), 0);
}

// ---- Counted memory ----------------------------------------------------------------------------

Sequence MakeSequence(SequenceId id, int64_t n_prompt) {
  return {.request = {.id = id, .n_prompt = n_prompt, .max_new_tokens = 10}};
}

TEST(CountedMemory, CountsPagesAndSwaps) {
  CountedMemory memory({.n_pages = 5, .page_size = 4, .n_swap_pages = 2});
  Sequence a = MakeSequence(1, 9);
  EXPECT_EQ(memory.Open(a), 0);
  EXPECT_TRUE(memory.Reserve(a, 9));
  EXPECT_EQ(memory.n_free(), 2);
  EXPECT_TRUE(memory.Reserve(a, 12));
  EXPECT_TRUE(memory.Reserve(a, 3));
  EXPECT_EQ(memory.n_free(), 2);
  EXPECT_FALSE(memory.Reserve(a, 21));
  EXPECT_EQ(memory.n_free(), 2);
  a.n_computed = 9;
  EXPECT_FALSE(memory.SwapOut(a));  // 3 pages
  EXPECT_EQ(memory.n_free(), 2);
  a.n_computed = 8;
  EXPECT_TRUE(memory.SwapOut(a));
  EXPECT_EQ(memory.n_free(), 5);
  EXPECT_EQ(memory.n_swap_free(), 0);
  const Sequence b = MakeSequence(2, 16);
  memory.Open(b);
  EXPECT_TRUE(memory.Reserve(b, 16));
  EXPECT_FALSE(memory.SwapIn(a));
  EXPECT_EQ(memory.n_free(), 1);
  memory.Close(b);
  EXPECT_TRUE(memory.SwapIn(a));
  EXPECT_EQ(memory.n_free(), 3);
  EXPECT_EQ(memory.n_swap_free(), 2);
  EXPECT_TRUE(memory.SwapOut(a));
  memory.Close(a);
  EXPECT_EQ(memory.n_free(), 5);
  EXPECT_EQ(memory.n_swap_free(), 2);
}

TEST(CountedMemory, SharesWholePagesOfAGroup) {
  // 10 tokens alike: 2 whole pages of 4.
  const Workload workload(4, {.n_prompt = 12, .n_output = 1, .prefix_group = 3, .n_shared = 10});
  CountedMemory memory({.n_pages = 20, .page_size = 4}, workload);
  std::vector<Sequence> s;
  for (SequenceId id = 0; id < 4; ++id) s.push_back(MakeSequence(id, 12));
  EXPECT_EQ(memory.Open(s[0]), 0);
  EXPECT_TRUE(memory.Reserve(s[0], 12));
  s[0].n_computed = 7;
  EXPECT_EQ(memory.Open(s[1]), 4);  // only what is computed, in whole pages
  EXPECT_TRUE(memory.Reserve(s[1], 12));
  EXPECT_EQ(memory.n_free(), 20 - 4);
  s[0].n_computed = 12;
  EXPECT_EQ(memory.Open(s[2]), 8);
  EXPECT_TRUE(memory.Reserve(s[2], 12));
  EXPECT_EQ(memory.n_free(), 20 - 5);
  memory.Close(s[0]);
  EXPECT_EQ(memory.n_free(), 20 - 4);
  memory.Close(s[1]);
  memory.Close(s[2]);
  EXPECT_EQ(memory.n_free(), 20);
  EXPECT_EQ(memory.Open(s[3]), 0);  // forgotten
  memory.Close(s[3]);
}

// The last token is computed in any case: its logits are wanted.
TEST(CountedMemory, NeverKnowsTheLastToken) {
  const Workload workload(2, {.n_prompt = 8, .n_output = 1, .prefix_group = 3, .n_shared = 8});
  CountedMemory memory({.n_pages = 20, .page_size = 4}, workload);
  Sequence a = MakeSequence(0, 8);
  memory.Open(a);
  ASSERT_TRUE(memory.Reserve(a, 8));
  a.n_computed = 8;
  EXPECT_EQ(memory.Open(MakeSequence(1, 8)), 4);
}

TEST(CountedMemoryDeathTest, AbortsWhenMisused) {
  CountedMemory memory({.n_pages = 5, .page_size = 4});
  const Sequence a = MakeSequence(1, 4);
  EXPECT_DEATH(memory.Close(a), "has no pages");
  EXPECT_DEATH(memory.Reserve(a, 1), "has no pages");
  memory.Open(a);
  EXPECT_DEATH(memory.Open(a), "has pages already");
  EXPECT_DEATH(memory.SwapIn(a), "not swapped out");
  memory.Close(a);
  EXPECT_DEATH(memory.Close(a), "has no pages");
}

}  // namespace
}  // namespace aios
