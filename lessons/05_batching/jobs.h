// Jobs: the requests of the workload, with their tokens, the same for every way of running them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "common/engine/generate.h"
#include "common/engine/lesson.h"
#include "common/sched/workload.h"
#include "common/text/tokenizer.h"
#include "lessons/05_batching/flags.h"

namespace aios::lessons {

struct Job {
  double arrival = 0;  // seconds from the beginning
  std::string user = {};
  int priority = 0;
  GenerationRequest generation = {};
  const Tokenizer* tokenizer = nullptr;
  std::string text = {};    // what the user said, if that is known
  bool is_made_up = false;  // of a trace: then the answer is as long as it may be

  int64_t n_prompt() const { return static_cast<int64_t>(generation.prompt_ids.size()); }
  // Of prompt and answer.
  int64_t max_tokens() const {
    return std::min(n_prompt() + generation.max_new_tokens, generation.max_context);
  }
};

// The trace that --trace names, or the lesson's own. Throws InputError for one that cannot be read,
// or has no request.
Workload OpenTrace(const Flags& flags, const std::string& argv0);

// What the flags ask for: prompts, all at once; or a trace, whose prompts are made up, and whose
// answers are as long as it says, past any end. Throws InputError for a trace that cannot be read,
// or does not fit the model.
std::vector<Job> MakeJobs(const Flags& flags, const Lesson& lesson, const std::string& argv0);

// Throws InputError, which names the request, for one that does not fit a context: of a trace,
// prompt and answer must; of prompts, the prompt and a token.
void CheckJobs(const std::vector<Job>& jobs, int64_t context);

// The tokens of the longest prompt and its answer together.
int64_t LongestJob(const std::vector<Job>& jobs);

}  // namespace aios::lessons
