#include "lessons/05_batching/timeline.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "common/base/error.h"
#include "common/base/utf8.h"

namespace aios::lessons {
namespace {

double MeanOf(const std::vector<StepLine>& steps, int64_t StepLine::*count) {
  int64_t n = 0;
  for (const StepLine& step : steps) n += step.*count;
  return steps.empty() ? 0 : static_cast<double>(n) / static_cast<double>(steps.size());
}

}  // namespace

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

double Timeline::PrefillSeconds() const {
  double covered = 0;
  double until = 0;
  for (const RequestLine& line : requests) {  // by arrival
    if (line.token_times.empty()) continue;
    covered += std::max(0.0, line.token_times.front() - std::max(until, line.arrival));
    until = std::max(until, line.token_times.front());
  }
  return covered;
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

double Timeline::MeanRows() const { return MeanOf(steps, &StepLine::n_rows); }
double Timeline::MeanSeqs() const { return MeanOf(steps, &StepLine::n_seqs); }

int64_t Timeline::MaxPages() const {
  int64_t most = 0;
  for (const StepLine& step : steps) most = std::max(most, step.pages_used);
  return most;
}

std::string ShortName(const std::string& user) {
  constexpr size_t kLongest = 12;
  const std::string name = Escaped(user);
  size_t end = 0;
  for (size_t n = 0; n < kLongest && end < name.size(); ++n) {
    end += DecodeUtf8(std::string_view(name).substr(end)).length;
  }
  return name.substr(0, end);
}

Recorder::Recorder(std::string mode, double start, double patience)
    : start_(start), patience_(patience) {
  timeline_.mode = std::move(mode);
}

void Recorder::Arrived(const SequenceRequest& request, double arrival) {
  arrival -= start_;
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
  const double now = event.time - start_;
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
        if (lines_.at(other) < found->second && now - passed.arrival > patience_) {
          ++timeline_.n_passed_over;
        }
      }
      return Enter(line, event.sequence.state, now);
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
      return Enter(line, event.sequence.state, now);
    case SchedulerEvent::Kind::kFinished:
    case SchedulerEvent::Kind::kAborted:
      return Leave(id, now);
  }
}

void Recorder::Token(SequenceId id, double now) {
  const auto found = lines_.find(id);
  if (found == lines_.end()) return;
  timeline_.requests[found->second].token_times.push_back(now - start_);
}

void Recorder::Step(StepLine step) {
  step.begin -= start_;
  step.end -= start_;
  timeline_.steps.push_back(step);
  for (const SequenceId id : std::exchange(prefilled_, {})) {
    Enter(timeline_.requests[lines_.at(id)], SequenceState::kRunning, step.end);
  }
}

Timeline Recorder::Take(double now) {
  timeline_.seconds = now - start_;
  return std::move(timeline_);
}

}  // namespace aios::lessons
