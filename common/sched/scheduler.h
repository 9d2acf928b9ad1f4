// Scheduler: which sequences a step computes, and how many tokens of each.
//
// Requests share a model as processes share a machine. Each step of the model is a time slice in
// which many run at once: the weights are read once for all of them. The scheduler plans it:
//
//   1. make room: every running sequence needs memory for one token more. Where there is no page
//      for it, another one is preempted: of those admitted, the one that came last;
//   2. admit: waiting ones, in the order of the policy, as long as there are places, pages and rows
//      for them;
//   3. fill: every running sequence gets one row, its next token; those that are prefilling get
//      what the budget leaves, chunks of their prompts, who came first first.
//
// Admission at every step, not only when a batch is through, is continuous batching (Orca: Yu et
// al. 2022, https://www.usenix.org/conference/osdi22/presentation/yu). Prompts cut into chunks that
// ride with the decoding is Sarathi-Serve (Agrawal et al. 2024, https://arxiv.org/abs/2403.02310).
//
// Who is preempted gives its pages back and waits again; later its tokens are computed anew, or
// their keys and values, which were copied to host memory, are copied back. Who came first always
// goes on, so everything ends.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/sched/sequence.h"
#include "common/sched/sequence_memory.h"
#include "common/sched/waiting_queue.h"

namespace aios {

enum class Preemption : uint8_t {
  kRecompute,  // forget the keys and values; compute them again
  kSwap,       // keep them in host memory, as long as there is room; else recompute
};
std::string_view Name(Preemption preemption);  // "recompute"
// Of --preemption's values. Throws InputError, which names them.
Preemption ParsePreemption(std::string_view name);

struct SchedulerOptions {
  Policy policy = Policy::kFirstCome;
  // Admit only when all that were admitted are through: a batch is a fixed set of requests, as many
  // as there are places and pages for.
  bool static_batches = false;
  int64_t max_seqs = 256;          // that have pages at a time
  int64_t max_step_tokens = 2048;  // rows of a step; at least max_seqs
  // Cut prompts. Else each is computed in one step, which must then have room for all of it:
  // Submit refuses what is longer than max_step_tokens, its answer included, which a preemption
  // may make part of what is computed anew.
  bool chunked_prefill = true;
  // With chunked_prefill: rows of a step that are not a running sequence's next token, at most.
  int64_t prefill_chunk = 2048;
  Preemption preemption = Preemption::kRecompute;
  int64_t max_waiting = 4096;  // requests
  // Seconds, 0 or more. Who came longer ago than that is overdue, and has this promise, whatever
  // the policy: nobody who came later is admitted before it or takes pages from it.
  //
  // So nobody starves. Let A be those admitted when a waiting sequence becomes overdue, and B those
  // that came before it, done neither: it is admitted after at most as many plans as A and B have
  // tokens, answers at their longest, who is in both counted twice. (Until then only B is admitted,
  // in the order of coming. In every plan the first of those admitted gets a token, and keeps it:
  // it is never preempted. What else A computed may be lost, but only once.) Not counted are plans
  // in which that first one has_all() and waits for the owner's Finish.
  double patience = 30;
};

// Why a request is not taken.
class Refused : public InputError {
 public:
  enum class Why : uint8_t {
    kDuplicate,  // a request of this id is not done yet
    kTooLong,    // it would never fit
    kBusy,       // too many wait: later it may be taken
  };
  template <typename... Args>
  explicit Refused(Why why, fmt::format_string<Args...> format, Args&&... args)
      : InputError(format, std::forward<Args>(args)...), why_(why) {}
  Why why() const { return why_; }

