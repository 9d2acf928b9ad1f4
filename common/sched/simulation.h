// Simulate: a workload through a Scheduler, with a clock that is computed: what a policy does to
// ten thousand requests is known in a second, without a model.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/sched/scheduler.h"
#include "common/sched/workload.h"

namespace aios {

// How long a step takes, from what it must read and compute (lesson 00's roofline), whichever is
// longer, and what it costs to start one.
struct StepCost {
  double bytes_per_s = 0;
  double flops_per_s = 0;
  int64_t weight_bytes = 0;        // read by every step
  int64_t kv_bytes_per_token = 0;  // read for each token that a row attends to
  int64_t flops_per_token = 0;     // 2 x parameters
  double overhead = 0;             // seconds a step
  // keys: that all rows of the step attend to, together.
  double SecondsOf(int64_t n_rows, int64_t n_keys) const;
};

struct SimulatedMemory {
  int64_t n_pages = 0;
  int64_t page_size = 64;
  int64_t n_swap_pages = 0;  // in host memory
};

// What became of a request. Seconds of the simulation's clock.
struct SimulatedResult {
  double arrival = 0;
  double admitted = 0;  // the first time
  double first_token = 0;
  double finished = 0;
  int64_t n_preemptions = 0;
  double longest_gap = 0;  // between two tokens
  bool refused = false;
};

struct SimulationResult {
  std::vector<SimulatedResult> requests;  // as in the workload
  int64_t n_steps = 0;
  int64_t n_rows = 0;  // computed in all; more than prompts and answers by what was recomputed
  double seconds = 0;
  std::vector<double> token_gaps = {};  // between the tokens of each answer, all answers
};

// `look` is called after every plan, with the pages that are free: to check invariants.
SimulationResult Simulate(
    const Workload& workload, const SchedulerOptions& options, const SimulatedMemory& memory,
    const StepCost& cost,
    const std::function<void(const Scheduler&, const StepPlan&, int64_t n_free_pages)>& look = {},
    const std::function<void(const SchedulerEvent&)>& observer = {});

}  // namespace aios
