// What people and clocks do to a scheduler: cancel in each state, set deadlines, jump, ask for what
// cannot be, ask for too much. And how long a plan takes.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/sched/scheduler.h"
#include "tests/common/sched/sched_testing.h"

namespace aios {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// ---- Other ends --------------------------------------------------------------------------------

TEST(Scheduler, CancelsInEveryState) {
  TestScheduler s({.prefill_chunk = 6, .preemption = Preemption::kSwap},
                  {.n_pages = 5, .page_size = 4, .n_swap_pages = 2});
  s.Submit(1, 8, 5);
  const auto cancel = [&] {
    EXPECT_TRUE(s->Abort(1, 0));
    EXPECT_EQ(s.Log().substr(0, 11), "submitted 1");
    EXPECT_FALSE(s->Abort(1, 0));
    EXPECT_FALSE(s->Finish(1, 0));
    EXPECT_EQ(s->Find(1), nullptr);
    EXPECT_EQ(s->n_sequences(), 0);
    EXPECT_EQ(s->n_waiting(), 0);
    EXPECT_EQ(s->n_admitted(), 0);
    EXPECT_EQ(s.memory().n_free(), 5);
    EXPECT_EQ(s.memory().n_swap_free(), 2);
    EXPECT_EQ(s.Plan(), "");
    s.Submit(1, 8, 5);  // the id may be used again
  };
  EXPECT_EQ(s.StateOf(1), "waiting");
  cancel();
  s.Plan();
  EXPECT_EQ(s.StateOf(1), "prefilling");
  cancel();
  s.Plan(), s.Plan();
  EXPECT_EQ(s.StateOf(1), "running");
  cancel();
  for (int i = 0; i < 6; ++i) s.Plan();
  EXPECT_TRUE(s->Find(1)->has_all());
  cancel();
}

TEST(Scheduler, CancelsWhoIsPreempted) {
  for (const int64_t n_swap_pages : {0, 2}) {
    TestScheduler s({.preemption = Preemption::kSwap},
                    {.n_pages = 5, .page_size = 4, .n_swap_pages = n_swap_pages});
    s.Submit(1, 8, 5);
    s.Submit(2, 7, 9);
    for (int i = 0; i < 3; ++i) s.Plan();
    EXPECT_EQ(s.StateOf(2), "preempted");
    EXPECT_TRUE(s->Abort(2, 0));
    EXPECT_FALSE(s->Abort(2, 0));
    EXPECT_EQ(s->n_waiting(), 0);
    EXPECT_EQ(s.memory().n_swap_free(), n_swap_pages);
    EXPECT_EQ(s.Plan(), "1:10+1*");
    EXPECT_TRUE(s->Finish(1, 0));
    EXPECT_EQ(s.memory().n_free(), 5);
  }
}

TEST(Scheduler, KnowsNothingOfIdsThatNeverWere) {
  TestScheduler s({}, kMuchMemory);
  EXPECT_FALSE(s->Abort(1, 0));
  EXPECT_FALSE(s->Finish(1, 0));
  EXPECT_EQ(s->Find(1), nullptr);
}

TEST(Scheduler, AbortsWhoIsPastTheDeadlineInEveryState) {
  TestScheduler s({.max_seqs = 2, .prefill_chunk = 6}, kMuchMemory);
  const auto submit = [&](SequenceId id, int64_t n_prompt, double deadline) {
    s->Submit({.id = id, .n_prompt = n_prompt, .max_new_tokens = 9, .deadline = deadline}, 0);
  };
  submit(1, 4, 2);
  submit(2, 9, 2);
  submit(3, 1, 2);
  submit(4, 1, 5);
  submit(5, 1, -kInfinity);
  EXPECT_EQ(s->Plan(2).overdue, (std::vector<SequenceId>{5}));  // at 2, one is not past it
  EXPECT_EQ(s.StateOf(1), "running");
  EXPECT_EQ(s.StateOf(2), "prefilling");
  EXPECT_EQ(s.StateOf(3), "waiting");
  s.Log();
  const StepPlan plan = s->Plan(2.5);
  EXPECT_EQ(plan.overdue, (std::vector<SequenceId>{1, 2, 3}));
  EXPECT_EQ(TextOf(plan), "4:0+1*");  // in the same plan
  EXPECT_EQ(s.Log(), "aborted 1, aborted 2, aborted 3, admitted 4");
  EXPECT_EQ(s->n_sequences(), 1);
  EXPECT_EQ(s.memory().n_free(), 999);
  // Who is done has no deadline any more.
  s->Finish(4, 3);
  EXPECT_EQ(s->Plan(9).overdue.size(), 0);
}

// A clock that goes back stands still; one that jumps ahead, jumps.
TEST(Scheduler, BearsAClockThatJumps) {
  TestScheduler s({.patience = 10}, kMuchMemory);
  s.Submit(1, 1, 9, 100);
  s->Submit({.id = 2, .n_prompt = 1, .max_new_tokens = 9, .deadline = 103}, 50);
  EXPECT_EQ(s->Find(2)->arrival, 100);
  EXPECT_EQ(s.Plan(-kInfinity), "1:0+1* 2:0+1*");
  EXPECT_EQ(s.Plan(std::numeric_limits<double>::quiet_NaN()), "1:1+1* 2:1+1*");
  EXPECT_EQ(s.Plan(102), "1:2+1* 2:2+1*");
  EXPECT_EQ(s.Plan(3), "1:3+1* 2:3+1*");
  EXPECT_EQ(s->Plan(1e18).overdue, (std::vector<SequenceId>{2}));
  s.Submit(3, 1, 1, 0);
  EXPECT_EQ(s->Find(3)->arrival, 1e18);
  EXPECT_EQ(s.Plan(0), "1:5+1* 3:0+1*");
}

// ---- What is refused ---------------------------------------------------------------------------

void ExpectRefused(TestScheduler& s, const SequenceRequest& request, Refused::Why why,
                   const std::string& sentence) {
  const int64_t n_before = s->n_sequences();
  try {
    s->Submit(request, 0);
    ADD_FAILURE() << "not refused";
  } catch (const Refused& refused) {
    EXPECT_EQ(refused.why(), why);
    EXPECT_EQ(refused.what(), sentence);
  }
  EXPECT_EQ(s->n_sequences(), n_before);
}

TEST(Scheduler, RefusesAnIdThatIsNotDone) {
  TestScheduler s({}, kMuchMemory);
  s.Submit(7, 4, 4);
  ExpectRefused(s, {.id = 7, .n_prompt = 1, .max_new_tokens = 1}, Refused::Why::kDuplicate,
                "request 7: another one of this id is not done yet; take another id");
  EXPECT_EQ(s.Plan(), "7:0+4*");
  ExpectRefused(s, {.id = 7, .n_prompt = 1, .max_new_tokens = 1}, Refused::Why::kDuplicate,
                "request 7: another one of this id is not done yet; take another id");
  s->Finish(7, 0);
  s.Submit(7, 1, 1);
}

TEST(Scheduler, RefusesWhatWouldNeverFit) {
  TestScheduler s({}, {.n_pages = 5, .page_size = 4});
  s.Submit(1, 12, 8);  // just fits
  ExpectRefused(s, {.id = 2, .n_prompt = 12, .max_new_tokens = 9}, Refused::Why::kTooLong,
                "request 2: a prompt of 12 tokens and an answer of 9 do not fit into the cache's 5 "
                "pages of 4 tokens, even alone; ask for less");
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  for (const auto& [n_prompt, n_new] :
       {std::pair(kMost, kMost), {int64_t{1}, kMost}, {kMost, 1L}}) {
    EXPECT_THROW(s.Submit(3, n_prompt, n_new), Refused);
  }
  EXPECT_EQ(s.Plan(), "1:0+12*");
}

// Its answer included: were it preempted at the end, all of it would be computed in one step.
TEST(Scheduler, RefusesAPromptThatCannotBeCutAndIsLongerThanAStep) {
  TestScheduler s({.max_seqs = 4, .max_step_tokens = 10, .chunked_prefill = false}, kMuchMemory);
  s.Submit(1, 6, 4);
  ExpectRefused(s, {.id = 2, .n_prompt = 6, .max_new_tokens = 5}, Refused::Why::kTooLong,
                "request 2: a prompt of 6 tokens and an answer of 5 do not fit into a step of 10 "
                "tokens, and prompts are not cut; ask for less, or have prompts cut");
}

TEST(Scheduler, TakesAsManyAsMayWaitAndRefusesTheRest) {
  TestScheduler s({.max_seqs = 2, .max_waiting = 1000}, kMuchMemory);
  int64_t n_refused = 0;
  for (SequenceId id = 0; id < 100'000; ++id) {
    try {
      s.Submit(id, 1, 2);
    } catch (const Refused& refused) {
      EXPECT_EQ(refused.why(), Refused::Why::kBusy);
      ++n_refused;
    }
  }
  EXPECT_EQ(n_refused, 99'000);
  EXPECT_EQ(s->n_sequences(), 1000);
  EXPECT_EQ(s->n_waiting(), 1000);
  ExpectRefused(s, {.id = 100'000, .n_prompt = 1, .max_new_tokens = 1}, Refused::Why::kBusy,
                "request 100000: 1000 requests wait, and no more than 1000 may; try again later");
  // Others are unaffected, and when two are admitted two more may wait.
  EXPECT_EQ(s.Plan(), "0:0+1* 1:0+1*");
  s.Submit(100'000, 1, 1);
  s.Submit(100'001, 1, 1);
  EXPECT_THROW(s.Submit(100'002, 1, 1), Refused);
}

TEST(Scheduler, RefusesOptionsOutOfRange) {
  CountedMemory memory(kMuchMemory);
  const auto error_of = [&](const SchedulerOptions& options) -> std::string {
    try {
      const Scheduler scheduler(options, memory);
      return "";
    } catch (const InputError& e) {
      return e.what();
    }
  };
  EXPECT_EQ(error_of({}), "");
  EXPECT_EQ(error_of({.patience = kInfinity}), "");
  EXPECT_EQ(error_of({.max_seqs = 0}), "scheduler: max_seqs is 0, less than 1");
  EXPECT_EQ(error_of({.prefill_chunk = 0}), "scheduler: prefill_chunk is 0, less than 1");
  EXPECT_EQ(error_of({.max_waiting = -1}), "scheduler: max_waiting is -1, less than 1");
  EXPECT_EQ(error_of({.max_seqs = 9, .max_step_tokens = 8}),
            "scheduler: max_step_tokens is 8, less than max_seqs, 9: a step has a row for each "
            "sequence");
  EXPECT_EQ(error_of({.patience = -1}), "scheduler: patience is -1; it must be 0 seconds or more");
  EXPECT_NE(error_of({.patience = std::numeric_limits<double>::quiet_NaN()}), "");
}

TEST(Scheduler, NamesAndParsesPreemption) {
  EXPECT_EQ(ParsePreemption("swap"), Preemption::kSwap);
  EXPECT_EQ(ParsePreemption("recompute"), Preemption::kRecompute);
  EXPECT_THROW(ParsePreemption("Swap"), InputError);
}

TEST(SchedulerDeathTest, AbortsForRequestsWithoutTokens) {
  TestScheduler s({}, kMuchMemory);
  EXPECT_DEATH(s.Submit(1, 0, 1), "a prompt of 0 tokens");
  EXPECT_DEATH(s.Submit(1, 1, 0), "an answer of 0");
}

// ---- Speed -------------------------------------------------------------------------------------

// 256 that run and 50,000 that wait: about 10 microseconds; to look at all that wait would take a
// millisecond at least. Room for sanitizers and busy machines.
TEST(Scheduler, PlansInMicrosecondsHoweverManyWait) {
  for (const Policy policy : {Policy::kFirstCome, Policy::kPriority, Policy::kFairShare}) {
    CountedMemory memory({.n_pages = 100'000, .page_size = 4});
    Scheduler scheduler({.policy = policy, .max_waiting = 100'000}, memory);
    for (SequenceId id = 0; id < 50'256; ++id) {
      scheduler.Submit({.id = id, .n_prompt = 1, .max_new_tokens = 1000, .deadline = 1e9}, 0);
    }
    for (int i = 0; i < 10; ++i) scheduler.Plan(0);
    ASSERT_EQ(scheduler.n_admitted(), 256);
    std::vector<double> seconds(200);
    for (double& s : seconds) {
      const auto start = std::chrono::steady_clock::now();
      ASSERT_EQ(scheduler.Plan(0).n_tokens, 256);
      s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
    std::ranges::sort(seconds);
    std::printf("%s: %.1f us\n", std::string(Name(policy)).c_str(), 1e6 * seconds[100]);
    EXPECT_LT(seconds[100], 1e-3) << Name(policy);
  }
}

}  // namespace
}  // namespace aios