 private:
  Why why_;
};

// What happened, for those who want to look (--top, --trace-events, a Gantt chart).
struct SchedulerEvent {
  enum class Kind : uint8_t {
    kSubmitted,
    kAdmitted,   // n_tokens: found computed
    kResumed,    // admitted again, or swapped in. n_tokens: that need not be computed
    kComputed,   // n_tokens of a step, from the sequence's n_computed - n_tokens on
    kPreempted,  // n_tokens: computed, to be computed again
    kSwapped,    // preempted; n_tokens: that went to host memory
    kFinished,
    kAborted,
  };
  Kind kind;
  double time = 0;           // seconds of the scheduler's clock
  int64_t step = 0;          // how many were planned before
  const Sequence& sequence;  // valid during the call
  int64_t n_tokens = 0;
};
std::string_view Name(SchedulerEvent::Kind kind);  // "admitted"

// A sequence's rows of a step.
struct ScheduledRows {
  const Sequence* sequence = nullptr;  // valid until it is done
  int64_t begin = 0;                   // the position of the first
  int64_t n_rows = 0;
  // The last row is the last token that there is: the next one is sampled from it.
  bool samples = false;
};

struct StepPlan {
  int64_t step = 0;
  // Those of one row that samples come first: they share kernels.
  std::vector<ScheduledRows> rows = {};
  int64_t n_tokens = 0;                  // rows in all
  std::vector<SequenceId> overdue = {};  // aborted: their deadlines are past; not to be found
};

// Decides from what it knows of the sequences, from memory and from the clock that it is told; does
// no I/O. Time may stand still or jump; going backward, it counts as standing still. Not
// thread-safe. The memory must outlive it.
//
// A plan is taken for done: the next one may be asked for while the step still runs. The owner
// tells when an answer is complete. For its sake, who is preempted by a plan is not in it, and is
// admitted by a later one at the earliest: its last token may still be on its way.
//
// A plan takes some microseconds and does not look at those that wait, however many they are.
//
//   scheduler.Submit({.id = 7, .n_prompt = 100, .max_new_tokens = 20}, now);
//   while (scheduler.n_sequences() > 0) {
//     const StepPlan plan = scheduler.Plan(now);
//     ...                                          // compute it; an end token was sampled for 7
//     scheduler.Finish(7, now);
//   }
class Scheduler {
 public:
  // Throws InputError for options out of range.
  Scheduler(const SchedulerOptions& options, SequenceMemory& memory);
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // Takes a request, or throws Refused; then nothing has changed. REQUIRES: at least one token of
  // prompt and of answer, and a deadline that is a number.
  void Submit(const SequenceRequest& request, double now);
  // What the next step computes, having aborted, preempted and admitted. Empty only if there is
  // nothing that could be computed: no sequence, or those admitted all have_all(), and others wait
  // for what they give back at Finish.
  StepPlan Plan(double now);
  // The answer is complete: its pages are free. What plans still had for it is void. False if there
  // is no such sequence (any more).
  bool Finish(SequenceId id, double now) { return End(id, SequenceState::kFinished, now); }
  // The same for what is cancelled, or failed, in whichever state.
  bool Abort(SequenceId id, double now) { return End(id, SequenceState::kAborted, now); }

  // Those that are not done. nullptr: no such.
  const Sequence* Find(SequenceId id) const;
  void ForEach(const std::function<void(const Sequence&)>& visit) const;  // in no order
  int64_t n_sequences() const { return static_cast<int64_t>(sequences_.size()); }
  int64_t n_waiting() const { return waiting_.size(); }  // preempted ones too
  int64_t n_admitted() const { return static_cast<int64_t>(admitted_.size()); }  // with pages
  const SchedulerOptions& options() const { return options_; }

  // Called at every event, in place of who was called before. The sequence is as it is after it.
  // REQUIRES: does not throw, and calls nothing that changes the scheduler.
  void Observe(std::function<void(const SchedulerEvent&)> observer);

 private:
  void CheckRequest(const SequenceRequest& request) const;

  // The parts of Plan.
  void AbortPastDeadline(StepPlan& plan);
  void MakeRoom();
  void Admit();
  void Fill(StepPlan& plan);

  void Compute(Sequence& sequence, int64_t n_rows, StepPlan& plan);
  bool HasRows(const Sequence& sequence) const;
  bool TryAdmit(Sequence& sequence);
  std::optional<int64_t> TakePages(const Sequence& sequence);
  bool GiveWayTo(const Sequence& urgent);
  void Preempt(Sequence& sequence);
  Sequence& Victim() const;
  bool End(SequenceId id, SequenceState state, double now);

  bool IsSenior(const Sequence& a, const Sequence& b) const;
  void Advance(double now);
  void Emit(SchedulerEvent::Kind kind, const Sequence& sequence, int64_t n_tokens = 0);

  SchedulerOptions options_;
  SequenceMemory& memory_;
  std::unordered_map<SequenceId, std::unique_ptr<Sequence>> sequences_;
  WaitingQueue waiting_;
  // Those with pages, by seniority: the first always goes on, the last is preempted first.
  std::vector<Sequence*> admitted_;
  std::set<std::pair<double, SequenceId>> deadlines_;  // those that are finite
  double now_ = 0;
  int64_t n_submitted_ = 0;
  int64_t n_steps_ = 0;
  bool has_preempted_ = false;  // in this plan

  // Who last found too few pages, and how things were: to ask memory again is of no use until more
  // are free or fewer are admitted.
  struct {
    int64_t order = -1;
    int64_t n_free = 0;
    int64_t n_admitted = 0;
  } stuck_;
  std::function<void(const SchedulerEvent&)> observer_;
};

}  // namespace aios
