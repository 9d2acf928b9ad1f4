#include "lessons/05_batching/flags.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <map>

#include "common/backend/backend_flags.h"
#include "common/base/error.h"
#include "common/base/write_file.h"
#include "common/mm/kv_flags.h"

namespace aios::lessons {
namespace {

constexpr const char* kAbout =
    "Lesson 05, batching: many requests share one model, as processes share a machine. The same "
    "requests one at a time, in static batches, in batches that change at every step, and with "
    "prompts in chunks: who waits how long, and how much is done.";

constexpr int64_t kDefaultSwap = int64_t{256} << 20;

std::string NotEmpty(const std::string& text) { return text.empty() ? "is empty" : ""; }

double Checked(const char* flag, double value) {
  constexpr double kMost = 1e6;
  if (value >= 0 && value <= kMost) return value;
  throw InputError("{} is {}; it must be 0 to {:.0f}", flag, value, kMost);
}

void AddWorkloadFlags(CLI::App& app, Flags& flags) {
  const char* group = "Who asks when";
  app.add_option("--trace", flags.trace,
                 "A JSON file of requests: arrival, prompt_tokens, output_tokens, user, priority. "
                 "Default: the lesson's own, unless prompts are given, which come all at once")
      ->type_name("FILE")
      ->check(NotEmpty)
      ->group(group);
  app.add_option_function<double>(
         "--time-scale", [&](double factor) { flags.time_scale = Checked("--time-scale", factor); },
         "Arrivals come so many times later; 0: all at once. Default: 1")
      ->check(NotEmpty)
      ->group(group);
}

void AddSchedulerFlags(CLI::App& app, Flags& flags) {
  const char* group = "The scheduler";
  app.add_option_function<std::string>(
         "--policy", [&](const std::string& name) { flags.policy = ParsePolicy(name); },
         "Who is next: first-come, priority, shortest-remaining, fair-share. Default: first-come")
      ->type_name("NAME")
      ->group(group);
  app.add_option("--max-seqs", flags.max_seqs,
                 "Sequences that run at a time. Default: 8; simulated, 32")
      ->check(CLI::Range(int64_t{1}, int64_t{4096}).description(""))
      ->group(group);
  app.add_option("--chunk", flags.chunk,
                 "Rows of prompts in a step, at most. Default: 32, on a GPU 512")
      ->check(CLI::Range(int64_t{1}, int64_t{65536}).description(""))
      ->group(group);
  app.add_option_function<double>(
         "--patience", [&](double seconds) { flags.patience = Checked("--patience", seconds); },
         "Seconds after which a request goes before all that came later, whatever the policy. "
         "Default: 1; simulated, 60")
      ->check(NotEmpty)
      ->group(group);
  app.add_option_function<std::string>(
         "--preemption", [&](const std::string& name) { flags.preemption = ParsePreemption(name); },
         "What becomes of keys and values of who is preempted: recompute, swap (to host memory). "
         "Default: recompute")
      ->type_name("NAME")
      ->group(group);
  app.add_option_function<std::string>(
         "--swap-memory",
         [&](const std::string& text) { flags.swap_memory = ParseBytes(text, "--swap-memory"); },
         "Host memory for --preemption swap: 64MB, 1GiB. Default: 256MiB")
      ->type_name("BYTES")
      ->group(group);
  app.add_option_function<std::string>(
         "--overlap", [&](const std::string& text) { flags.overlap = text == "on"; },
         "Prepare a step while the one before runs: on, off. Default: on a GPU")
      ->check(CLI::IsMember({"on", "off"}))
      ->group(group);
}

void AddViewFlags(CLI::App& app, Flags& flags) {
  const char* group = "What to show of it";
  app.add_flag("--top", flags.top, "A live view: requests, pages, events")->group(group);
  app.add_option("--svg", flags.svg, "Draw who ran when into this file")
      ->type_name("FILE")
      ->check(NotEmpty)
      ->group(group);
  app.add_option("--trace-events", flags.trace_events,
                 "Write what happened for https://ui.perfetto.dev into this file")
      ->type_name("FILE")
      ->check(NotEmpty)
      ->group(group);
  app.add_flag("--simulate", flags.simulate,
               "Without running the model: thousands of requests under each policy, by the limits "
               "that this machine was measured to have")
      ->group(group);
  app.add_option("--simulated-requests", flags.n_simulated, "How many")
      ->check(CLI::Range(int64_t{1}, int64_t{100'000}).description(""))
      ->capture_default_str()
      ->group(group);
  static const std::map<std::string, Fault> faults = {{"stale-prefix", Fault::kStalePrefix},
                                                       {"leaked-page", Fault::kLeakedPage},
                                                       {"starvation", Fault::kStarvation}};
  app.add_option("--fault", flags.fault,
                 "Plant a bug, to be found: stale-prefix, leaked-page, starvation")
      ->transform(CLI::Transformer(faults).description(""))
      ->type_name("NAME")
      ->group(group);
}

}  // namespace

Flags ParseFlags(int argc, char** argv) {
  Flags flags;
  flags.lesson = ParseLessonFlags(argc, argv, kAbout, [&](CLI::App& app) {
    AddKvFlags(app, flags.kv);
    AddWorkloadFlags(app, flags);
    AddSchedulerFlags(app, flags);
    AddViewFlags(app, flags);
  });
  if (flags.max_seqs == 0) flags.max_seqs = flags.simulate ? 32 : 8;
  if (flags.patience < 0) flags.patience = flags.simulate ? 60 : 1;
  if (!flags.trace.empty() && flags.has_prompts()) {
    throw InputError("--trace makes up its prompts: it excludes --prompt, --prompts, --prompt-ids");
  }
  if (flags.preemption == Preemption::kSwap && flags.swap_memory == 0) {
    flags.swap_memory = kDefaultSwap;
  }
  if (flags.preemption != Preemption::kSwap && flags.swap_memory > 0) {
    throw InputError("--swap-memory is for --preemption swap");
  }
  CheckWritable("--svg", flags.svg);
  CheckWritable("--trace-events", flags.trace_events);
  return flags;
}

std::unique_ptr<Backend> NewBackend(const Flags& flags) {
  return MakeBackend(BackendOptionsOf(flags.lesson));
}

}  // namespace aios::lessons
