// Simulate: a workload through a Scheduler, with a clock that is computed: what a policy does to
// ten thousand requests is known in a second, without a model.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/sched/counted_memory.h"
#include "common/sched/scheduler.h"
#include "common/sched/workload.h"

namespace aios {

// How long a step takes, from what it must read and compute (lesson 00's roofline), whichever is
// longer, and what it costs to start one.
struct StepCost {
  double bytes_per_s = 0;          // more than 0
  double flops_per_s = 0;          // more than 0
  int64_t weight_bytes = 0;        // read by every step
  int64_t kv_bytes_per_token = 0;  // read for each token that is attended to
  int64_t flops_per_token = 0;     // 2 x parameters
  double overhead = 0;             // seconds a step
  // n_keys: tokens that the step's sequences attend to, added up. The rows of one sequence read its
  // keys and values together.
  double SecondsOf(int64_t n_rows, int64_t n_keys) const;
};

// What became of a request. Seconds of the simulation's clock.
struct SimulatedResult {
  double arrival = 0;
  double admitted = 0;  // for the first time
  double first_token = 0;
  double finished = 0;
  int64_t n_preemptions = 0;
  double longest_gap = 0;  // between two tokens
  bool refused = false;    // then nothing else is known of it
};

struct SimulationResult {
  std::vector<SimulatedResult> requests;  // as in the workload
  int64_t n_steps = 0;                    // that computed something
  int64_t n_rows = 0;                     // of all steps: more than there were tokens, by what was
                                          // recomputed, and less by what was found computed
  double seconds = 0;                     // until the last one is finished
  std::vector<double> token_gaps = {};    // between the tokens of each answer, all answers
};

// Every answer is as long as it may be, and finished when its last token is there. Requests arrive
// between steps; their index is their id. The result is the same on every machine but for the
// rounding of times.
//
// `look` is called after every plan, with the pages that are free: to check invariants. `observer`
// sees the scheduler's events. Throws InputError for options out of range.
SimulationResult Simulate(
    const Workload& workload, const SchedulerOptions& options, const SimulatedMemory& memory,
    const StepCost& cost,
    const std::function<void(const Scheduler&, const StepPlan&, int64_t n_free_pages)>& look = {},
    const std::function<void(const SchedulerEvent&)>& observer = {});

// The smallest of the values that is not below p percent of them (the nearest rank): 50 is the
// median, 100 the largest. 0 if there are none.
double Percentile(std::vector<double> values, double p);

}  // namespace aios
