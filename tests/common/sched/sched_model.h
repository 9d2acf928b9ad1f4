// A plain model of what a scheduler promises. It sees what memory is asked for, the plans and the
// events. It decides nothing: it checks that what was decided is right: who is in a plan and with
// which tokens, who was admitted and who preempted, how many pages are taken, how long the overdue
// wait, that nothing is idle, that all things end.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "tests/common/sched/sched_testing.h"

namespace aios {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

enum class Place : uint8_t { kNowhere, kPages, kHost };

// What the model knows of a request.
struct Tracked {
  SequenceRequest request;
  int64_t n_answer = 0;  // tokens that it will have; at most max_new_tokens
  int64_t order = 0;
  double arrival = 0;
  const WorkloadRequest* shape = nullptr;

  Place place = Place::kNowhere;
  int64_t n_reserved = 0;  // tokens, while in pages
  int64_t n_computed = 0;  // tokens
  int64_t n_sampled = 0;
  int64_t n_delivered = 0;     // of n_sampled, those that the owner knows
  bool is_decoding = false;    // in pages, and one token is to be computed, the newest
  bool was_preempted = false;  // in this plan

  bool has_bound = false;
  int64_t n_plans_before = 0;  // when it became overdue
  int64_t bound = 0;

  int64_t n_tokens() const { return request.n_prompt + n_sampled; }
  int64_t max_tokens() const { return request.n_prompt + request.max_new_tokens; }
  bool has_all() const { return n_sampled == request.max_new_tokens; }
  bool IsWaiting() const { return place != Place::kPages && !has_all(); }
};

// What is drawn for a run.
struct RunSetup {
  SchedulerOptions options;
  SimulatedMemory memory;
  int64_t max_prompt = 0;
  int64_t max_answer = 0;
  size_t lag = 0;         // plans after which the owner knows their tokens
  int burst = 1;          // requests that come at a time, at most
  bool floods = false;    // also when too many wait
  int cancel_one_in = 0;  // steps; 0: never
  bool has_deadlines = false;
  bool answers_end_early = false;
  int n_groups = 0;
};

// Of the whole test.
struct Counts {
  int64_t plans = 0, rows = 0;
  int64_t refused = 0, cancelled = 0, past_deadline = 0;
  int64_t preempted = 0, swapped = 0, released = 0;  // released: had all, and gave its pages
  int64_t found = 0;                                 // tokens of prefixes
  int64_t given_way = 0;                             // to more urgent ones
  int64_t overdue_admitted = 0, bounds = 0;          // bounds on waiting that were checked
};

class Model;

// Tells the model what memory is asked for.
class WatchedMemory : public CountedMemory {
 public:
  WatchedMemory(const SimulatedMemory& memory, std::span<const WorkloadRequest> workload,
                Model& model)
      : CountedMemory(memory, workload), model_(model) {}
  int64_t Open(const Sequence& s) override;
  bool Reserve(const Sequence& s, int64_t n_tokens) override;
  void Close(const Sequence& s) override;
  bool SwapOut(const Sequence& s) override;
  bool SwapIn(const Sequence& s) override;

 private:
  Model& model_;
};

class Model {
 public:
  Model(const RunSetup& setup, const Workload& workload, uint32_t seed)
      : setup_(setup),
        options_(setup.options),
        workload_(workload),
        random_(seed),
        memory_(setup.memory, workload, *this),
        scheduler_(setup.options, memory_) {
    scheduler_.Observe([this](const SchedulerEvent& event) { Happened(event); });
  }

  // All of the workload, to its end.
  void Run() {
    int64_t n_idle = 0;
    while (n_submitted_ < workload_.size() || !live_.empty()) {
      MoveClock();
      for (int64_t n = Random(setup_.burst + 1); n > 0; --n) {
        if (setup_.floods || scheduler_.n_waiting() < options_.max_waiting) Submit();
      }
      if (setup_.cancel_one_in > 0 && Random(setup_.cancel_one_in) == 0) Cancel();
      Plan();
      if (testing::Test::HasFailure()) return;
      n_idle = was_empty_ ? n_idle + 1 : 0;
      ASSERT_LT(n_idle, 1000) << "nothing happens any more";
    }
    ASSERT_EQ(scheduler_.n_sequences(), 0);
    ASSERT_EQ(scheduler_.n_waiting(), 0);
    ASSERT_EQ(memory_.n_free(), memory_.n_pages());
    ASSERT_EQ(memory_.n_swap_free(), setup_.memory.n_swap_pages);
    // No row was for nothing: all that was computed was given up by somebody at last.
    ASSERT_EQ(n_found_ + n_rows_, n_given_up_);
  }

