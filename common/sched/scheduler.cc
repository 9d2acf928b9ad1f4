#include "common/sched/scheduler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/base/check.h"

namespace aios {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

const SchedulerOptions& Checked(const SchedulerOptions& o) {
  const auto at_least = [](const char* name, int64_t value, int64_t least) {
    if (value < least) throw InputError("scheduler: {} is {}, less than {}", name, value, least);
  };
  at_least("max_seqs", o.max_seqs, 1);
  at_least("prefill_chunk", o.prefill_chunk, 1);
  at_least("max_waiting", o.max_waiting, 1);
  if (o.max_step_tokens < o.max_seqs) {
    throw InputError(
        "scheduler: max_step_tokens is {}, less than max_seqs, {}: a step has a row for each "
        "sequence",
        o.max_step_tokens, o.max_seqs);
  }
  if (!(o.patience >= 0)) {
    throw InputError("scheduler: patience is {}; it must be 0 seconds or more", o.patience);
  }
  return o;
}

int64_t RowsToCompute(const Sequence& s) { return s.n_tokens() - s.n_computed; }

// Its next step computes one token and gives one. A prompt of one token is still a prompt.
bool IsDecoding(const Sequence& s) { return s.n_sampled > 0 && RowsToCompute(s) == 1; }

bool IsAdmitted(const Sequence& s) {
  return s.state == SequenceState::kPrefilling || s.state == SequenceState::kRunning;
}

// Who was preempted when it had all waits for the owner alone.
bool IsInQueue(const Sequence& s) { return !IsAdmitted(s) && !s.has_all(); }

// Pages that stay free beside so many when another one is admitted: one for every two. Else what is
// admitted now would soon be preempted by them. In a simulation (10,000 prompts and answers of 100
// to 1,024 tokens, 2,500 pages of 64) none to spare gives 12% fewer tokens a second, as 33% more
// rows are computed, and one for each gives 1% fewer, as fewer run.
int64_t PagesToSpare(int64_t n_others) { return (n_others + 1) / 2; }

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options, SequenceMemory& memory)
    : options_(Checked(options)), memory_(memory), waiting_(options.policy, options.patience) {}

// ---- A step ------------------------------------------------------------------------------------

StepPlan Scheduler::Plan(double now) {
  Advance(now);
  has_preempted_ = false;
  StepPlan plan = {.step = n_steps_};
  AbortPastDeadline(plan);
  MakeRoom();
  Admit();
  Fill(plan);
  ++n_steps_;
  return plan;
}

void Scheduler::AbortPastDeadline(StepPlan& plan) {
  while (!deadlines_.empty() && deadlines_.begin()->first < now_) {
    plan.overdue.push_back(deadlines_.begin()->second);
    Abort(plan.overdue.back(), now_);
  }
}

// Memory for all tokens that there are: of a running sequence, one more than at the last step.
// Prefilling ones have had it since they were admitted.
void Scheduler::MakeRoom() {
  if (options_.policy == Policy::kPriority) {  // seniority changes as sequences become overdue
    std::ranges::sort(admitted_, [&](auto* a, auto* b) { return IsSenior(*a, *b); });
  }
  for (Sequence* s : std::vector(admitted_)) {
    while (IsAdmitted(*s) && !s->has_all() && !memory_.Reserve(*s, s->n_tokens())) {
      Preempt(Victim());  // at last s itself
    }
  }
}

// In the order of the queue, without exception: who is first and does not fit is not passed by
// smaller ones, else it might never fit.
void Scheduler::Admit() {
  if (options_.static_batches && !admitted_.empty()) return;
  // A plan that has preempted admits nobody else: pages are short, and who was preempted waits for
  // the next plan.
  while (!has_preempted_) {
    Sequence* next = waiting_.First(now_);
    if (next == nullptr || !HasRows(*next)) return;
    while (!TryAdmit(*next)) {
      if (!GiveWayTo(*next)) return;
    }
  }
}

