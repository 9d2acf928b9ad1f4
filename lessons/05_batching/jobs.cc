#include "lessons/05_batching/jobs.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"

namespace aios::lessons {
namespace {

constexpr uint64_t kTokensSeed = 5;  // of the made-up prompts

}  // namespace

Workload OpenTrace(const Flags& flags, const std::string& argv0) {
  const std::string path = flags.trace.empty()
                               ? Runfile(argv0, "aios/lessons/05_batching/trace.json").string()
                               : flags.trace;
  Workload workload = ReadWorkload(path);
  if (workload.empty()) throw InputError("{}: has no request", path);
  for (WorkloadRequest& request : workload) request.arrival *= flags.time_scale;
  return workload;
}

std::vector<Job> MakeJobs(const Flags& flags, const Lesson& lesson, const std::string& argv0) {
  std::vector<Job> jobs;
  for (const Prompt& prompt : lesson.prompts()) {
    Job& job = jobs.emplace_back(
        Job{.generation = lesson.request(), .tokenizer = lesson.tokenizer(), .text = prompt.text});
    job.generation.prompt_ids = prompt.ids;
  }
  if (flags.has_prompts()) return jobs;

  const ModelConfig& config = lesson.model().config();
  for (const WorkloadRequest& request : OpenTrace(flags, argv0)) {
    Job& job = jobs.emplace_back(Job{.arrival = request.arrival,
                                     .user = request.user,
                                     .priority = request.priority,
                                     .generation = lesson.request(),
                                     .is_made_up = true});
    if (request.n_prompt + request.n_output > config.max_context) {
      throw InputError(
          "request {} of the trace has a prompt of {} and an answer of {} tokens, and the model's "
          "context is {}",
          jobs.size() - 1, request.n_prompt, request.n_output, config.max_context);
    }
    job.generation.prompt_ids =
        PromptOf(request, static_cast<int64_t>(jobs.size()) - 1, config.vocab_size, kTokensSeed);
    job.generation.max_new_tokens = static_cast<int>(request.n_output);
    job.generation.stop_ids.clear();
    job.generation.stop_strings.clear();
  }
  return jobs;
}

void CheckJobs(const std::vector<Job>& jobs, int64_t context) {
  for (size_t i = 0; i < jobs.size(); ++i) {
    const Job& job = jobs[i];
    const int64_t needed = job.is_made_up ? job.max_tokens() : job.n_prompt() + 1;
    if (needed <= context) continue;
    throw InputError(
        "request {} has a prompt of {} and an answer of {} tokens, and the keys and values of {} "
        "must hold both: see --context, --kv-memory",
        i, job.n_prompt(), needed - job.n_prompt(), context);
  }
}

int64_t LongestJob(const std::vector<Job>& jobs) {
  int64_t longest = 0;
  for (const Job& job : jobs) longest = std::max(longest, job.max_tokens());
  return longest;
}

}  // namespace aios::lessons
