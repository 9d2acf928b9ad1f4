#include "lessons/05_batching/simulate.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <vector>

#include "common/base/error.h"
#include "common/model/model.h"
#include "common/model/shapes.h"
#include "common/profile/machine_profile.h"
#include "common/profile/roofline.h"
#include "common/sched/simulation.h"
#include "common/sched/workload.h"
#include "lessons/05_batching/jobs.h"

namespace aios::lessons {
namespace {

constexpr std::array kPolicies = {Policy::kFirstCome, Policy::kPriority, Policy::kShortestRemaining,
                                  Policy::kFairShare};

// A model on a device, as the simulation needs it.
struct Subject {
  std::string model;
  std::string device;
  bool on_gpu = false;
  StepCost cost;
  int64_t max_context = 0;
};

Subject OpenSubject(const Flags& flags, const std::string& argv0) {
  ModelConfig config;
  ModelSize size;
  if (!flags.lesson.random_weights.empty()) {
    config = ShapeNamed(flags.lesson.random_weights);
    size = SizeOf(config, DType::kBF16);
  } else {  // its header is read, and no weight
    const Model model =
        Model::Load(flags.lesson.model.empty() ? DefaultModel(argv0)
                                               : std::filesystem::path(flags.lesson.model));
    config = model.config();
    size = SizeOf(config, model.weights());
  }
  const int n_threads = flags.lesson.threads > 0 ? flags.lesson.threads : ProbeMachine().n_cores;
  std::vector<DeviceLimits> devices =
      LimitsOf(ProfileMachine(n_threads, ProfileFolder(), /*again=*/false));
  if (flags.lesson.backend == "cpu") devices.resize(1);
  if (flags.lesson.backend == "cuda" && devices.size() == 1) {
    throw InputError("--backend cuda: there is no GPU here whose limits could be measured");
  }
  const DeviceLimits& device = devices.size() > 1 ? devices[1] : devices[0];
  const DType kv = device.is_gpu ? DType::kBF16 : DType::kF32;
  constexpr double kOverhead = 50e-6;  // seconds: to plan a step, and to start it
  return {.model = config.name.empty() ? flags.lesson.random_weights : config.name,
          .device = device.name,
          .on_gpu = device.is_gpu,
          .cost = {.bytes_per_s = device.read_bytes_s,
                   .flops_per_s = device.flop_s,
                   .weight_bytes = size.n_bytes(),
                   .kv_bytes_per_token = KvBytesPerToken(config, kv),
                   .flops_per_token = 2 * size.n_params(),
                   .overhead = kOverhead},
          .max_context = config.max_context};
}

// Requests a second that keep the places taken for 95% of the time.
double RateFor(const WorkloadShape& shape, const StepCost& cost, const SchedulerOptions& options) {
  const double n_prompt = static_cast<double>(shape.min_prompt + shape.max_prompt) / 2;
  const double n_output = static_cast<double>(shape.min_output + shape.max_output) / 2;
  const auto n_seqs = static_cast<double>(options.max_seqs);
  // A request has its place for a chunk a step, then for a token a step; meanwhile each step has
  // its share of everybody's rows.
  const double n_steps = n_prompt / static_cast<double>(options.prefill_chunk) + n_output;
  const double n_rows = n_seqs * (n_prompt + n_output) / n_steps;
  const double n_keys = n_seqs * (n_prompt + n_output / 2);
  const double seconds = cost.SecondsOf(static_cast<int64_t>(n_rows), static_cast<int64_t>(n_keys));
  return 0.95 * n_seqs / (n_steps * seconds);
}

// Four users; one of them asks for as much as the three others together, and a heap at a time.
Workload Draw(const Flags& flags, const StepCost& cost, const SchedulerOptions& options) {
  WorkloadShape shape = {.n_requests = flags.n_simulated,
                         .min_prompt = 16,
                         .max_prompt = 512,
                         .min_output = 8,
                         .max_output = 256,
                         .n_users = 6,
                         .n_priorities = 3};
  shape.requests_per_second = RateFor(shape, cost, options);
  Workload workload = DrawWorkload(shape, flags.lesson.seed);
  constexpr size_t kHeap = 200;  // requests of all users, in the time of one heap
  for (size_t i = 0; i < workload.size(); ++i) {
    WorkloadRequest& request = workload[i];
    request.arrival *= flags.time_scale;
    if (request.user != "user-0" && request.user < "user-4") continue;
    request.user = "user-0";
    request.arrival = workload[i / kHeap * kHeap].arrival;
  }
  std::ranges::stable_sort(workload, {}, &WorkloadRequest::arrival);
  return workload;
}

struct PolicyFigures {
  int64_t n_refused = 0;
  int64_t n_preemptions = 0;
  double longest_wait = 0;
  std::vector<double> ttfts = {};
  std::vector<double> urgent = {};                          // of the most urgent priority
  std::map<std::string, std::vector<double>> by_user = {};  // times to first token
};

PolicyFigures FiguresOf(const Workload& workload, const SimulationResult& result) {
  PolicyFigures figures;
  int most_urgent = workload.front().priority;
  for (const WorkloadRequest& r : workload) most_urgent = std::min(most_urgent, r.priority);
  for (size_t i = 0; i < workload.size(); ++i) {
    const SimulatedResult& r = result.requests[i];
    if (r.refused) {
      ++figures.n_refused;
      continue;
    }
    const double ttft = r.first_token - r.arrival;
    figures.ttfts.push_back(ttft);
    figures.by_user[workload[i].user].push_back(ttft);
    if (workload[i].priority == most_urgent) figures.urgent.push_back(ttft);
    figures.n_preemptions += r.n_preemptions;
    figures.longest_wait = std::max(figures.longest_wait, r.admitted - r.arrival);
  }
  return figures;
}

// Of the user who asks for most, and of the others.
std::pair<double, double> HeavyAndOthers(const PolicyFigures& figures) {
  std::vector<double> others;
  const auto heavy = std::ranges::max_element(figures.by_user, {},
                                              [](const auto& user) { return user.second.size(); });
  for (const auto& [user, ttfts] : figures.by_user) {
    if (user != heavy->first) others.insert(others.end(), ttfts.begin(), ttfts.end());
  }
  return {Percentile(heavy == figures.by_user.end() ? std::vector<double>() : heavy->second, 50),
          Percentile(others, 50)};
}

std::string Line(std::string_view policy, const Workload& workload,
                 const SimulationResult& result) {
  const PolicyFigures figures = FiguresOf(workload, result);
  int64_t n_output = 0;
  int64_t n_tokens = 0;  // whose keys and values are needed; an answer's last is never read
  for (size_t i = 0; i < workload.size(); ++i) {
    if (result.requests[i].refused) continue;
    n_output += workload[i].n_output;
    n_tokens += workload[i].n_prompt + workload[i].n_output - 1;
  }
  const auto [heavy, others] = HeavyAndOthers(figures);
  std::string line = fmt::format(
      "{:<18} {:>8.1f}   {:>6.2f} {:>6.2f} {:>6.2f} {:>6.2f} {:>7.2f} {:>8.2f} {:>7.0f} {:>7} "
      "{:>5.1f}%",
      policy, static_cast<double>(n_output) / result.seconds, Percentile(figures.ttfts, 50),
      Percentile(figures.ttfts, 99), Percentile(figures.urgent, 50), heavy, others,
      figures.longest_wait, 1e3 * Percentile(result.token_gaps, 99), figures.n_preemptions,
      100.0 * static_cast<double>(result.n_rows - n_tokens) / static_cast<double>(n_tokens));
  if (figures.n_refused > 0) line += fmt::format("  {} refused: too long", figures.n_refused);
  return line + "\n";
}

}  // namespace

int SimulatePolicies(const Flags& flags, const std::string& argv0) {
  const Subject subject = OpenSubject(flags, argv0);
  SchedulerOptions options = {.max_seqs = flags.max_seqs,
                              .prefill_chunk = flags.ChunkOn(subject.on_gpu),
                              .preemption = flags.preemption,
                              .max_waiting = kMaxWorkloadRequests,
                              .patience = flags.patience};
  options.max_step_tokens = options.max_seqs + options.prefill_chunk;
  const Workload workload =
      flags.trace.empty() ? Draw(flags, subject.cost, options) : OpenTrace(flags, argv0);

  const int64_t page_size = flags.kv.page_size.value_or(KvStorage::kDefaultPageSize);
  if (page_size < 1) throw InputError("--page-size {}: a page has at least one token", page_size);
  const double page_bytes = static_cast<double>(page_size * subject.cost.kv_bytes_per_token);
  // By default what half of the places take when their sequences are at their longest.
  int64_t longest = 0;
  for (const WorkloadRequest& r : workload) longest = std::max(longest, r.n_prompt + r.n_output);
  const SimulatedMemory memory = {
      .n_pages = flags.kv.memory > 0
                     ? static_cast<int64_t>(static_cast<double>(flags.kv.memory) / page_bytes)
                     : std::max<int64_t>(1, (flags.max_seqs + 1) / 2) * (longest / page_size + 1),
      .page_size = page_size,
      .n_swap_pages = static_cast<int64_t>(static_cast<double>(flags.swap_memory) / page_bytes)};
  if (memory.n_pages == 0) {
    throw InputError("--kv-memory: {} bytes hold no page of {} tokens, which takes {:.0f}",
                     flags.kv.memory, page_size, page_bytes);
  }

  fmt::print(
      "simulate {} requests of {} on {}: the engine's scheduler, no model\n"
      "cost     a step reads {:.1f} MB of weights and {} bytes a key at {:.1f} GB/s, computes "
      "{:.0f} "
      "MFLOP a row at {:.0f} GFLOP/s\n"
      "memory   {} pages of {}; {} places, chunks of {}, patience {:g} s\n\n",
      workload.size(), Escaped(subject.model), subject.device,
      static_cast<double>(subject.cost.weight_bytes) * 1e-6, subject.cost.kv_bytes_per_token,
      subject.cost.bytes_per_s * 1e-9, static_cast<double>(subject.cost.flops_per_token) * 1e-6,
      subject.cost.flops_per_s * 1e-9, memory.n_pages, memory.page_size, options.max_seqs,
      options.prefill_chunk, options.patience);
  fmt::print("{:<18} {:>8}   {:^35} {:>8} {:>7} {:>7} {:>6}\n", "", "output", "first token, s",
             "longest", "gap, ms", "preemp-", "rows");
  fmt::print("{:<18} {:>8}   {:>6} {:>6} {:>6} {:>6} {:>7} {:>8} {:>7} {:>7} {:>6}\n", "policy",
             "tokens/s", "p50", "p99", "urgent", "heavy", "others", "wait, s", "p99", "tions",
             "again");
  for (const Policy policy : kPolicies) {
    options.policy = policy;
    const SimulationResult result = Simulate(workload, options, memory, subject.cost);
    fmt::print("{}", Line(Name(policy), workload, result));
    std::fflush(stdout);
  }
  fmt::print(
      "\nurgent: who has the most urgent priority; heavy: the user who asks most, others: the "
      "rest; "
      "medians\nagain: rows that were computed more than once\n");
  return 0;
}

}  // namespace aios::lessons