// Next tokens first: a step has a row for every sequence that may be admitted. Then chunks: at
// least one row is left for the first that is prefilling.
void Scheduler::Fill(StepPlan& plan) {
  plan.rows.reserve(admitted_.size());
  for (Sequence* s : admitted_) {
    if (s->state == SequenceState::kRunning && !s->has_all()) Compute(*s, 1, plan);
  }

  int64_t n_left = options_.max_step_tokens - plan.n_tokens;
  if (options_.chunked_prefill) n_left = std::min(n_left, options_.prefill_chunk);
  for (Sequence* s : admitted_) {
    if (s->state != SequenceState::kPrefilling) continue;
    const bool fits = RowsToCompute(*s) <= n_left;
    if (n_left == 0 || (!fits && !options_.chunked_prefill)) break;
    const int64_t n_rows = fits ? RowsToCompute(*s) : n_left;
    Compute(*s, n_rows, plan);
    n_left -= n_rows;
  }
  std::stable_partition(plan.rows.begin(), plan.rows.end(),
                        [](const ScheduledRows& r) { return r.n_rows == 1 && r.samples; });
}

void Scheduler::Compute(Sequence& s, int64_t n_rows, StepPlan& plan) {
  const bool samples = n_rows == RowsToCompute(s);
  plan.rows.push_back(
      {.sequence = &s, .begin = s.n_computed, .n_rows = n_rows, .samples = samples});
  plan.n_tokens += n_rows;
  s.n_computed += n_rows;
  if (samples) {
    ++s.n_sampled;
    s.state = SequenceState::kRunning;
    waiting_.Serve(s.request.user, 1);
  }
  Emit(SchedulerEvent::Kind::kComputed, s, n_rows);
}

// ---- Admission ---------------------------------------------------------------------------------

// Whether the step has rows left for it, when those that come first have theirs.
bool Scheduler::HasRows(const Sequence& next) const {
  if (options_.static_batches) return true;  // they are admitted together, and take turns
  int64_t n_decoding = 0;
  int64_t n_before = 0;
  for (const Sequence* s : admitted_) {
    if (s->has_all()) continue;
    if (s->state == SequenceState::kRunning) {
      ++n_decoding;
    } else if (!options_.chunked_prefill || IsSenior(*s, next)) {
      n_before += RowsToCompute(*s);
    }
  }
  const int64_t n_left = options_.max_step_tokens - n_decoding;
  if (options_.chunked_prefill) return n_before < std::min(n_left, options_.prefill_chunk);
  return n_before + RowsToCompute(next) <= n_left;  // as if nothing of it were cached
}

bool Scheduler::TryAdmit(Sequence& s) {
  if (n_admitted() == options_.max_seqs) return false;
  if (stuck_.order == s.order && memory_.n_free() <= stuck_.n_free &&
      n_admitted() >= stuck_.n_admitted) {
    return false;
  }
  const std::optional<int64_t> n_found = TakePages(s);
  if (!n_found.has_value()) {
    stuck_ = {.order = s.order, .n_free = memory_.n_free(), .n_admitted = n_admitted()};
    return false;
  }
  const bool is_first_time = s.state == SequenceState::kWaiting;
  // A user pays for a prompt once: that it may be computed again is not the user's doing.
  if (is_first_time) waiting_.Serve(s.request.user, s.n_tokens() - *n_found);
  waiting_.Remove(s);
  if (!s.is_swapped) s.n_cached = *n_found;
  s.n_computed = *n_found;
  s.is_swapped = false;
  s.state = IsDecoding(s) ? SequenceState::kRunning : SequenceState::kPrefilling;
  const auto senior = [&](const Sequence* a, const Sequence* b) { return IsSenior(*a, *b); };
  admitted_.insert(std::ranges::upper_bound(admitted_, &s, senior), &s);
  Emit(is_first_time ? SchedulerEvent::Kind::kAdmitted : SchedulerEvent::Kind::kResumed, s,
       s.n_computed);
  return true;
}

