// Workload: requests that come over time, to measure and compare ways of scheduling them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
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

// What to draw a workload from. Ranges are inclusive, draws are uniform. REQUIRES: no range is
// empty or begins below 1.
struct WorkloadShape {
  int64_t n_requests = 0;
  double requests_per_second = 0;  // exponential gaps (a Poisson process); 0: all at once
  int64_t min_prompt = 1, max_prompt = 1;
  int64_t min_output = 1, max_output = 1;
  int n_users = 1;       // "user-0" and so on, each as likely
  int n_priorities = 1;  // 0 and so on
};

// The same numbers on every machine. Another rate changes the arrivals and nothing else.
Workload DrawWorkload(const WorkloadShape& shape, uint64_t seed);

inline constexpr int64_t kMaxWorkloadRequests = 100'000;
inline constexpr int64_t kMaxWorkloadTokens = int64_t{1} << 20;  // of a prompt, of an answer

// From JSON, an array of requests by arrival:
//
//   [{"arrival": 0, "prompt_tokens": 100, "output_tokens": 20},
//    {"arrival": 0.5, "prompt_tokens": 80, "output_tokens": 300, "user": "ann", "priority": 1,
//     "prefix_group": 1, "shared_tokens": 64}]
//
// `source` names the text in errors. Throws InputError for anything else: unknown keys, numbers out
// of range, arrivals that are not in order, more than kMaxWorkloadRequests.
Workload ParseWorkload(std::string_view text, const std::string& source);
Workload ReadWorkload(const std::string& path);
std::string ToJson(const Workload& workload);  // a line for each request

// A prompt's tokens [n_prompt]: made up, uniform in [0, vocab_size), the same for the same
// arguments on every machine; as its group says, they begin like others'. `index` of the request in
// its workload.
std::vector<int32_t> PromptOf(const WorkloadRequest& request, int64_t index, int64_t vocab_size,
                              uint64_t seed);

}  // namespace aios
