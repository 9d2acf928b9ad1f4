// What the tests of common/sched share: a scheduler over counted pages, its plans and events as
// text, and a memory that counts what it is asked.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

#include "common/base/error.h"
#include "common/sched/counted_memory.h"
#include "common/sched/scheduler.h"

namespace aios {

inline constexpr SimulatedMemory kMuchMemory = {.n_pages = 1000, .page_size = 4};

// "7:4+8" for each part of a plan: sequence 7's positions 4 to 11; "7:4+8*" if it samples.
inline std::string TextOf(const StepPlan& plan) {
  std::string text;
  for (const ScheduledRows& r : plan.rows) {
    text += fmt::format("{}{}:{}+{}{}", text.empty() ? "" : " ", r.sequence->request.id, r.begin,
                        r.n_rows, r.samples ? "*" : "");
  }
  return text;
}

class OpensCounted : public CountedMemory {
 public:
  using CountedMemory::CountedMemory;
  int64_t Open(const Sequence& sequence) override {
    ++n_opens;
    return CountedMemory::Open(sequence);
  }
  int64_t n_opens = 0;
};

// A scheduler, its memory, and a log of "admitted 7 (4)": event, sequence, n_tokens. Computed rows
// are in the plans, so the log has not got them.
class TestScheduler {
 public:
  explicit TestScheduler(const SchedulerOptions& options, const SimulatedMemory& memory,
                         std::span<const WorkloadRequest> workload = {})
      : memory_(memory, workload), scheduler_(options, memory_) {
    scheduler_.Observe([this](const SchedulerEvent& e) {
      if (e.kind == SchedulerEvent::Kind::kComputed) return;
      log_ += fmt::format("{}{} {}", log_.empty() ? "" : ", ", Name(e.kind), e.sequence.request.id);
      if (e.n_tokens > 0) log_ += fmt::format(" ({})", e.n_tokens);
    });
  }

  Scheduler* operator->() { return &scheduler_; }
  OpensCounted& memory() { return memory_; }

  void Submit(SequenceId id, int64_t n_prompt, int64_t max_new_tokens, double now = 0) {
    scheduler_.Submit({.id = id, .n_prompt = n_prompt, .max_new_tokens = max_new_tokens}, now);
  }
  void SubmitWithPriority(SequenceId id, int priority, int64_t n_prompt, int64_t max_new_tokens,
                          double now = 0) {
    scheduler_.Submit(
        {.id = id, .priority = priority, .n_prompt = n_prompt, .max_new_tokens = max_new_tokens},
        now);
  }
  std::string Plan(double now = 0) { return TextOf(scheduler_.Plan(now)); }
  // What happened since the last call.
  std::string Log() { return std::exchange(log_, {}); }
  // "waiting", or "gone".
  std::string_view StateOf(SequenceId id) const {
    const Sequence* s = scheduler_.Find(id);
    return s == nullptr ? "gone" : Name(s->state);
  }

 private:
  OpensCounted memory_;
  Scheduler scheduler_;
  std::string log_;
};

}  // namespace aios