// Pages for all its tokens, so that they can be computed without another look at memory. Returns
// how many tokens are computed.
std::optional<int64_t> Scheduler::TakePages(const Sequence& s) {
  const int64_t n_needed = PagesFor(memory_, s.n_tokens()) + PagesToSpare(n_admitted());
  int64_t n_found = s.n_computed;
  if (s.is_swapped) {
    if (memory_.n_free() < n_needed || !memory_.SwapIn(s)) return std::nullopt;
  } else {
    n_found = memory_.Open(s);
    if (memory_.n_free() < n_needed - n_found / memory_.page_size()) {
      memory_.Close(s);
      return std::nullopt;
    }
  }
  const bool has_room = memory_.Reserve(s, s.n_tokens());
  AIOS_CHECK(has_room, "{} pages are free, and no {} of them for sequence {}", memory_.n_free(),
             n_needed, s.request.id);
  return n_found;
}

// For Policy::kPriority: preempts one that is less urgent and not overdue. False if there is none,
// or if all of them together have too few pages.
bool Scheduler::GiveWayTo(const Sequence& urgent) {
  if (options_.policy != Policy::kPriority || options_.static_batches) return false;
  int64_t n_pages = memory_.n_free();
  int64_t n_less_urgent = 0;
  for (const Sequence* s : admitted_) {
    if (s->request.priority <= urgent.request.priority || waiting_.IsOverdue(*s, now_)) continue;
    n_pages += PagesFor(memory_, s->n_tokens());
    ++n_less_urgent;
  }
  const int64_t n_needed =
      PagesFor(memory_, urgent.n_tokens()) + PagesToSpare(n_admitted() - n_less_urgent);
  if (n_less_urgent == 0 || n_pages < n_needed) return false;
  Preempt(*admitted_.back());  // by seniority, they are the last
  return true;
}

// ---- Preemption, and other ends ----------------------------------------------------------------

// Who has all needs no step more and loses nothing; else the one with the least seniority.
Sequence& Scheduler::Victim() const {
  const auto has_all =
      std::find_if(admitted_.rbegin(), admitted_.rend(), [](auto* s) { return s->has_all(); });
  return has_all == admitted_.rend() ? *admitted_.back() : **has_all;
}

void Scheduler::Preempt(Sequence& s) {
  has_preempted_ = true;
  std::erase(admitted_, &s);
  const int64_t n_computed = s.has_all() ? 0 : s.n_computed;  // that will be needed again
  s.is_swapped = options_.preemption == Preemption::kSwap && n_computed > 0 && memory_.SwapOut(s);
  if (!s.is_swapped) {
    memory_.Close(s);
    s.n_computed = 0;
  }
  s.state = SequenceState::kPreempted;
  s.waiting_since = now_;
  ++s.n_preemptions;
  if (IsInQueue(s)) waiting_.Push(s);
  Emit(s.is_swapped ? SchedulerEvent::Kind::kSwapped : SchedulerEvent::Kind::kPreempted, s,
       n_computed);
}

bool Scheduler::End(SequenceId id, SequenceState state, double now) {
  Advance(now);
  const auto at = sequences_.find(id);
  if (at == sequences_.end()) return false;
  Sequence& s = *at->second;
  if (IsAdmitted(s) || s.is_swapped) memory_.Close(s);
  if (IsAdmitted(s)) std::erase(admitted_, &s);
  if (IsInQueue(s)) waiting_.Remove(s);
  deadlines_.erase({s.request.deadline, id});
  s.state = state;
  Emit(state == SequenceState::kFinished ? SchedulerEvent::Kind::kFinished
                                         : SchedulerEvent::Kind::kAborted,
       s);
  sequences_.erase(at);
  return true;
}

// Who goes on if there is not enough for both. Who is overdue goes before who is not; of the rest,
// who is more urgent if priorities count; else who came first.
bool Scheduler::IsSenior(const Sequence& a, const Sequence& b) const {
  const auto rank = [&](const Sequence& s) {
    const bool counts = options_.policy == Policy::kPriority && !waiting_.IsOverdue(s, now_);
    return std::pair(counts ? s.request.priority : std::numeric_limits<int64_t>::min(), s.order);
  };
  return rank(a) < rank(b);
}

// ---- Requests ----------------------------------------------------------------------------------