  // ---- What memory is asked for ----------------------------------------------------------------

  void Opened(const Sequence& s, int64_t n_cached) {
    Tracked& t = Of(s);
    ASSERT_EQ(t.place, Place::kNowhere);
    ASSERT_LT(n_cached, t.n_tokens());
    t.place = Place::kPages;
    t.n_computed = t.n_reserved = n_cached;
    n_found_ += n_cached;
  }
  void Reserved(const Sequence& s, int64_t n_tokens, bool has_room) {
    Tracked& t = Of(s);
    ASSERT_EQ(t.place, Place::kPages);
    ASSERT_LE(n_tokens, t.n_tokens()) << "more than there are";
    if (has_room) t.n_reserved = std::max(t.n_reserved, n_tokens);
  }
  void Closed(const Sequence& s) {
    Tracked& t = Of(s);
    ASSERT_NE(t.place, Place::kNowhere);
    n_given_up_ += t.n_computed;
    last_given_up_ = t.n_computed;
    t.place = Place::kNowhere;
    t.n_computed = t.n_reserved = 0;
  }
  void SwappedOut(const Sequence& s) {
    Tracked& t = Of(s);
    ASSERT_EQ(t.place, Place::kPages);
    ASSERT_EQ(t.n_computed, s.n_computed);
    t.place = Place::kHost;
    t.n_reserved = 0;
  }
  void SwappedIn(const Sequence& s) {
    Tracked& t = Of(s);
    ASSERT_EQ(t.place, Place::kHost);
    t.place = Place::kPages;
    t.n_reserved = t.n_computed;
  }

  static inline Counts counts;

