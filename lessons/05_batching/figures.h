// The figures of the modes' runs: as a table, and for the report.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "lessons/05_batching/modes.h"

namespace aios::lessons {

// The head of a table, and a line of it: throughput, time to first token, time between tokens, rows
// and sequences of a step, pages, preemptions.
std::string FiguresHead();
std::string FiguresLine(const ModeRun& run);

// The same for Report::figures: "continuous_chunked_ttft_ms_p95".
std::vector<std::pair<std::string, double>> FiguresOf(const std::vector<ModeRun>& runs);

}  // namespace aios::lessons
