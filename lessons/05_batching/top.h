// --top: a live view of the engine. Requests as `ps` shows processes, pages as `vmstat` shows
// memory, the scheduler's events as `strace` shows system calls.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/sched/scheduler.h"

namespace aios::lessons {

// What one picture shows.
struct TopFrame {
  struct Process {
    SequenceId id = 0;
    std::string user = {};
    int priority = 0;
    SequenceState state = SequenceState::kWaiting;
    int64_t n_computed = 0;  // tokens whose keys and values are there
    int64_t n_sampled = 0;   // of the answer
    int64_t n_pages = 0;
    double age = 0;      // seconds since it came
    double waiting = 0;  // seconds since it came or was preempted; 0 if it is not waiting
  };

  std::string mode;
  double time = 0;  // seconds since the run began
  std::vector<Process> processes = {};

  int64_t n_pages = 0;
  int64_t n_used = 0;       // by sequences
  int64_t n_shared = 0;     // of them, by several
  int64_t n_evictable = 0;  // kept in case a prompt begins alike
  int64_t n_free = 0;       // neither
  int64_t n_swapped = 0;    // in host memory

  int64_t n_rows = 0;  // of the last step
  int64_t n_seqs = 0;
  int64_t max_seqs = 0;
  double tokens_per_second = 0;  // of answers, since the run began

  std::vector<std::string> events = {};  // the last ones
};

// Processes by id; the first kMaxProcesses.
inline constexpr size_t kMaxProcesses = 24;
std::string TopText(const TopFrame& frame);

// "0.412  step 17  admitted(7, ann) = 64 known". Empty for what happens at every step.
std::string EventText(const SchedulerEvent& event, double start);

// Draws frames: over one another on a terminal, now and then one below the other in a file.
class Top {
 public:
  Top(bool on_terminal, std::function<void(std::string_view)> print)
      : on_terminal_(on_terminal), print_(std::move(print)) {}

  void Begin(double start);  // of a run, in seconds of the engine's clock
  void Event(const SchedulerEvent& event);
  // Whether it is time for another frame: to make one is not free.
  bool IsDue(double now) const { return now >= next_; }
  void Draw(TopFrame frame, double now);

 private:
  static constexpr double kOnTerminal = 0.1;  // seconds between frames
  static constexpr double kInFile = 1;
  static constexpr size_t kMaxEvents = 8;

  bool on_terminal_;
  std::function<void(std::string_view)> print_;
  std::deque<std::string> events_ = {};
  double start_ = 0;
  double next_ = 0;
};

}  // namespace aios::lessons
