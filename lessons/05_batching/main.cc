// Lesson 05: batching and scheduling.
//
// Many requests share one model, as processes share a machine. Before: lesson 04's engine, which
// answers one after the other. After: the same engine with a scheduler, which decides at every step
// whose tokens are computed: in static batches, in continuous ones, and with prompts in chunks.
// Nobody's answer changes by who else is there.
#include <unistd.h>

#include <vector>

#include "common/backend/backend.h"
#include "common/base/cli.h"
#include "common/base/memory.h"
#include "common/engine/engine.h"
#include "common/engine/lesson.h"
#include "common/profile/gpu_probe.h"
#include "lessons/05_batching/checks.h"
#include "lessons/05_batching/figures.h"
#include "lessons/05_batching/flags.h"
#include "lessons/05_batching/jobs.h"
#include "lessons/05_batching/modes.h"
#include "lessons/05_batching/show.h"
#include "lessons/05_batching/simulate.h"
#include "lessons/05_batching/top.h"

namespace {

using namespace aios;
using namespace aios::lessons;

int RunLesson(int argc, char** argv) {
  // Flags.
  const Flags flags = ParseFlags(argc, argv);
  if (flags.simulate) return SimulatePolicies(flags, argv[0]);
  std::unique_ptr<Backend> backend = NewBackend(flags);
  const bool on_gpu = backend->device() == Device::kCuda;
  const bool exact = backend->activation_dtype() == DType::kF32;

  // Boot: the model, the requests, and the ways of running them.
  Lesson lesson("05_batching", flags.lesson, argv[0], 0, flags.has_prompts());
  const std::vector<Job> jobs = MakeJobs(flags, lesson, argv[0]);
  const std::vector<Mode> modes = MakeModes(flags, jobs, on_gpu);
  lesson.Print("engine   {}, in {}\n", backend->description(), exact ? "f32" : "bf16");
  if (!on_gpu && flags.lesson.backend != "cpu") {
    lesson.Print("gpu      none: {}\n", WhyNoCuda(flags.lesson.device));
  }
  const double bandwidth = on_gpu ? MeasureGpuReadBandwidth(flags.lesson.device) : 0;
  Top top(isatty(flags.lesson.json == "-" ? STDERR_FILENO : STDOUT_FILENO) != 0,
          [&](std::string_view text) { lesson.Print("{}", text); });
  std::vector<ModeRun> runs;
  const auto run = [&](const Mode& mode) {
    if (backend == nullptr) backend = NewBackend(flags);
    {
      Engine engine(*backend, lesson.model(), mode.options);
      CheckJobs(jobs, engine.context());
      if (runs.empty()) PrintBoot(lesson, engine, jobs, modes.back());
      if (on_gpu) WarmUp(mode, jobs.front(), engine);
      runs.push_back(RunMode(mode, flags.patience, jobs, engine, flags.top ? &top : nullptr));
    }
    backend = nullptr;  // it serves one engine
    lesson.Print("{}", FiguresLine(runs.back()));
  };
  const auto report = [&](const char* name) {
    const Timeline& timeline = runs.back().timeline;
    lesson.report().runs.push_back({.name = name,
                                    .backend = on_gpu ? "cuda" : "cpu",
                                    .dtype = exact ? "f32" : "bf16",
                                    .outputs = runs.back().outputs,
                                    .bytes_per_token = runs.back().step_bytes,
                                    .seqs_per_step = timeline.MeanSeqs(),
                                    .peak_bytes = PeakMemory(),
                                    .gpu_read_bandwidth = bandwidth,
                                    .wall_seconds = timeline.seconds,
                                    .prefill_seconds = timeline.PrefillSeconds()});
  };

  // Before: one at a time.
  run(modes.front());
  report("before");

  // After: in batches.
  for (size_t i = 1; i < modes.size(); ++i) run(modes[i]);
  report("after");
  PrintCharts(lesson, runs);
  PrintAnswers(lesson, jobs, runs.back());
  WriteFiles(flags, runs);

  // Check and report.
  if (exact) {
    lesson.AddCheck(SameTokens(runs));
  } else if (lesson.request().sampling.temperature == 0) {
    lesson.AddCheck(WouldChoose(flags, lesson.model(), runs.back()));
  }
  lesson.AddCheck(AllPagesBack(runs));
  lesson.AddCheck(NobodyPassedOver(runs, flags.patience));
  lesson.report().figures = FiguresOf(runs);
  lesson.report().moved = {.metric = "tokens a second, all answers together",
                           .before = lesson.report().runs[0].output_tok_s(),
                           .after = lesson.report().runs[1].output_tok_s()};
  return lesson.Finish();
}

}  // namespace

int main(int argc, char** argv) {
  return aios::RunMain([&] { return RunLesson(argc, argv); });
}
