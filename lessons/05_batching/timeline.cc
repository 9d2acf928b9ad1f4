#include "lessons/05_batching/timeline.h"

#include <algorithm>
#include <utility>

namespace aios::lessons {

int64_t Timeline::n_tokens() const {
  int64_t n = 0;
  for (const RequestLine& line : requests) n += static_cast<int64_t>(line.token_times.size());
  return n;
}

int64_t Timeline::n_preemptions() const {
  int64_t n = 0;
  for (const RequestLine& line : requests) n += line.n_preemptions;
  return n;
}

std::vector<double> Timeline::Ttfts() const {
  std::vector<double> ttfts;
  for (const RequestLine& line : requests) {
    if (!line.token_times.empty()) ttfts.push_back(line.ttft());
  }
  return ttfts;
}

std::vector<double> Timeline::TokenGaps() const {
  std::vector<double> gaps;
  for (const RequestLine& line : requests) {
    for (size_t i = 1; i < line.token_times.size(); ++i) {
      gaps.push_back(line.token_times[i] - line.token_times[i - 1]);
    }
  }
  return gaps;
}

double Timeline::MeanRows() const {
  int64_t n = 0;
  for (const StepLine& step : steps) n += step.n_rows;
  return steps.empty() ? 0 : static_cast<double>(n) / static_cast<double>(steps.size());
}

double Timeline::MeanSeqs() const {
  int64_t n = 0;
  for (const StepLine& step : steps) n += step.n_seqs;
  return steps.empty() ? 0 : static_cast<double>(n) / static_cast<double>(steps.size());
}

int64_t Timeline::MaxPages() const {
  int64_t most = 0;
  for (const StepLine& step : steps) most = std::max(most, step.pages_used);
  return most;
}

Recorder::Recorder(std::string mode, double patience) : patience_(patience) {
  timeline_.mode = std::move(mode);
}

void Recorder::Arrived(const SequenceRequest& request, double arrival) {
  lines_[request.id] = timeline_.requests.size();
  timeline_.requests.push_back({.id = request.id,
                                .user = request.user,
                                .priority = request.priority,
                                .n_prompt = request.n_prompt,
                                .arrival = arrival,
                                .spans = {{SequenceState::kWaiting, arrival, arrival}}});
  waiting_.push_back(request.id);
}

void Recorder::Enter(RequestLine& line, SequenceState state, double now) {
  line.spans.back().end = now;
  if (state != line.spans.back().state) line.spans.push_back({state, now, now});
}

void Recorder::Leave(SequenceId id, double now) {
  std::erase(waiting_, id);
  std::erase(prefilled_, id);
  timeline_.requests[lines_.at(id)].spans.back().end = now;
}

void Recorder::Event(const SchedulerEvent& event) {
  const SequenceId id = event.sequence.request.id;
  const auto found = lines_.find(id);
  if (found == lines_.end()) return;  // not of this workload
  RequestLine& line = timeline_.requests[found->second];
  switch (event.kind) {
    case SchedulerEvent::Kind::kSubmitted:
      return;
    case SchedulerEvent::Kind::kAdmitted:
      line.n_cached = event.n_tokens;
      [[fallthrough]];
    case SchedulerEvent::Kind::kResumed:
      std::erase(waiting_, id);
      for (const SequenceId other : waiting_) {
        const RequestLine& passed = timeline_.requests[lines_.at(other)];
        if (lines_.at(other) < found->second && event.time - passed.arrival > patience_) {
          ++timeline_.n_passed_over;
        }
      }
      return Enter(line, event.sequence.state, event.time);
    case SchedulerEvent::Kind::kComputed:
      if (line.spans.back().state == SequenceState::kPrefilling &&
          event.sequence.state == SequenceState::kRunning) {
        prefilled_.push_back(id);
      }
      return;
    case SchedulerEvent::Kind::kPreempted:
      line.n_recomputed += event.n_tokens;
      [[fallthrough]];
    case SchedulerEvent::Kind::kSwapped:
      ++line.n_preemptions;
      std::erase(prefilled_, id);
      if (!event.sequence.has_all()) waiting_.push_back(id);
      return Enter(line, event.sequence.state, event.time);
    case SchedulerEvent::Kind::kFinished:
    case SchedulerEvent::Kind::kAborted:
      return Leave(id, event.time);
  }
}

void Recorder::Token(SequenceId id, double now) {
  const auto found = lines_.find(id);
  if (found != lines_.end()) timeline_.requests[found->second].token_times.push_back(now);
}

void Recorder::Step(const StepLine& step) {
  timeline_.steps.push_back(step);
  for (const SequenceId id : std::exchange(prefilled_, {})) {
    Enter(timeline_.requests[lines_.at(id)], SequenceState::kRunning, step.end);
  }
}

Timeline Recorder::Take(double now) {
  timeline_.seconds = now;
  return std::move(timeline_);
}

}  // namespace aios::lessons
