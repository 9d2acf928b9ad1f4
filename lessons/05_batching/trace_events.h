// What happened as Chrome's trace events, for https://ui.perfetto.dev or chrome://tracing.
//
// Format: "Trace Event Format", Google 2016,
// https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
#pragma once

#include <string>
#include <vector>

#include "lessons/05_batching/timeline.h"

namespace aios::lessons {

// A process for each run; in it a thread for each request, with a slice for each state that it was
// in and an instant for each token, a thread for the steps, and counters: pages in use, rows and
// sequences of a step. JSON.
std::string TraceEvents(const std::vector<Timeline>& timelines);

}  // namespace aios::lessons
