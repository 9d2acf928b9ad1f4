// Time per token against its position: as text for the terminal, and as SVG.
#pragma once

#include <string>
#include <vector>

#include "common/engine/report.h"

namespace aios::lessons {

// What is drawn of a run: each token after an answer's first, which has the prompt to wait for.
struct TimePoint {
  double position = 0;  // tokens before it
  double seconds = 0;
};
std::vector<TimePoint> TimePoints(const Run& run);

// Empty if there is nothing to draw: answers of one token.
std::string TimePlotText(const Run& before, const Run& after);
std::string TimePlotSvg(const Run& before, const Run& after);

}  // namespace aios::lessons
