// Timeline: what happened in one run of a workload: who was in which state when, when each token
// came, what each step did. Everything that the lesson shows is drawn from it.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/sched/scheduler.h"

namespace aios::lessons {

// Seconds of a run's clock, which is 0 at its beginning.
struct Span {
  SequenceState state;
  double begin = 0;
  double end = 0;
};

struct RequestLine {
  SequenceId id = 0;
  std::string user;
  int priority = 0;
  int64_t n_prompt = 0;
  double arrival = 0;
  std::vector<Span> spans = {};  // one after the other, from arrival to end
  std::vector<double> token_times = {};
  int64_t n_cached = 0;      // tokens of the prompt that were known when it was admitted first
  int64_t n_recomputed = 0;  // tokens that were computed more than once
  int64_t n_preemptions = 0;

  double end() const { return spans.empty() ? arrival : spans.back().end; }
  double ttft() const { return token_times.empty() ? 0 : token_times.front() - arrival; }
};

struct StepLine {
  double begin = 0;
  double end = 0;
  int64_t n_rows = 0;
  int64_t n_seqs = 0;      // that have rows in it
  int64_t pages_used = 0;  // by sequences
};

struct Timeline {
  std::string mode;
  std::vector<RequestLine> requests = {};  // as they were submitted
  std::vector<StepLine> steps = {};
  // Of those who waited for longer than the patience, how often one saw somebody who came later
  // being admitted first.
  int64_t n_passed_over = 0;
  double seconds = 0;

  int64_t n_tokens() const;  // of all answers
  double tokens_per_second() const { return seconds > 0 ? n_tokens() / seconds : 0; }
  int64_t n_preemptions() const;
  double PrefillSeconds() const;  // during which somebody waited for a first token
  std::vector<double> Ttfts() const;
  std::vector<double> TokenGaps() const;  // between the tokens of each answer, all answers
  double MeanRows() const;                // of a step
  double MeanSeqs() const;
  int64_t MaxPages() const;
};

// As much of a name as a table has room for, without control characters.
std::string ShortName(const std::string& user);

// Makes a timeline of what it is told, in seconds of the engine's clock. Not thread-safe.
class Recorder {
 public:
  // `start`: when the run began. `patience`: as the scheduler was told, or should have been.
  Recorder(std::string mode, double start, double patience);

  // To be told before the scheduler is. `arrival` is when it came, perhaps during a step: earlier
  // than it can be submitted.
  void Arrived(const SequenceRequest& request, double arrival);
  void Event(const SchedulerEvent& event);
  void Token(SequenceId id, double now);
  void Step(StepLine step);  // when it is over
  Timeline Take(double now);

 private:
  void Enter(RequestLine& line, SequenceState state, double now);
  void Leave(SequenceId id, double now);

  double start_;
  double patience_;
  Timeline timeline_;
  std::unordered_map<SequenceId, size_t> lines_;  // where in timeline_.requests
  std::vector<SequenceId> waiting_ = {};
  // Whose prompts are complete with the step that runs: until its end they are prefilling.
  std::vector<SequenceId> prefilled_ = {};
};

}  // namespace aios::lessons
