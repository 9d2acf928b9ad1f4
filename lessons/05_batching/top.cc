#include "lessons/05_batching/top.h"

#include <fmt/format.h>

#include <algorithm>

#include "lessons/05_batching/timeline.h"

namespace aios::lessons {
namespace {

// As ps has one letter for it.
char Letter(SequenceState state) {
  switch (state) {
    case SequenceState::kWaiting:
      return 'W';
    case SequenceState::kPrefilling:
      return 'P';
    case SequenceState::kRunning:
      return 'R';
    case SequenceState::kPreempted:
      return 'X';
    default:
      return '-';
  }
}

std::string ProcessText(const TopFrame::Process& p) {
  const std::string waiting = p.waiting > 0 ? fmt::format("{:.2f}", p.waiting) : "-";
  return fmt::format("{:>5} {:<12} {:>3} {} {:<10} {:>6} {:>6} {:>5} {:>7.2f} {:>7}\n", p.id,
                     ShortName(p.user), p.priority, Letter(p.state), Name(p.state), p.n_computed,
                     p.n_sampled, p.n_pages, p.age, waiting);
}

}  // namespace

std::string TopText(const TopFrame& frame) {
  const auto count = [&](SequenceState state) {
    return std::ranges::count(frame.processes, state, &TopFrame::Process::state);
  };
  std::string text = fmt::format(
      "top - {:.2f} s, {}; requests: {} waiting, {} prefilling, {} running, {} preempted; {:.1f} "
      "tokens/s\n",
      frame.time, frame.mode, count(SequenceState::kWaiting), count(SequenceState::kPrefilling),
      count(SequenceState::kRunning), count(SequenceState::kPreempted), frame.tokens_per_second);
  text +=
      fmt::format("pages   {} total, {} used ({} shared), {} evictable, {} free; {} swapped out\n",
                  frame.n_pages, frame.n_used, frame.n_shared, frame.n_evictable, frame.n_free,
                  frame.n_swapped);
  text += fmt::format(
      "step    {} rows of {} sequences; {} of {} places taken\n", frame.n_rows, frame.n_seqs,
      count(SequenceState::kPrefilling) + count(SequenceState::kRunning), frame.max_seqs);
  text += "   ID USER          PR S STATE      TOKENS ANSWER PAGES     AGE WAITING\n";
  std::vector<TopFrame::Process> processes = frame.processes;
  std::ranges::sort(processes, {}, &TopFrame::Process::id);
  const size_t n_shown = std::min(processes.size(), kMaxProcesses);
  for (size_t i = 0; i < n_shown; ++i) text += ProcessText(processes[i]);
  if (n_shown < processes.size()) {
    text += fmt::format("      and {} more\n", processes.size() - n_shown);
  }
  for (const std::string& event : frame.events) text += event + "\n";
  return text;
}

std::string EventText(const SchedulerEvent& event, double start) {
  const SequenceRequest& request = event.sequence.request;
  const std::string call = fmt::format("{:>9.3f}  step {:<5} {}({}, {})", event.time - start,
                                       event.step, Name(event.kind), request.id,
                                       request.user.empty() ? "-" : ShortName(request.user));
  switch (event.kind) {
    case SchedulerEvent::Kind::kSubmitted:
      return fmt::format("{} = {} tokens, at most {} new", call, request.n_prompt,
                         request.max_new_tokens);
    case SchedulerEvent::Kind::kAdmitted:
    case SchedulerEvent::Kind::kResumed:
      return fmt::format("{} = {} known", call, event.n_tokens);
    case SchedulerEvent::Kind::kComputed:
      if (event.n_tokens == 1) return "";
      return fmt::format("{} = {} rows", call, event.n_tokens);
    case SchedulerEvent::Kind::kPreempted:
      return fmt::format("{} = {} to compute again", call, event.n_tokens);
    case SchedulerEvent::Kind::kSwapped:
      return fmt::format("{} = {} to host memory", call, event.n_tokens);
    case SchedulerEvent::Kind::kFinished:
    case SchedulerEvent::Kind::kAborted:
      return fmt::format("{} = {} tokens", call, event.sequence.n_sampled);
  }
  return "";
}

void Top::Begin(double start) {
  events_.clear();
  start_ = start;
  next_ = start;
}

void Top::Event(const SchedulerEvent& event) {
  std::string text = EventText(event, start_);
  if (text.empty()) return;
  events_.push_back(std::move(text));
  if (events_.size() > kMaxEvents) events_.pop_front();
}

void Top::Draw(TopFrame frame, double now) {
  frame.events.assign(events_.begin(), events_.end());
  constexpr const char* kHomeAndClear = "\033[H\033[J";
  print_((on_terminal_ ? kHomeAndClear : "") + TopText(frame) + "\n");
  next_ = now + (on_terminal_ ? kOnTerminal : kInFile);
}

}  // namespace aios::lessons
