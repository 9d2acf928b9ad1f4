// Who goes first, and who must go: policies and patience, with plans worked out by hand. Pages have
// 4 tokens.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/sched/scheduler.h"
#include "tests/common/sched/sched_testing.h"

namespace aios {
namespace {

// ---- Policies ----------------------------------------------------------------------------------

TEST(Scheduler, ShortestRemainingAdmitsTheShortest) {
  TestScheduler s({.policy = Policy::kShortestRemaining, .max_seqs = 1}, kMuchMemory);
  s.Submit(1, 5, 5);
  s.Submit(2, 2, 9);
  s.Submit(3, 8, 1);
  for (const SequenceId id : {3, 1, 2}) {
    EXPECT_EQ(s->Plan(0).rows.at(0).sequence->request.id, id);
    s->Finish(id, 0);
  }
}

// ann has four requests, bob comes later with two: his turn comes when she has had some.
TEST(Scheduler, FairShareTakesTurns) {
  TestScheduler s({.policy = Policy::kFairShare, .max_seqs = 1}, kMuchMemory);
  for (const SequenceId id : {1, 2, 3, 4}) {
    s->Submit({.id = id, .user = "ann", .n_prompt = 10, .max_new_tokens = 1}, 0);
  }
  for (const SequenceId id : {5, 6}) {
    s->Submit({.id = id, .user = "bob", .n_prompt = 15, .max_new_tokens = 1}, 0);
  }
  std::vector<SequenceId> turns;
  for (int i = 0; i < 6; ++i) {
    turns.push_back(s->Plan(0).rows.at(0).sequence->request.id);
    s->Finish(turns.back(), 0);
  }
  // Served: ann 11; bob 16; ann 22; bob 32.
  EXPECT_EQ(turns, (std::vector<SequenceId>{1, 5, 2, 6, 3, 4}));
}

// ann always has many requests of 10 tokens, bob one of 95 at a time: both are served the same.
TEST(Scheduler, FairShareIsFairToWhoAsksForOneThingAtATime) {
  TestScheduler s({.policy = Policy::kFairShare, .max_seqs = 1}, kMuchMemory);
  int64_t of_ann = 0;
  int64_t of_bob = 0;
  SequenceId next_id = 0;
  const auto submit = [&](const char* user, int64_t n_prompt) {
    s->Submit({.id = next_id++, .user = user, .n_prompt = n_prompt, .max_new_tokens = 1}, 0);
  };
  for (int i = 0; i < 5; ++i) submit("ann", 9);
  submit("bob", 94);
  for (int i = 0; i < 1100; ++i) {
    const Sequence& served = *s->Plan(0).rows.at(0).sequence;
    const bool is_bob = served.request.user == "bob";
    (is_bob ? of_bob : of_ann) += served.n_tokens();
    s->Finish(served.request.id, 0);
    is_bob ? submit("bob", 94) : submit("ann", 9);
  }
  EXPECT_NEAR(of_ann, of_bob, 100);
  EXPECT_GT(of_ann, 9000);
}

TEST(Scheduler, MoreUrgentOnesTakePlaces) {
  TestScheduler s({.policy = Policy::kPriority, .max_seqs = 2}, kMuchMemory);
  s.SubmitWithPriority(1, 5, 4, 9);
  s.SubmitWithPriority(2, 3, 4, 9);
  s.SubmitWithPriority(3, 5, 4, 9);
  EXPECT_EQ(s.Plan(), "2:0+4* 1:0+4*");
  s.Log();
  s.SubmitWithPriority(4, 5, 4, 9);  // not from equals
  EXPECT_EQ(s.Plan(), "2:4+1* 1:4+1*");
  s.SubmitWithPriority(6, 0, 4, 9);
  EXPECT_EQ(s.Plan(), "2:5+1* 6:0+4*");
  EXPECT_EQ(s.Log(), "submitted 4, submitted 6, preempted 1 (5), admitted 6");
  // 1 is first among its equals, which it came before.
  s->Finish(2, 0);
  EXPECT_EQ(s.Plan(), "6:4+1* 1:0+6*");
}

TEST(Scheduler, MoreUrgentOnesTakePagesIfThatHelps) {
  TestScheduler s({.policy = Policy::kPriority}, {.n_pages = 8, .page_size = 4});
  s.SubmitWithPriority(1, 1, 8, 8);
  s.SubmitWithPriority(2, 2, 4, 8);
  s.SubmitWithPriority(3, 3, 4, 8);
  EXPECT_EQ(s.Plan(), "1:0+8* 2:0+4* 3:0+4*");  // 4 pages; 4 are free
  s.Log();
  // 25 tokens need 7 pages. Those of 2 and 3 would not be enough.
  s.SubmitWithPriority(4, 1, 25, 1);
  EXPECT_EQ(s.Plan(), "1:8+1* 2:4+1* 3:4+1*");
  // 3 pages: with those of 3 there are as many, but none to spare; with those of 2 there are.
  s.SubmitWithPriority(5, 0, 12, 1);
  EXPECT_EQ(s.Plan(), "1:9+1* 5:0+12*");
  EXPECT_EQ(s.Log(), "submitted 4, submitted 5, preempted 3 (5), preempted 2 (5), admitted 5");
}

// 1 came first, and has pages for all of its prompt, which is computed as rows are left.
TEST(Scheduler, WhoGrowsTakesPagesFromTheLeastUrgent) {
  TestScheduler s({.policy = Policy::kPriority, .prefill_chunk = 2},
                  {.n_pages = 6, .page_size = 4});
  s.SubmitWithPriority(1, 7, 16, 8);
  EXPECT_EQ(s.Plan(), "1:0+2");
  s.SubmitWithPriority(2, 1, 4, 9);
  EXPECT_EQ(s.Plan(), "2:0+2");
  EXPECT_EQ(s.Plan(), "2:2+2*");
  EXPECT_EQ(s.Plan(), "2:4+1* 1:2+2");  // the last page is for 2
  for (int i = 1; i < 4; ++i) s.Plan();
  s.Log();
  EXPECT_EQ(s.Plan(), "2:8+1*");
  EXPECT_EQ(s.Log(), "preempted 1 (10)");
}

// ---- Patience ----------------------------------------------------------------------------------

// 1 and then 2 wait while more urgent ones come, one a second.
TEST(Scheduler, WhoIsOverdueIsPassedByNobody) {
  TestScheduler s({.policy = Policy::kPriority, .max_seqs = 1, .patience = 10}, kMuchMemory);
  s.SubmitWithPriority(1, 9, 1, 1, 0);
  s.SubmitWithPriority(2, 5, 1, 1, 2);
  std::string order;
  for (int t = 2; t < 16; ++t) {
    s.SubmitWithPriority(100 + t, 0, 1, 1, t);
    const StepPlan plan = s->Plan(t);
    const SequenceId id = plan.rows.at(0).sequence->request.id;
    order += fmt::format("{} ", id);
    s->Finish(id, t);
  }
  EXPECT_EQ(order, "102 103 104 105 106 107 108 109 110 1 111 2 112 113 ");
}

// And no more urgent one takes its pages, nor one that grows and came later.
TEST(Scheduler, NobodyWhoCameLaterTakesPagesFromWhoIsOverdue) {
  TestScheduler s({.policy = Policy::kPriority, .patience = 10}, {.n_pages = 4, .page_size = 4});
  s.SubmitWithPriority(1, 9, 7, 9, 0);
  EXPECT_EQ(s.Plan(0), "1:0+7*");
  s.SubmitWithPriority(2, 5, 3, 5, 3);
  EXPECT_EQ(s.Plan(9), "1:7+1* 2:0+3*");
  s.SubmitWithPriority(3, 0, 12, 1, 10);
  EXPECT_EQ(s.Plan(10.5), "1:8+1* 2:3+1*");  // at 10 it would have lost them to 3
  s.Log();
  EXPECT_EQ(s.Plan(11), "1:9+1*");  // 2 is more urgent, but 1 came first
  EXPECT_EQ(s.Log(), "preempted 2 (4)");
}

}  // namespace
}  // namespace aios
