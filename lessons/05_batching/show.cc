#include "lessons/05_batching/show.h"

#include <algorithm>

#include "common/base/write_file.h"
#include "lessons/05_batching/figures.h"
#include "lessons/05_batching/gantt.h"
#include "lessons/05_batching/trace_events.h"

namespace aios::lessons {

void PrintBoot(const Lesson& lesson, const Engine& engine, const std::vector<Job>& jobs,
               const Mode& last) {
  const KvCache& cache = engine.cache();
  lesson.Print("cache    {} bytes a token; {} pages of {}, {:.1f} MB; a context of {} at most\n",
               cache.bytes_per_token(), cache.n_pages(), cache.page_size(),
               static_cast<double>(cache.n_pages() * cache.bytes_per_page()) * 1e-6,
               engine.context());
  int64_t n_prompt = 0;
  int64_t n_answer = 0;
  for (const Job& job : jobs) {
    n_prompt += job.n_prompt();
    n_answer += job.generation.max_new_tokens;
  }
  lesson.Print("requests {} in {:.2f} s: {} tokens of prompts, {}{} of answers\n", jobs.size(),
               jobs.back().arrival, n_prompt, jobs.front().is_made_up ? "" : "at most ", n_answer);
  const SchedulerOptions& scheduler = last.options.scheduler;
  lesson.Print("schedule {}; {} places, chunks of {}, patience {:g} s\n\n{}",
               Name(scheduler.policy), scheduler.max_seqs, scheduler.prefill_chunk,
               scheduler.patience, FiguresHead());
}

void PrintCharts(const Lesson& lesson, const std::vector<ModeRun>& runs) {
  constexpr int kColumns = 72;
  double seconds = 0;
  for (const ModeRun& run : runs) seconds = std::max(seconds, run.timeline.seconds);
  lesson.Print("\nwho ran when: . waiting, # prefilling, = decoding, x preempted\n");
  for (const ModeRun* run : {&runs.front(), &runs.back()}) {
    lesson.Print("{}, {:.2f} s\n{}", run->timeline.mode, run->timeline.seconds,
                 GanttText(run->timeline, seconds, kColumns));
  }
  lesson.Print("\n");
}

void PrintAnswers(const Lesson& lesson, const std::vector<Job>& jobs, const ModeRun& run) {
  for (size_t i = 0; i < jobs.size(); ++i) {
    if (jobs[i].text.empty()) continue;
    lesson.Print("> {}\n{}\n\n", jobs[i].text, run.outputs[i].generation.text);
  }
}

void WriteFiles(const Flags& flags, const std::vector<ModeRun>& runs) {
  std::vector<Timeline> timelines;
  timelines.reserve(runs.size());
  for (const ModeRun& run : runs) timelines.push_back(run.timeline);
  if (!flags.svg.empty()) WriteFile("--svg", flags.svg, GanttSvg(timelines));
  if (!flags.trace_events.empty()) {
    WriteFile("--trace-events", flags.trace_events, TraceEvents(timelines));
  }
}

}  // namespace aios::lessons