void Scheduler::Submit(const SequenceRequest& request, double now) {
  AIOS_CHECK(request.n_prompt >= 1 && request.max_new_tokens >= 1,
             "request {}: a prompt of {} tokens and an answer of {}", request.id, request.n_prompt,
             request.max_new_tokens);
  AIOS_CHECK(!std::isnan(request.deadline), "request {}", request.id);
  Advance(now);
  CheckRequest(request);
  auto sequence = std::make_unique<Sequence>();
  Sequence& s = *sequence;
  s.request = request;
  s.order = n_submitted_++;
  s.arrival = s.waiting_since = now_;
  sequences_.emplace(request.id, std::move(sequence));
  if (request.deadline < kNever) deadlines_.emplace(request.deadline, request.id);
  waiting_.Push(s);
  Emit(SchedulerEvent::Kind::kSubmitted, s);
}

void Scheduler::CheckRequest(const SequenceRequest& r) const {
  if (sequences_.contains(r.id)) {
    throw Refused(Refused::Why::kDuplicate,
                  "request {}: another one of this id is not done yet; take another id", r.id);
  }
  const int64_t n_slots = memory_.n_pages() * memory_.page_size();
  if (r.max_new_tokens > n_slots - r.n_prompt) {  // their sum may be out of range
    throw Refused(Refused::Why::kTooLong,
                  "request {}: a prompt of {} tokens and an answer of {} do not fit into the "
                  "cache's {} pages of {} tokens, even alone; ask for less",
                  r.id, r.n_prompt, r.max_new_tokens, memory_.n_pages(), memory_.page_size());
  }
  if (!options_.chunked_prefill && r.max_new_tokens > options_.max_step_tokens - r.n_prompt) {
    throw Refused(Refused::Why::kTooLong,
                  "request {}: a prompt of {} tokens and an answer of {} do not fit into a step of "
                  "{} tokens, and prompts are not cut; ask for less, or have prompts cut",
                  r.id, r.n_prompt, r.max_new_tokens, options_.max_step_tokens);
  }
  if (n_waiting() >= options_.max_waiting) {
    throw Refused(Refused::Why::kBusy,
                  "request {}: {} requests wait, and no more than {} may; try again later", r.id,
                  n_waiting(), options_.max_waiting);
  }
}

const Sequence* Scheduler::Find(SequenceId id) const {
  const auto at = sequences_.find(id);
  return at == sequences_.end() ? nullptr : at->second.get();
}

void Scheduler::ForEach(const std::function<void(const Sequence&)>& visit) const {
  for (const auto& [id, sequence] : sequences_) visit(*sequence);
}

// ---- Time and events ---------------------------------------------------------------------------

void Scheduler::Advance(double now) {
  if (now > now_) now_ = now;
}

void Scheduler::Observe(std::function<void(const SchedulerEvent&)> observer) {
  observer_ = std::move(observer);
}

void Scheduler::Emit(SchedulerEvent::Kind kind, const Sequence& sequence, int64_t n_tokens) {
  if (!observer_) return;
  observer_(
      {.kind = kind, .time = now_, .step = n_steps_, .sequence = sequence, .n_tokens = n_tokens});
}

std::string_view Name(SchedulerEvent::Kind kind) {
  switch (kind) {
    case SchedulerEvent::Kind::kSubmitted:
      return "submitted";
    case SchedulerEvent::Kind::kAdmitted:
      return "admitted";
    case SchedulerEvent::Kind::kResumed:
      return "resumed";
    case SchedulerEvent::Kind::kComputed:
      return "computed";
    case SchedulerEvent::Kind::kPreempted:
      return "preempted";
    case SchedulerEvent::Kind::kSwapped:
      return "swapped";
    case SchedulerEvent::Kind::kFinished:
      return "finished";
    case SchedulerEvent::Kind::kAborted:
      return "aborted";
  }
  return "?";
}

std::string_view Name(Preemption preemption) {
  return preemption == Preemption::kSwap ? "swap" : "recompute";
}

Preemption ParsePreemption(std::string_view name) {
  for (const Preemption preemption : {Preemption::kRecompute, Preemption::kSwap}) {
    if (name == Name(preemption)) return preemption;
  }
  throw InputError("preemption {}: there is no such; take recompute or swap", Quoted(name));
}

}  // namespace aios
