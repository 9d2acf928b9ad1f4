// The scheduler, one behavior at a time, with plans worked out by hand: lives of sequences, pages,
// batches. Beside it: scheduler_policy_test.cc, scheduler_input_test.cc, and
// scheduler_property_test.cc, which mixes them all. Pages have 4 tokens.
#include "common/sched/scheduler.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/common/sched/sched_testing.h"

namespace aios {
namespace {

// ---- A sequence's life -------------------------------------------------------------------------

TEST(Scheduler, WaitsPrefillsRunsAndFinishes) {
  TestScheduler s({.prefill_chunk = 4}, kMuchMemory);
  s.Submit(7, 6, 3);
  EXPECT_EQ(s.StateOf(7), "waiting");
  EXPECT_EQ(s.Plan(), "7:0+4");
  EXPECT_EQ(s.StateOf(7), "prefilling");
  EXPECT_EQ(s.Plan(), "7:4+2*");  // the first token of the answer
  EXPECT_EQ(s.StateOf(7), "running");
  EXPECT_EQ(s.Plan(), "7:6+1*");
  EXPECT_EQ(s.Plan(), "7:7+1*");  // the third, which is the last: nobody computes it
  EXPECT_TRUE(s->Find(7)->has_all());
  EXPECT_EQ(s.Plan(), "");
  EXPECT_EQ(s.memory().n_free(), 998);  // its pages are its own until it is finished
  EXPECT_TRUE(s->Finish(7, 0));
  EXPECT_EQ(s.StateOf(7), "gone");
  EXPECT_EQ(s.memory().n_free(), 1000);
  EXPECT_EQ(s.Log(), "submitted 7, admitted 7, finished 7");
  EXPECT_EQ(s.Plan(), "");
}

TEST(Scheduler, ComputesAPromptAndAnAnswerOfOneToken) {
  TestScheduler s({}, kMuchMemory);
  s.Submit(1, 1, 1);
  EXPECT_EQ(s.Plan(), "1:0+1*");
  EXPECT_EQ(s.Plan(), "");
  EXPECT_TRUE(s->Finish(1, 0));
}

// Chunks ride with the next tokens of those that run, which come first.
TEST(Scheduler, FillsAStepWithNextTokensThenChunksInTheOrderOfComing) {
  TestScheduler s({.max_seqs = 4, .max_step_tokens = 10, .prefill_chunk = 8}, kMuchMemory);
  s.Submit(1, 5, 3);
  s.Submit(2, 12, 2);
  s.Submit(3, 9, 1);
  EXPECT_EQ(s.Plan(), "1:0+5* 2:0+3");          // 8 rows of prompts; 3 is not admitted
  EXPECT_EQ(s.Plan(), "1:5+1* 2:3+8");          // and none of them a next token
  EXPECT_EQ(s.Plan(), "1:6+1* 2:11+1* 3:0+7");  // a row that samples before a chunk
  EXPECT_EQ(s.Plan(), "2:12+1* 3:7+2*");        // 1 has all
  EXPECT_EQ(s.Plan(), "");
  EXPECT_EQ(s->n_admitted(), 3);
}

// max_step_tokens leaves a prompt fewer rows than prefill_chunk as more sequences run.
TEST(Scheduler, NextTokensTakeRowsFromChunks) {
  TestScheduler s({.max_seqs = 3, .max_step_tokens = 4, .prefill_chunk = 100}, kMuchMemory);
  for (const SequenceId id : {1, 2, 3}) s.Submit(id, 2, 9);
  EXPECT_EQ(s.Plan(), "1:0+2* 2:0+2*");
  s.Submit(4, 1, 1);
  EXPECT_EQ(s.Plan(), "1:2+1* 2:2+1* 3:0+2*");
  EXPECT_EQ(s.Plan(), "1:3+1* 2:3+1* 3:2+1*");  // a row is left, but no place for 4
  s->Finish(2, 0);
  EXPECT_EQ(s.Plan(), "1:4+1* 3:3+1* 4:0+1*");
}

// ---- Pages -------------------------------------------------------------------------------------

// 1 grows and finds no page; 2 came later and must go. It is admitted again when 1 is through, with
// what it had sampled: not in the plan that preempted it, whose forerunner may still be running.
TEST(Scheduler, PreemptsWhoCameLastAndResumesItLater) {
  for (const int64_t n_swap_pages : {0, 1, 2}) {
    SCOPED_TRACE(n_swap_pages);
    TestScheduler s({.preemption = Preemption::kSwap},
                    {.n_pages = 5, .page_size = 4, .n_swap_pages = n_swap_pages});
    s.Submit(1, 8, 5);
    s.Submit(2, 7, 9);
    EXPECT_EQ(s.Plan(1), "1:0+8* 2:0+7*");
    EXPECT_EQ(s.Plan(2), "1:8+1* 2:7+1*");  // 1 has 3 pages, 2 has 2
    s.Log();
    EXPECT_EQ(s.Plan(3), "1:9+1*");
    EXPECT_EQ(s.StateOf(2), "preempted");
    EXPECT_EQ(s->Find(2)->waiting_since, 3);
    EXPECT_EQ(s->Find(2)->arrival, 0);
    EXPECT_EQ(s->n_waiting(), 1);
    const bool is_kept = n_swap_pages == 2;
    EXPECT_EQ(s.Log(), is_kept ? "swapped 2 (8)" : "preempted 2 (8)");
    EXPECT_EQ(s->Find(2)->is_swapped, is_kept);
    EXPECT_EQ(s->Find(2)->n_computed, is_kept ? 8 : 0);
    EXPECT_EQ(s.memory().n_free(), 2);
    EXPECT_EQ(s.Plan(4), "1:10+1*");  // 2 needs 3 pages now, and one is kept for 1
    EXPECT_EQ(s.Plan(4), "1:11+1*");
    EXPECT_EQ(s.Plan(4), "");
    s->Finish(1, 4);
    EXPECT_EQ(s.Plan(5), is_kept ? "2:8+1*" : "2:0+9*");
    EXPECT_EQ(s.Log(), is_kept ? "finished 1, resumed 2 (8)" : "finished 1, resumed 2");
    EXPECT_EQ(s.StateOf(2), "running");
    EXPECT_EQ(s.Plan(6), "2:9+1*");
    EXPECT_EQ(s->Find(2)->n_preemptions, 1);
    EXPECT_TRUE(s->Finish(2, 6));
    EXPECT_EQ(s.memory().n_free(), 5);
    EXPECT_EQ(s.memory().n_swap_free(), n_swap_pages);
  }
}

// It needs no step more: to take its pages costs nothing, though it came first.
TEST(Scheduler, TakesPagesFirstFromWhoHasAll) {
  TestScheduler s({.preemption = Preemption::kSwap},
                  {.n_pages = 5, .page_size = 4, .n_swap_pages = 4});
  s.Submit(1, 7, 2);
  s.Submit(2, 8, 9);
  EXPECT_EQ(s.Plan(), "1:0+7* 2:0+8*");
  EXPECT_EQ(s.Plan(), "1:7+1* 2:8+1*");  // all 5 pages
  EXPECT_TRUE(s->Find(1)->has_all());
  for (int64_t i = 9; i < 12; ++i) EXPECT_EQ(s.Plan(), fmt::format("2:{}+1*", i));
  s.Log();
  EXPECT_EQ(s.Plan(), "2:12+1*");
  EXPECT_EQ(s.Log(), "preempted 1");
  EXPECT_EQ(s.StateOf(1), "preempted");
  EXPECT_EQ(s->n_waiting(), 0);  // only for the owner
  EXPECT_EQ(s->n_admitted(), 1);
  EXPECT_EQ(s.Plan(), "2:13+1*");
  EXPECT_TRUE(s->Finish(1, 0));
  EXPECT_FALSE(s->Finish(1, 0));
  EXPECT_TRUE(s->Abort(2, 0));
  EXPECT_EQ(s.memory().n_free(), 5);
}

// A page for one that runs stays free, so that who is admitted is not preempted soon after. But who
// is alone may have all.
TEST(Scheduler, KeepsPagesFreeForThoseThatRun) {
  for (const int64_t n_pages : {5, 6}) {
    TestScheduler s({}, {.n_pages = n_pages, .page_size = 4});
    s.Submit(1, 8, 2);   // 2 pages
    s.Submit(2, 12, 2);  // 3 pages
    EXPECT_EQ(s.Plan(), n_pages == 5 ? "1:0+8*" : "1:0+8* 2:0+12*");
    s->Abort(1, 0);
    s->Abort(2, 0);
    s.Submit(3, 17, 3);
    EXPECT_EQ(s.Plan(), "3:0+17*");
  }
}

// Else a stream of small ones could keep a large one out for ever.
TEST(Scheduler, NobodyPassesTheFirst) {
  TestScheduler s({}, {.n_pages = 6, .page_size = 4});
  s.Submit(1, 8, 8);
  s.Submit(2, 16, 2);
  s.Submit(3, 1, 1);
  EXPECT_EQ(s.Plan(), "1:0+8*");
  EXPECT_EQ(s.Plan(), "1:8+1*");
  s->Finish(1, 0);
  EXPECT_EQ(s.Plan(), "3:0+1* 2:0+16*");
}

// To ask for what is known of a prompt costs as much as to hash it.
TEST(Scheduler, AsksMemoryAgainOnlyIfMoreIsFree) {
  TestScheduler s({}, {.n_pages = 10, .page_size = 4});
  s.Submit(1, 4, 20);
  s.Submit(2, 4, 10);
  s.Submit(3, 32, 4);
  for (int i = 0; i < 4; ++i) s.Plan();
  EXPECT_EQ(s.memory().n_opens, 3);
  EXPECT_EQ(s->n_admitted(), 2);
  s->Finish(2, 0);
  s.Plan();
  EXPECT_EQ(s.memory().n_opens, 4);
  s.Plan();
  EXPECT_EQ(s.memory().n_opens, 4);
  s->Finish(1, 0);
  EXPECT_EQ(s.Plan(), "3:0+32*");
  EXPECT_EQ(s.memory().n_opens, 5);
}

// 2 begins as 1 does, with 9 tokens: two whole pages are known.
TEST(Scheduler, ComputesOnlyWhatIsNotKnownOfAPrompt) {
  const Workload workload = {{.n_prompt = 12, .prefix_group = 1, .n_shared = 9},
                             {.n_prompt = 10, .prefix_group = 1, .n_shared = 9}};
  TestScheduler s({}, kMuchMemory, workload);
  s.Submit(0, 12, 5);
  EXPECT_EQ(s.Plan(), "0:0+12*");
  s.Submit(1, 10, 5);
  EXPECT_EQ(s.Plan(), "0:12+1* 1:8+2*");
  EXPECT_EQ(s->Find(1)->n_cached, 8);
  EXPECT_EQ(s.Log(), "submitted 0, admitted 0, submitted 1, admitted 1 (8)");
  EXPECT_EQ(s.memory().n_free(), 1000 - 4 - 1);
}

// ---- Batches of other kinds --------------------------------------------------------------------

TEST(Scheduler, AStaticBatchIsFullUntilAllAreThrough) {
  TestScheduler s({.static_batches = true, .max_seqs = 3, .prefill_chunk = 4}, kMuchMemory);
  for (const SequenceId id : {1, 2, 3, 4}) s.Submit(id, 3, id == 1 ? 1 : 3);
  EXPECT_EQ(s.Plan(), "1:0+3* 2:0+1");  // all three are admitted, whatever the rows
  EXPECT_EQ(s->n_admitted(), 3);
  s->Finish(1, 0);
  EXPECT_EQ(s.Plan(), "2:1+2* 3:0+2");
  EXPECT_EQ(s.Plan(), "2:3+1* 3:2+1*");
  EXPECT_EQ(s.Plan(), "2:4+1* 3:3+1*");
  s->Finish(2, 0);
  EXPECT_EQ(s.Plan(), "3:4+1*");
  EXPECT_EQ(s.Plan(), "");  // 4 waits for 3 to be finished
  s->Finish(3, 0);
  EXPECT_EQ(s.Plan(), "4:0+3*");
}

TEST(Scheduler, APromptThatIsNotCutWaitsForAStepWithRoom) {
  TestScheduler s({.max_seqs = 3, .max_step_tokens = 10, .chunked_prefill = false}, kMuchMemory);
  s.Submit(1, 6, 3);
  s.Submit(2, 5, 2);
  s.Submit(3, 8, 2);
  EXPECT_EQ(s.Plan(), "1:0+6*");         // 4 rows are left
  EXPECT_EQ(s.Plan(), "1:6+1* 2:0+5*");  // mixed; 4 again
  EXPECT_EQ(s.Plan(), "1:7+1* 2:5+1* 3:0+8*");
}

TEST(Scheduler, AStaticBatchOfPromptsThatAreNotCutTakesSeveralSteps) {
  TestScheduler s(
      {.static_batches = true, .max_seqs = 3, .max_step_tokens = 10, .chunked_prefill = false},
      kMuchMemory);
  s.Submit(1, 6, 3);
  s.Submit(2, 8, 2);
  s.Submit(3, 1, 2);
  EXPECT_EQ(s.Plan(), "1:0+6*");  // in order: 3 does not pass 2
  EXPECT_EQ(s.Plan(), "1:6+1* 3:0+1* 2:0+8*");
}

}  // namespace
}  // namespace aios
