// A million requests under random options, against a plain model of what a scheduler promises
// (sched_model.h).
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <random>
#include <string>

#include "tests/common/sched/sched_model.h"

namespace aios {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int64_t kRequests = 50'000;
#else
constexpr int64_t kRequests = 1'000'000;
#endif
constexpr int64_t kRequestsOfARun = 500;

// Random options, and requests for them.
class Draw {
 public:
  explicit Draw(uint32_t seed) : random_(seed) {}
  int64_t Between(int64_t least, int64_t most) {
    return least + static_cast<int64_t>(random_() % static_cast<uint64_t>(most - least + 1));
  }
  bool OneIn(int64_t n) { return Between(1, n) == 1; }
  template <typename T>
  T Of(std::initializer_list<T> values) {
    return values.begin()[Between(0, static_cast<int64_t>(values.size()) - 1)];
  }

  RunSetup DrawSetup() {
    RunSetup s;
    const bool is_long = OneIn(20);
    s.max_prompt = is_long ? 600 : Between(1, 40);
    s.max_answer = OneIn(3) ? Between(1, 60) : Between(1, 12);
    SchedulerOptions& o = s.options;
    o.policy =
        Of({Policy::kFirstCome, Policy::kPriority, Policy::kShortestRemaining, Policy::kFairShare});
    o.static_batches = OneIn(6);
    o.chunked_prefill = !OneIn(4);
    o.preemption = Of({Preemption::kRecompute, Preemption::kSwap});
    o.max_seqs = Between(1, 12);
    o.max_step_tokens = o.max_seqs + Between(0, is_long ? 512 : 60);
    o.prefill_chunk = OneIn(3) ? Between(1, 8) : Between(1, 512);
    o.max_waiting = Between(1, 40);
    o.patience = Of({0.0, 0.5, 2.0, 10.0, kInfinity});
    s.memory.page_size = Between(1, 16);
    // From room for one to room for all.
    const int64_t longest = (s.max_prompt + s.max_answer) / s.memory.page_size + 1;
    const int64_t n_longest = OneIn(3) ? Between(1, 1 + o.max_seqs) : Between(1, 3);
    s.memory.n_pages = longest * n_longest + Between(0, 4);
    s.memory.n_swap_pages = OneIn(3) ? 0 : Between(1, s.memory.n_pages);
    s.lag = static_cast<size_t>(Between(0, 2));
    s.burst = static_cast<int>(Between(1, 6));
    s.floods = OneIn(6);
    s.cancel_one_in = static_cast<int>(OneIn(2) ? Between(3, 40) : 0);
    s.has_deadlines = OneIn(3);
    s.answers_end_early = OneIn(2);
    s.n_groups = static_cast<int>(OneIn(2) ? Between(1, 4) : 0);
    return s;
  }

  Workload DrawRequests(const RunSetup& setup) {
    Workload workload(kRequestsOfARun);
    for (WorkloadRequest& r : workload) {
      r.n_prompt = Between(1, setup.max_prompt);
      r.n_output = Between(1, setup.max_answer);
      r.priority = static_cast<int>(Between(0, 3));
      r.user = "user-" + std::to_string(Between(0, 4));
      if (setup.n_groups == 0 || OneIn(3)) continue;
      r.prefix_group = static_cast<int32_t>(Between(1, setup.n_groups));
      r.n_shared = Between(1, r.n_prompt);
    }
    return workload;
  }

 private:
  std::mt19937_64 random_;
};

TEST(SchedulerProperty, KeepsWhatItPromises) {
  const int64_t n_runs = kRequests / kRequestsOfARun;
  for (int64_t run = 0; run < n_runs; ++run) {
    SCOPED_TRACE(fmt::format("run {}", run));
    Draw draw(static_cast<uint32_t>(run));
    const RunSetup setup = draw.DrawSetup();
    const Workload workload = draw.DrawRequests(setup);
    Model model(setup, workload, static_cast<uint32_t>(run));
    model.Run();
    if (HasFailure()) {
      const SchedulerOptions& o = setup.options;
      FAIL() << fmt::format(
          "{}{}{}, {}: {} seqs, {} tokens a step, chunk {}, patience {}; {} pages of {}, {} to "
          "swap; lag {}",
          Name(o.policy), o.static_batches ? ", static" : "",
          o.chunked_prefill ? "" : ", prompts not cut", Name(o.preemption), o.max_seqs,
          o.max_step_tokens, o.prefill_chunk, o.patience, setup.memory.n_pages,
          setup.memory.page_size, setup.memory.n_swap_pages, setup.lag);
    }
  }
  // That each thing has happened, often.
  const Counts& n = Model::counts;
  std::printf(
      "%ld plans, %ld rows; %ld refused, %ld cancelled, %ld past their deadlines; preempted: %ld "
      "to recompute, %ld to swap, %ld that had all, %ld times for a more urgent one; %ld tokens "
      "found; %ld overdue, %ld bounds\n",
      n.plans, n.rows, n.refused, n.cancelled, n.past_deadline, n.preempted, n.swapped, n.released,
      n.given_way, n.found, n.overdue_admitted, n.bounds);
  for (const int64_t count : {n.refused, n.cancelled, n.past_deadline, n.preempted, n.swapped,
                              n.released, n.given_way, n.found, n.overdue_admitted, n.bounds}) {
    EXPECT_GT(count, kRequests / 1000);
  }
}

}  // namespace
}  // namespace aios
