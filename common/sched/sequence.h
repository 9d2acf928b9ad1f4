// Sequence: a request as the scheduler sees it: lengths, a state, and what it may claim. No tokens,
// no model.
//
// In the operating system of the analogy: a process's entry in the process table.
//
//               admitted                prompt computed                 its last token is taken
//   waiting ----------------> prefilling ----------------> running ----------------------> finished
//                               |    ^                      |  ^
//                  no pages left|    |readmitted            |  |swapped in
//                               v    |(recomputes)          |  |(recomputes nothing)
//                              preempted <------------------+  |
//                                  +---------------------------+
//
//   any of them but finished ---- cancelled, past its deadline, failed ----> aborted
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace aios {

using SequenceId = uint64_t;

enum class SequenceState : uint8_t {
  kWaiting,     // has no pages yet
  kPrefilling,  // has pages; tokens that are known are still to be computed
  kRunning,     // a token a step
  kPreempted,   // had to give its pages back; waits to go on
  kFinished,
  kAborted,
};
std::string_view Name(SequenceState state);  // "waiting"

// What is asked for.
struct SequenceRequest {
  SequenceId id = 0;           // unique among those that are not done
  std::string user = {};       // who shares fairly with whom
  int priority = 0;            // smaller is more urgent, as nice(1) has it
  int64_t n_prompt = 0;        // tokens, at least 1
  int64_t max_new_tokens = 0;  // at least 1
  double deadline = std::numeric_limits<double>::infinity();  // seconds of the scheduler's clock
};

// The scheduler changes it; all others read.
struct Sequence {
  SequenceRequest request;
  SequenceState state = SequenceState::kWaiting;

  int64_t order = 0;         // how many were submitted before it: who came first
  double arrival = 0;        // seconds of the scheduler's clock
  double waiting_since = 0;  // arrival, or the last preemption; patience counts from arrival
  int64_t n_cached = 0;      // of its tokens, those that it found computed when it was admitted
  // Tokens whose keys and values are computed, or will be by steps that were planned.
  int64_t n_computed = 0;
  // Tokens of the answer that were sampled, or will be by steps that were planned.
  int64_t n_sampled = 0;
  int64_t n_preemptions = 0;
  bool is_swapped = false;  // preempted, with its keys and values kept in host memory

  // Tokens that there are: n_computed of them are behind it.
  int64_t n_tokens() const { return request.n_prompt + n_sampled; }
  // Tokens of prompt and answer when the answer is as long as it may be.
  int64_t max_tokens() const { return request.n_prompt + request.max_new_tokens; }
  // No step after those that were planned: its last token is on its way. It keeps its pages until
  // the owner finishes it, unless others need them.
  bool has_all() const { return n_sampled == request.max_new_tokens; }
};

}  // namespace aios
