// Gantt charts: a line for each request, from its arrival to its end: who waited, and who ran.
#pragma once

#include <string>
#include <vector>

#include "lessons/05_batching/timeline.h"

namespace aios::lessons {

// For the terminal, `width` columns for `seconds`:
//
//    ann  0 |####======            |
//    bob  1 |  ..###=====xxx====   |
//
// '.' waiting, '#' prefilling, '=' decoding, 'x' preempted. A column shows what the request did for
// most of it. Of many requests, the first kMaxGanttLines are shown.
inline constexpr size_t kMaxGanttLines = 32;
std::string GanttText(const Timeline& timeline, double seconds, int width);

// All of them below one another, on one axis of time, with a mark for each token.
std::string GanttSvg(const std::vector<Timeline>& timelines);

}  // namespace aios::lessons
