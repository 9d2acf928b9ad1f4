// Modes: the ways of running the same requests, from one at a time to continuous batching.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/engine/engine.h"
#include "common/engine/report.h"
#include "common/text/tokenizer.h"
#include "lessons/05_batching/flags.h"
#include "lessons/05_batching/jobs.h"
#include "lessons/05_batching/timeline.h"
#include "lessons/05_batching/top.h"

namespace aios::lessons {

struct Mode {
  std::string name;
  EngineOptions options;
};

// One at a time; static batches; continuous batching, each prompt in one step; the same with
// prompts in chunks. A fault is planted in the last.
std::vector<Mode> MakeModes(const Flags& flags, const std::vector<Job>& jobs, bool on_gpu);

struct ModeRun {
  Timeline timeline;
  std::vector<Output> outputs = {};  // as the jobs; those that Ctrl-C ended have what they had
  // Bytes that a step read on average, at least: the weights, and the keys and values of its
  // sequences.
  int64_t step_bytes = 0;
  int64_t n_pages = 0;
  int64_t n_pages_back = 0;  // that were free, or as good as free, in the end
};

// A GPU loads a kernel when it is first used, and graphs are made when they are first needed: some
// steps of all sizes, with tokens of which nothing will be known to the others.
void WarmUp(const Mode& mode, const Job& job, Engine& engine);

// Submits each job when its time has come, by the clock, and steps until all are done, or Ctrl-C.
// `top` may be nullptr. Throws what made a request fail.
ModeRun RunMode(const Mode& mode, double patience, const std::vector<Job>& jobs, Engine& engine,
                Top* top);

}  // namespace aios::lessons