 private:
  int64_t Random(int64_t n) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(n)); }
  Tracked& Of(const Sequence& s) { return tracked_.at(s.request.id); }

  // ---- What the owner does ---------------------------------------------------------------------

  // Mostly forward a little; now and then a jump, or back, which the scheduler takes for no step.
  void MoveClock() {
    const int64_t what = Random(200);
    told_ = what == 0 ? now_ + 50 : what == 1 ? now_ - 20 : now_ + 0.01 * Random(20);
    now_ = std::max(now_, told_);
  }

  void Submit() {
    if (n_submitted_ == workload_.size()) return;
    const SequenceId id = n_submitted_++;
    const WorkloadRequest& shape = workload_[id];
    Tracked t;
    t.request = {.id = id,
                 .user = shape.user,
                 .priority = shape.priority,
                 .n_prompt = shape.n_prompt,
                 .max_new_tokens = shape.n_output};
    if (setup_.has_deadlines && Random(4) == 0) t.request.deadline = now_ + 0.05 * Random(200);
    t.n_answer = setup_.answers_end_early ? 1 + Random(shape.n_output) : shape.n_output;
    t.shape = &shape;
    t.order = n_taken_;
    t.arrival = now_;
    const bool fits = t.max_tokens() <= memory_.n_pages() * memory_.page_size() &&
                      (options_.chunked_prefill || t.max_tokens() <= options_.max_step_tokens);
    const bool has_place =
        std::ranges::count_if(live_, [](auto* l) { return l->IsWaiting(); }) < options_.max_waiting;
    tracked_.emplace(id, t);
    live_.push_back(&tracked_.at(id));
    is_live_.insert(id);
    try {
      scheduler_.Submit(t.request, told_);
      ++n_taken_;
      ASSERT_TRUE(fits && has_place);
    } catch (const Refused& refused) {
      ++counts.refused;
      ASSERT_EQ(refused.why(), fits ? Refused::Why::kBusy : Refused::Why::kTooLong);
      ASSERT_FALSE(fits && has_place);
      Forget(id);
    }
  }

  void Cancel() {
    if (live_.empty()) return;
    const SequenceId id = live_[Random(static_cast<int64_t>(live_.size()))]->request.id;
    ++counts.cancelled;
    End(id, SequenceState::kAborted);
  }

  void End(SequenceId id, SequenceState state) {
    const auto end = [&] {
      return state == SequenceState::kFinished ? scheduler_.Finish(id, told_)
                                               : scheduler_.Abort(id, told_);
    };
    ASSERT_TRUE(end());
    ASSERT_FALSE(end()) << "it has ended already";
    ASSERT_FALSE(is_live_.contains(id)) << "no event";
    CheckPages();  // back at once
  }

  // Tokens of a step are known; answers that are complete end.
  void Deliver(const std::vector<SequenceId>& step) {
    for (const SequenceId id : step) {
      if (!is_live_.contains(id)) continue;
      Tracked& t = tracked_.at(id);
      if (++t.n_delivered == t.n_answer) End(id, SequenceState::kFinished);
    }
  }

  // ---- What is checked -------------------------------------------------------------------------

  void Happened(const SchedulerEvent& e) {
    Tracked& t = Of(e.sequence);
    ASSERT_EQ(e.time, now_);
    switch (e.kind) {
      case SchedulerEvent::Kind::kAdmitted:
      case SchedulerEvent::Kind::kResumed:
        CheckAdmission(t);
        ASSERT_EQ(e.n_tokens, t.n_computed);
        if (!was_in_host_.erase(e.sequence.request.id)) counts.found += t.n_computed;
        break;
      case SchedulerEvent::Kind::kPreempted:
        ++counts.preempted;
        CheckPreemption(t);
        if (t.has_all()) ++counts.released;
        ASSERT_EQ(e.n_tokens, t.has_all() ? 0 : last_given_up_);
        break;
      case SchedulerEvent::Kind::kSwapped:
        ++counts.swapped;
        CheckPreemption(t);
        ASSERT_EQ(e.n_tokens, t.n_computed);
        was_in_host_.insert(e.sequence.request.id);
        break;
      case SchedulerEvent::Kind::kFinished:
      case SchedulerEvent::Kind::kAborted:
        was_in_host_.erase(e.sequence.request.id);
        Forget(e.sequence.request.id);
        break;
      default:
        break;
    }
  }

  // In the order of the policy, and nobody who came later before one that is overdue. (Whose turn
  // it is under fair share is for waiting_queue_test.cc.)
  void CheckAdmission(Tracked& t) {
    ASSERT_EQ(t.place, Place::kPages);
    ASSERT_TRUE(was_batch_open_ || !options_.static_batches);
    ASSERT_FALSE(t.was_preempted) << "preempted and admitted in one plan";
    ASSERT_EQ(t.n_reserved, t.n_tokens());
    t.is_decoding = t.n_sampled > 0 && t.n_computed == t.n_tokens() - 1;
    ASSERT_LE(std::ranges::count_if(live_, [](auto* l) { return l->place == Place::kPages; }),
              options_.max_seqs);
    const bool is_overdue = IsOverdue(t);
    if (std::ranges::any_of(live_, [](auto* l) { return l->was_preempted; })) ++counts.given_way;
    if (is_overdue) ++counts.overdue_admitted;
    for (const Tracked* other : live_) {
      if (!other->IsWaiting() || other == &t) continue;
      if (IsOverdue(*other) || is_overdue) {
        ASSERT_LT(t.order, other->order) << "passed one that is overdue";
      } else if (options_.policy != Policy::kFairShare) {
        ASSERT_LT(QueueKey(t), QueueKey(*other));
      }
    }
    if (t.has_bound) {
      ASSERT_LE(n_senior_plans_ - t.n_plans_before, t.bound) << "waited too long";
      t.has_bound = false;
    }
  }
  std::pair<int64_t, int64_t> QueueKey(const Tracked& t) const {
    if (options_.policy == Policy::kPriority) return {t.request.priority, t.order};
    // What was just admitted had nothing computed, or kept it.
    const int64_t n_kept = was_in_host_.contains(t.request.id) ? t.n_computed : 0;
    if (options_.policy == Policy::kShortestRemaining) return {t.max_tokens() - n_kept, t.order};
    return {0, t.order};
  }

  // Pages are taken from those who came after all others; of those not overdue, from the least
  // urgent. Who has all loses nothing.
  void CheckPreemption(Tracked& t) {
    ASSERT_TRUE(is_planning_);
    t.was_preempted = true;
    if (t.has_all()) return;
    for (const Tracked* other : live_) {
      if (other->place != Place::kPages || other->has_all()) continue;
      if (options_.policy == Policy::kPriority) {
        ASSERT_LT(Rank(*other), Rank(t));
      } else {
        ASSERT_LT(other->order, t.order);
      }
    }
  }
  bool IsOverdue(const Tracked& t) const { return now_ - t.arrival > options_.patience; }
  std::pair<double, int64_t> Rank(const Tracked& t) const {
    const bool counts = options_.policy == Policy::kPriority && !IsOverdue(t);
    return {counts ? t.request.priority : -kInfinity, t.order};
  }

  void Plan() {
    NoteBounds();
    for (Tracked* t : live_) t->was_preempted = false;
    std::vector<SequenceId> past;
    for (const Tracked* t : live_) {
      if (t->request.deadline < now_) past.push_back(t->request.id);
    }
    counts.past_deadline += static_cast<int64_t>(past.size());

    was_batch_open_ = std::ranges::none_of(live_, [&](const Tracked* t) {
      return t->place == Place::kPages && t->request.deadline >= now_;
    });
    is_planning_ = true;
    StepPlan plan = scheduler_.Plan(told_);
    is_planning_ = false;
    ++counts.plans;
    std::ranges::sort(plan.overdue);
    std::ranges::sort(past);
    ASSERT_EQ(plan.overdue, past);
    CheckPlan(plan);
    CheckPages();

    was_empty_ = plan.rows.empty();
    std::vector<SequenceId> sampled;
    for (const ScheduledRows& r : plan.rows) {
      if (r.samples) sampled.push_back(r.sequence->request.id);
    }
    on_their_way_.push_back(std::move(sampled));
    while (on_their_way_.size() > setup_.lag + 1) on_their_way_.pop_front();
    if (on_their_way_.size() == setup_.lag + 1) Deliver(on_their_way_.front());
  }

  // The bound on waiting that the header states, for who has just become overdue.
  void NoteBounds() {
    for (Tracked* t : live_) {
      if (t->has_bound || !t->IsWaiting() || !IsOverdue(*t)) continue;
      ++counts.bounds;
      t->has_bound = true;
      t->n_plans_before = n_senior_plans_;
      t->bound = 0;
      for (const Tracked* other : live_) {
        if (other->place == Place::kPages) t->bound += other->max_tokens();
        if (other->order < t->order) t->bound += other->max_tokens();
      }
    }
  }

  void CheckPlan(const StepPlan& plan) {
    int64_t n_all = 0;
    int64_t n_prefill = 0;
    bool begins = true;  // rows of one token that samples
    for (const ScheduledRows& r : plan.rows) {
      Tracked& t = Of(*r.sequence);
      ASSERT_TRUE(in_plan_.insert(t.request.id).second) << "twice in a plan";
      ASSERT_EQ(t.place, Place::kPages);
      ASSERT_FALSE(t.has_all());
      ASSERT_EQ(r.begin, t.n_computed);
      ASSERT_GE(r.n_rows, 1);
      ASSERT_LE(r.begin + r.n_rows, t.n_reserved);
      ASSERT_LE(r.begin + r.n_rows, t.n_tokens());
      ASSERT_EQ(r.samples, r.begin + r.n_rows == t.n_tokens());
      ASSERT_TRUE(begins || r.n_rows > 1 || !r.samples) << "not in order";
      begins = begins && r.n_rows == 1 && r.samples;
      if (!options_.chunked_prefill) {
        ASSERT_TRUE(r.samples) << "a prompt was cut";
      }
      n_all += r.n_rows;
      if (!t.is_decoding) n_prefill += r.n_rows;
      t.n_computed += r.n_rows;
    }
    ASSERT_EQ(plan.n_tokens, n_all);
    ASSERT_LE(n_all, options_.max_step_tokens);
    if (options_.chunked_prefill) {
      ASSERT_LE(n_prefill, options_.prefill_chunk);
    }
    n_rows_ += n_all;
    counts.rows += n_all;
    CheckNobodyIsIdle(plan, n_all, n_prefill);
    for (const ScheduledRows& r : plan.rows) {
      if (!r.samples) continue;
      Of(*r.sequence).is_decoding = true;
      ++Of(*r.sequence).n_sampled;
    }
    in_plan_.clear();
  }

  // Work is conserved.
  void CheckNobodyIsIdle(const StepPlan& plan, int64_t n_all, int64_t n_prefill) {
    const Tracked* senior = nullptr;
    int64_t n_in_pages = 0;
    bool has_preempted = false;
    bool all_have_all = true;
    bool somebody_waits = false;
    bool somebody_prefills = false;
    for (const Tracked* t : live_) {
      has_preempted |= t->was_preempted;
      somebody_waits |= t->IsWaiting();
      if (t->place != Place::kPages) continue;
      ++n_in_pages;
      all_have_all &= t->has_all();
      if (senior == nullptr || Rank(*t) < Rank(*senior)) senior = t;
      const bool is_in = in_plan_.contains(t->request.id);
      if (!is_in) somebody_prefills |= !t->has_all();
      // Who needs one token more gets it.
      ASSERT_TRUE(is_in || !t->is_decoding || t->has_all()) << "left out";
    }
    const bool senior_goes_on = senior != nullptr && in_plan_.contains(senior->request.id);
    ASSERT_TRUE(senior_goes_on || senior == nullptr || senior->has_all());
    if (senior_goes_on) ++n_senior_plans_;
    if (plan.rows.empty()) {
      ASSERT_TRUE(all_have_all);
      ASSERT_TRUE(n_in_pages > 0 || !somebody_waits);
    }
    // Rows are left over only if nobody needs them.
    int64_t n_left = options_.max_step_tokens - n_all;
    if (options_.chunked_prefill) n_left = std::min(n_left, options_.prefill_chunk - n_prefill);
    if (n_left == 0 || !options_.chunked_prefill) return;
    ASSERT_FALSE(somebody_prefills);
    if (has_preempted || options_.static_batches || n_in_pages == options_.max_seqs) return;
    if (options_.policy == Policy::kFairShare) return;  // who is next?
    const Tracked* next = nullptr;
    for (const Tracked* t : live_) {
      if (t->IsWaiting() && (next == nullptr || IsBefore(*t, *next))) next = t;
    }
    if (next != nullptr) {
      ASSERT_LT(memory_.n_free(), PagesFor(memory_, next->n_tokens()) + (n_in_pages + 1) / 2);
    }
  }
  bool IsBefore(const Tracked& a, const Tracked& b) const {
    if (IsOverdue(a) || IsOverdue(b)) return a.order < b.order;
    return QueueKey(a) < QueueKey(b);
  }

  // Exactly the pages of those that are in pages, what groups share counted once.
  void CheckPages() {
    int64_t n_pages = 0;
    int64_t n_swapped_pages = 0;
    std::map<int32_t, int64_t> shared;
    int64_t n_seqs = 0;
    for (const Tracked* t : live_) {
      if (t->place == Place::kHost) n_swapped_pages += PagesFor(memory_, t->n_computed);
      if (t->place != Place::kPages) continue;
      ++n_seqs;
      const int64_t n_has = PagesFor(memory_, t->n_reserved);
      const int64_t n_shared = std::min(n_has, t->shape->n_shared / memory_.page_size());
      n_pages += n_has - n_shared;
      int64_t& most = shared[t->shape->prefix_group];
      most = std::max(most, n_shared);
    }
    for (const auto& [group, n] : shared) n_pages += n;
    ASSERT_LE(n_seqs, options_.max_seqs);
    ASSERT_EQ(scheduler_.n_admitted(), n_seqs);
    ASSERT_EQ(memory_.n_pages() - memory_.n_free(), n_pages);
    ASSERT_EQ(setup_.memory.n_swap_pages - memory_.n_swap_free(), n_swapped_pages);
  }

  void Forget(SequenceId id) {
    std::erase(live_, &tracked_.at(id));
    is_live_.erase(id);
    tracked_.erase(id);
  }

  const RunSetup& setup_;
  const SchedulerOptions& options_;
  const Workload& workload_;
  std::mt19937_64 random_;
  WatchedMemory memory_;
  Scheduler scheduler_;

  double now_ = 0;
  double told_ = 0;  // what the scheduler is told
  size_t n_submitted_ = 0;
  int64_t n_taken_ = 0;
  bool is_planning_ = false;
  bool was_batch_open_ = false;                        // nobody was in pages when the plan began
  bool was_empty_ = false;                             // the last plan
  int64_t n_rows_ = 0, n_found_ = 0, n_given_up_ = 0;  // tokens
  int64_t last_given_up_ = 0;
  int64_t n_senior_plans_ = 0;  // in which the first of those admitted got a token
  std::map<SequenceId, Tracked> tracked_;
  std::vector<Tracked*> live_;
  std::set<SequenceId> is_live_;
  std::set<SequenceId> was_in_host_;
  std::set<SequenceId> in_plan_;
  std::deque<std::vector<SequenceId>> on_their_way_;
};

inline int64_t WatchedMemory::Open(const Sequence& s) {
  const int64_t n_cached = CountedMemory::Open(s);
  model_.Opened(s, n_cached);
  return n_cached;
}
inline bool WatchedMemory::Reserve(const Sequence& s, int64_t n_tokens) {
  const bool has_room = CountedMemory::Reserve(s, n_tokens);
  model_.Reserved(s, n_tokens, has_room);
  return has_room;
}
inline void WatchedMemory::Close(const Sequence& s) {
  CountedMemory::Close(s);
  model_.Closed(s);
}
inline bool WatchedMemory::SwapOut(const Sequence& s) {
  const bool has_room = CountedMemory::SwapOut(s);
  if (has_room) model_.SwappedOut(s);
  return has_room;
}
inline bool WatchedMemory::SwapIn(const Sequence& s) {
  const bool has_room = CountedMemory::SwapIn(s);
  if (has_room) model_.SwappedIn(s);
  return has_room;
}

}  // namespace aios
