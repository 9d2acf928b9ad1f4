#include "common/sched/simulation.h"

#include <algorithm>
#include <cmath>

#include "common/base/check.h"

namespace aios {
namespace {

// Tokens that the sequences of the plan attend to: up to the last row of each, once.
int64_t KeysOf(const StepPlan& plan) {
  int64_t n_keys = 0;
  for (const ScheduledRows& rows : plan.rows) n_keys += rows.begin + rows.n_rows;
  return n_keys;
}

}  // namespace

double StepCost::SecondsOf(int64_t n_rows, int64_t n_keys) const {
  AIOS_CHECK(bytes_per_s > 0 && flops_per_s > 0);
  const double n_bytes = static_cast<double>(weight_bytes) +
                         static_cast<double>(n_keys) * static_cast<double>(kv_bytes_per_token);
  const double n_flops = static_cast<double>(n_rows) * static_cast<double>(flops_per_token);
  return std::max(n_bytes / bytes_per_s, n_flops / flops_per_s) + overhead;
}

SimulationResult Simulate(
    const Workload& workload, const SchedulerOptions& options, const SimulatedMemory& memory,
    const StepCost& cost,
    const std::function<void(const Scheduler&, const StepPlan&, int64_t n_free_pages)>& look,
    const std::function<void(const SchedulerEvent&)>& observer) {
  CountedMemory pages(memory, workload);
  Scheduler scheduler(options, pages);
  SimulationResult result;
  result.requests.resize(workload.size());
  scheduler.Observe([&](const SchedulerEvent& event) {
    if (event.kind == SchedulerEvent::Kind::kAdmitted) {
      result.requests[event.sequence.request.id].admitted = event.time;
    }
    if (observer) observer(event);
  });

  double now = 0;
  size_t n_arrived = 0;
  const auto arrive = [&](const WorkloadRequest& r) {
    result.requests[n_arrived].arrival = r.arrival;
    try {
      scheduler.Submit({.id = n_arrived,
                        .user = r.user,
                        .priority = r.priority,
                        .n_prompt = r.n_prompt,
                        .max_new_tokens = r.n_output},
                       now);
    } catch (const Refused&) {
      result.requests[n_arrived].refused = true;
    }
    ++n_arrived;
  };
  std::vector<double> last_token(workload.size());
  const auto take_token = [&](const Sequence& sequence) {
    const SequenceId id = sequence.request.id;
    SimulatedResult& r = result.requests[id];
    if (sequence.n_sampled == 1) {
      r.first_token = now;
    } else {
      result.token_gaps.push_back(now - last_token[id]);
      r.longest_gap = std::max(r.longest_gap, now - last_token[id]);
    }
    last_token[id] = now;
    if (!sequence.has_all()) return;
    r.finished = now;
    r.n_preemptions = sequence.n_preemptions;
    scheduler.Finish(id, now);
  };

  while (true) {
    while (n_arrived < workload.size() && workload[n_arrived].arrival <= now) {
      arrive(workload[n_arrived]);
    }
    const StepPlan plan = scheduler.Plan(now);
    if (look) look(scheduler, plan, pages.n_free());
    if (plan.rows.empty()) {
      AIOS_CHECK(scheduler.n_sequences() == 0, "{} sequences wait for nothing",
                 scheduler.n_sequences());
      if (n_arrived == workload.size()) break;
      now = workload[n_arrived].arrival;
      continue;
    }
    ++result.n_steps;
    result.n_rows += plan.n_tokens;
    now += cost.SecondsOf(plan.n_tokens, KeysOf(plan));
    for (const ScheduledRows& rows : plan.rows) {
      if (rows.samples) take_token(*rows.sequence);
    }
  }
  result.seconds = now;
  return result;
}

double Percentile(std::vector<double> values, double p) {
  if (values.empty()) return 0;
  const auto n = static_cast<double>(values.size());
  const auto rank = static_cast<int64_t>(std::ceil(n * std::clamp(p, 0.0, 100.0) / 100));
  const auto at = values.begin() + std::max<int64_t>(rank - 1, 0);
  std::ranges::nth_element(values, at);
  return *at;
}

}  // namespace aios
