// Workload: requests that come over time, to measure and compare ways of scheduling them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace aios {

struct WorkloadRequest {
  double arrival = 0;  // seconds from the beginning
  int64_t n_prompt = 0;
  int64_t n_output = 0;  // tokens that its answer will have
  // The first n_shared tokens of the prompt are the same in all requests of this group; 0: none.
  int32_t prefix_group = 0;
  int64_t n_shared = 0;
  int priority = 0;
  std::string user = {};
  bool operator==(const WorkloadRequest&) const = default;
};
using Workload = std::vector<WorkloadRequest>;  // by arrival

// What to draw a workload from. Ranges are inclusive, draws are uniform.
struct WorkloadShape {
  int64_t n_requests = 0;
  double requests_per_second = 0;  // exponential gaps (a Poisson process); 0: all at once
  int64_t min_prompt = 1, max_prompt = 1;
  int64_t min_output = 1, max_output = 1;
  int n_users = 1;       // "user-0" and so on, each as likely
  int n_priorities = 1;  // 0 and so on
};

// The same numbers on every machine.
Workload DrawWorkload(const WorkloadShape& shape, uint64_t seed);

// From JSON: an array of {"arrival", "prompt_tokens", "output_tokens"} with, if wanted, "user",
// "priority", "prefix_group", "shared_tokens". Throws InputError for anything else: unknown keys,
// numbers out of range, arrivals that are not in order, more than 100,000 requests.
Workload ReadWorkload(const std::string& path);
std::string ToJson(const Workload& workload);

// A prompt's tokens: made up, in [0, vocab_size), the same for the same arguments; as its group
// says, they begin like others'. `index` of the request in its workload.
std::vector<int32_t> PromptOf(const WorkloadRequest& request, int64_t index, int64_t vocab_size,
                              uint64_t seed);

}  // namespace aios
