#include "common/sched/workload.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/base/json.h"
#include "common/base/mapped_file.h"

namespace aios {
namespace {

// SplitMix64 (Steele et al. 2014): the standard's distributions differ from library to library.
class Generator {
 public:
  // What is drawn for `index` depends on nothing that is drawn for others.
  Generator(uint64_t seed, uint64_t what, uint64_t index)
      : state_(Mix(Mix(seed + what * kStep) + index)) {}

  uint64_t Next() { return Mix(state_ += kStep); }

  int64_t Between(int64_t least, int64_t most) {
    return least + static_cast<int64_t>(Next() % static_cast<uint64_t>(most - least + 1));
  }

  // In [0, 1).
  double Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

  // Of the exponential distribution with mean 1. By comparing and adding alone (von Neumann 1951):
  // not all machines' logarithms agree to the last bit. Of the runs u1 > u2 > ... > un <= u, those
  // with odd n have probability exp(-u1); whoever fails tries again one further out.
  double Exponential() {
    for (double whole = 0;; ++whole) {
      const double first = Uniform();
      bool is_odd = true;
      double last = first;
      for (double u = Uniform(); u < last; u = Uniform()) {
        last = u;
        is_odd = !is_odd;
      }
      if (is_odd) return whole + first;
    }
  }

 private:
  static constexpr uint64_t kStep = 0x9E3779B97F4A7C15;
  static uint64_t Mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    return x ^ (x >> 31);
  }

  uint64_t state_;
};

enum What : uint64_t { kLengths = 1, kArrivals, kOwnTokens, kSharedTokens };

// One object of the array.
class RequestReader {
 public:
  RequestReader(const Json& json, const std::string& source) : object_(json, source) {
    for (const auto& [key, value] : json.items()) {
      if (std::ranges::find(kKeys, key) == std::end(kKeys)) {
        throw InputError("{}: the key {} is not known", source, Quoted(key));
      }
    }
  }

  WorkloadRequest Read() const {
    WorkloadRequest r;
    r.arrival = object_.Float("arrival");
    if (!(r.arrival >= 0 && std::isfinite(r.arrival))) {
      throw InputError("{}: 'arrival' is {}; it must be 0 seconds or more", object_.source(),
                       r.arrival);
    }
    r.n_prompt = InRange("prompt_tokens", object_.Int("prompt_tokens"), 1, kMaxWorkloadTokens);
    r.n_output = InRange("output_tokens", object_.Int("output_tokens"), 1, kMaxWorkloadTokens);
    r.user = object_.String("user", "");
    r.priority = InRange32("priority", std::numeric_limits<int32_t>::min());
    r.prefix_group = InRange32("prefix_group", 0);
    r.n_shared = InRange("shared_tokens", object_.Int("shared_tokens", 0), 0, r.n_prompt);
    if ((r.n_shared > 0) != (r.prefix_group > 0)) {
      throw InputError("{}: of 'prefix_group' and 'shared_tokens', both or none must be above 0",
                       object_.source());
    }
    return r;
  }

 private:
  static constexpr std::string_view kKeys[] = {"arrival",  "prompt_tokens", "output_tokens", "user",
                                               "priority", "prefix_group",  "shared_tokens"};

  int64_t InRange(const char* key, int64_t value, int64_t least, int64_t most) const {
    if (value < least || value > most) {
      throw InputError("{}: '{}' is {}; it must be {} to {}", object_.source(), key, value, least,
                       most);
    }
    return value;
  }
  int32_t InRange32(const char* key, int64_t least) const {
    return static_cast<int32_t>(
        InRange(key, object_.Int(key, 0), least, std::numeric_limits<int32_t>::max()));
  }

  JsonObject object_;
};

}  // namespace

Workload DrawWorkload(const WorkloadShape& shape, uint64_t seed) {
  AIOS_CHECK(shape.n_requests >= 0 && shape.requests_per_second >= 0);
  AIOS_CHECK(1 <= shape.min_prompt && shape.min_prompt <= shape.max_prompt);
  AIOS_CHECK(1 <= shape.min_output && shape.min_output <= shape.max_output);
  AIOS_CHECK(shape.n_users >= 1 && shape.n_priorities >= 1);
  Workload workload(shape.n_requests);
  double now = 0;
  for (size_t i = 0; i < workload.size(); ++i) {
    WorkloadRequest& r = workload[i];
    if (shape.requests_per_second > 0) {
      now += Generator(seed, kArrivals, i).Exponential() / shape.requests_per_second;
    }
    Generator lengths(seed, kLengths, i);
    r.arrival = now;
    r.n_prompt = lengths.Between(shape.min_prompt, shape.max_prompt);
    r.n_output = lengths.Between(shape.min_output, shape.max_output);
    r.user = fmt::format("user-{}", lengths.Between(0, shape.n_users - 1));
    r.priority = static_cast<int>(lengths.Between(0, shape.n_priorities - 1));
  }
  return workload;
}

Workload ParseWorkload(std::string_view text, const std::string& source) {
  const Json json = ParseJson(text, source);
  if (!json.is_array()) throw InputError("{}: must be a JSON array of requests", source);
  if (static_cast<int64_t>(json.size()) > kMaxWorkloadRequests) {
    throw InputError("{}: has {} requests; {} are the most that are taken", source, json.size(),
                     kMaxWorkloadRequests);
  }
  Workload workload;
  workload.reserve(json.size());
  for (const Json& item : json) {
    const std::string where = fmt::format("{}: request {}", source, workload.size());
    workload.push_back(RequestReader(item, where).Read());
    const double before = workload.size() == 1 ? 0 : workload[workload.size() - 2].arrival;
    if (workload.back().arrival < before) {
      throw InputError("{}: arrives at {}, before the one above it, at {}; sort them", where,
                       workload.back().arrival, before);
    }
  }
  return workload;
}

Workload ReadWorkload(const std::string& path) {
  constexpr size_t kMaxBytes = size_t{32} << 20;  // twice what so many requests take
  return ParseWorkload(ReadTextFile(path, kMaxBytes), path);
}

std::string ToJson(const Workload& workload) {
  std::string text = "[";
  for (const WorkloadRequest& r : workload) {
    Json json = {
        {"arrival", r.arrival}, {"prompt_tokens", r.n_prompt}, {"output_tokens", r.n_output}};
    if (!r.user.empty()) json["user"] = r.user;
    if (r.priority != 0) json["priority"] = r.priority;
    if (r.prefix_group != 0) json["prefix_group"] = r.prefix_group;
    if (r.n_shared != 0) json["shared_tokens"] = r.n_shared;
    text += (text.size() == 1 ? "\n " : ",\n ") + json.dump();
  }
  return text + "\n]\n";
}

std::vector<int32_t> PromptOf(const WorkloadRequest& request, int64_t index, int64_t vocab_size,
                              uint64_t seed) {
  AIOS_CHECK(vocab_size >= 1 && request.n_shared <= request.n_prompt);
  Generator shared(seed, kSharedTokens, static_cast<uint64_t>(request.prefix_group));
  Generator own(seed, kOwnTokens, static_cast<uint64_t>(index));
  std::vector<int32_t> tokens(request.n_prompt);
  for (size_t i = 0; i < tokens.size(); ++i) {
    Generator& generator = static_cast<int64_t>(i) < request.n_shared ? shared : own;
    tokens[i] = static_cast<int32_t>(generator.Between(0, vocab_size - 1));
  }
  return tokens;
}

}  // namespace aios
