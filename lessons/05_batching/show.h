// What the lesson prints and draws around its runs.
#pragma once

#include <vector>

#include "common/engine/engine.h"
#include "common/engine/lesson.h"
#include "lessons/05_batching/flags.h"
#include "lessons/05_batching/jobs.h"
#include "lessons/05_batching/modes.h"

namespace aios::lessons {

// The cache, the requests, the scheduler of the last mode, and the head of the table of figures.
void PrintBoot(const Lesson& lesson, const Engine& engine, const std::vector<Job>& jobs,
               const Mode& last);
// Who ran when, in the first run and in the last.
void PrintCharts(const Lesson& lesson, const std::vector<ModeRun>& runs);
// What was said, and the answers, if they are texts.
void PrintAnswers(const Lesson& lesson, const std::vector<Job>& jobs, const ModeRun& run);
// The files of --svg and --trace-events.
void WriteFiles(const Flags& flags, const std::vector<ModeRun>& runs);

}  // namespace aios::lessons
