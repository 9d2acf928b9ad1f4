// Who is next, by each policy; aging; shares between users.
#include "common/sched/waiting_queue.h"

#include <gtest/gtest.h>

#include <deque>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "common/base/error.h"

namespace aios {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Sequences in the order in which they are made.
class Sequences {
 public:
  Sequence& Make(SequenceRequest request, double arrival = 0) {
    Sequence& s = sequences_.emplace_back();
    s.order = static_cast<int64_t>(sequences_.size()) - 1;
    s.request = std::move(request);
    if (s.request.n_prompt == 0) s.request.n_prompt = 1;
    if (s.request.max_new_tokens == 0) s.request.max_new_tokens = 1;
    s.arrival = arrival;
    return s;
  }

 private:
  std::deque<Sequence> sequences_;
};

std::vector<SequenceId> Drain(WaitingQueue& queue, double now = 0) {
  std::vector<SequenceId> ids;
  while (Sequence* s = queue.First(now)) {
    ids.push_back(s->request.id);
    queue.Remove(*s);
  }
  EXPECT_EQ(queue.size(), 0);
  return ids;
}

using Ids = std::vector<SequenceId>;

TEST(WaitingQueue, IsEmptyAtFirst) {
  for (const Policy policy : {Policy::kFirstCome, Policy::kFairShare}) {
    const WaitingQueue queue(policy, 1);
    EXPECT_EQ(queue.First(0), nullptr);
    EXPECT_EQ(queue.size(), 0);
  }
}

// A preempted one is pushed again, after others, and is still the one that came first.
TEST(WaitingQueue, FirstComeIsTheOrderOfComing) {
  Sequences make;
  WaitingQueue queue(Policy::kFirstCome, kInfinity);
  Sequence& a = make.Make({.id = 7, .priority = 9});
  Sequence& b = make.Make({.id = 3, .priority = 0});
  Sequence& c = make.Make({.id = 5, .priority = 1});
  queue.Push(b);
  queue.Push(c);
  queue.Push(a);
  EXPECT_EQ(Drain(queue), (Ids{7, 3, 5}));
}

TEST(WaitingQueue, PriorityIsTheSmallestNumberThenTheOrderOfComing) {
  Sequences make;
  WaitingQueue queue(Policy::kPriority, kInfinity);
  queue.Push(make.Make({.id = 1, .priority = 5}));
  queue.Push(make.Make({.id = 2, .priority = -3}));
  queue.Push(make.Make({.id = 3, .priority = 5}));
  queue.Push(make.Make({.id = 4, .priority = 0}));
  EXPECT_EQ(Drain(queue), (Ids{2, 4, 1, 3}));
}

// What was computed, and kept in host memory, need not be computed again.
TEST(WaitingQueue, ShortestRemainingCountsPromptAndAnswerLessWhatIsComputed) {
  Sequences make;
  WaitingQueue queue(Policy::kShortestRemaining, kInfinity);
  queue.Push(make.Make({.id = 1, .n_prompt = 10, .max_new_tokens = 10}));  // 20
  queue.Push(make.Make({.id = 2, .n_prompt = 15, .max_new_tokens = 4}));   // 19
  queue.Push(make.Make({.id = 3, .n_prompt = 1, .max_new_tokens = 30}));   // 31
  Sequence& swapped = make.Make({.id = 4, .n_prompt = 100, .max_new_tokens = 10});
  swapped.n_computed = 95;  // 15
  swapped.is_swapped = true;
  queue.Push(swapped);
  EXPECT_EQ(Drain(queue), (Ids{4, 2, 1, 3}));
}

// More than `patience` seconds after it came, not before, and then in the order of coming.
TEST(WaitingQueue, WhoIsOverdueGoesFirstWhateverThePolicy) {
  for (const Policy policy :
       {Policy::kFirstCome, Policy::kPriority, Policy::kShortestRemaining, Policy::kFairShare}) {
    SCOPED_TRACE(Name(policy));
    Sequences make;
    WaitingQueue queue(policy, 10);
    Sequence& a = make.Make({.id = 1, .user = "a", .priority = 8, .n_prompt = 90}, 0);
    Sequence& b = make.Make({.id = 2, .user = "a", .priority = 9, .n_prompt = 80}, 1);
    Sequence& c = make.Make({.id = 3, .user = "c", .priority = 1, .n_prompt = 1}, 5);
    for (Sequence* s : {&c, &b, &a}) queue.Push(*s);
    queue.Serve("a", 1000);
    const bool is_by_arrival = policy == Policy::kFirstCome;
    EXPECT_FALSE(queue.IsOverdue(a, 10));
    EXPECT_EQ(queue.First(10)->request.id, is_by_arrival ? 1 : 3);
    EXPECT_TRUE(queue.IsOverdue(a, 10.5));
    EXPECT_EQ(queue.First(10.5)->request.id, 1);
    queue.Remove(a);
    EXPECT_EQ(queue.First(10.5)->request.id, is_by_arrival ? 2 : 3);  // b came 9.5 seconds ago
    EXPECT_EQ(queue.First(11.5)->request.id, 2);
  }
}

TEST(WaitingQueue, NamesAndParsesPolicies) {
  for (const Policy policy :
       {Policy::kFirstCome, Policy::kPriority, Policy::kShortestRemaining, Policy::kFairShare}) {
    EXPECT_EQ(ParsePolicy(Name(policy)), policy);
  }
  EXPECT_EQ(Name(Policy::kShortestRemaining), "shortest-remaining");
  try {
    ParsePolicy("Fair");
    FAIL();
  } catch (const InputError& e) {
    EXPECT_STREQ(e.what(),
                 "policy 'Fair': there is no such; take first-come, priority, shortest-remaining "
                 "or fair-share");
  }
}

// ---- Fair share --------------------------------------------------------------------------------

TEST(FairShare, TheUserWhoWasServedLeastIsNext) {
  Sequences make;
  WaitingQueue queue(Policy::kFairShare, kInfinity);
  queue.Push(make.Make({.id = 1, .user = "ann"}));
  queue.Push(make.Make({.id = 2, .user = "ann"}));
  queue.Push(make.Make({.id = 3, .user = "bob"}));
  EXPECT_EQ(queue.First(0)->request.id, 1);  // nobody was served: who came first
  queue.Serve("ann", 10);
  EXPECT_EQ(queue.First(0)->request.id, 3);
  queue.Serve("bob", 11);
  EXPECT_EQ(queue.First(0)->request.id, 1);
  queue.Serve("ann", 1);
  EXPECT_EQ(queue.First(0)->request.id, 1);  // level again
}

// Who was away has not saved up: ann was served 1000 while bob asked for nothing. When he comes
// they take turns from then on.
TEST(FairShare, WhoComesBackStartsAtTheLevelOfThoseWhoWait) {
  Sequences make;
  WaitingQueue queue(Policy::kFairShare, kInfinity);
  for (SequenceId id = 0; id < 20; ++id) queue.Push(make.Make({.id = id, .user = "ann"}));
  queue.Serve("ann", 1000);
  for (SequenceId id = 20; id < 40; ++id) queue.Push(make.Make({.id = id, .user = "bob"}));
  std::string turns;
  for (int i = 0; i < 8; ++i) {
    Sequence* s = queue.First(0);
    queue.Serve(s->request.user, 100);
    queue.Remove(*s);
    turns += s->request.user[0];
  }
  EXPECT_EQ(turns, "abababab");
}

// And who leaves for a moment does not get rid of what was served: one request of 100 tokens at a
// time, against ann's many of 10.
TEST(FairShare, LeavingForAMomentDoesNotPay) {
  Sequences make;
  WaitingQueue queue(Policy::kFairShare, kInfinity);
  for (SequenceId id = 0; id < 500; ++id) queue.Push(make.Make({.id = id, .user = "ann"}));
  std::map<std::string, int64_t> n_served;
  Sequence* of_bob = nullptr;
  for (int i = 0; i < 300; ++i) {
    if (of_bob == nullptr) queue.Push(*(of_bob = &make.Make({.id = 1000, .user = "bob"})));
    Sequence* s = queue.First(0);
    const int64_t n_tokens = s == of_bob ? 100 : 10;
    n_served[s->request.user] += n_tokens;
    queue.Serve(s->request.user, n_tokens);
    queue.Remove(*s);
    if (s == of_bob) of_bob = nullptr;
  }
  EXPECT_NEAR(n_served["ann"], n_served["bob"], 100);
}

TEST(FairShare, RemembersOnlyWhoIsAheadOfThoseWhoWait) {
  Sequences make;
  FairShare shares;
  Sequence& ann = make.Make({.id = 1, .user = "ann"});
  shares.Push(ann);
  // Each is served 50 and leaves; ann is served 1 in the meantime.
  int64_t most = 0;
  for (int i = 0; i < 10'000; ++i) {
    Sequence& s = make.Make({.id = 2, .user = "user " + std::to_string(i)});
    shares.Push(s);
    shares.Serve(s.request.user, 50);
    shares.Remove(s);
    shares.Serve("ann", 1);
    most = std::max(most, shares.n_users());
  }
  EXPECT_LE(most, 52);
  shares.Remove(ann);
  EXPECT_EQ(shares.n_users(), 0);  // nobody waits
  shares.Serve("ann", 1);
  EXPECT_EQ(shares.n_users(), 0);
}

}  // namespace
}  // namespace aios
