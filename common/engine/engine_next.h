// Engine: a model that answers many requests at once.
//
// A step is: schedule, forward, sample, commit.
//
//   scheduler     which rows: decoding ones, chunks of prompts       common/sched/scheduler.h
//   KV cache      pages for their keys and values                    common/mm/kv_cache.h
//   transformer   one forward pass over all of them                  common/model/transformer.h
//   answers       the sampled tokens become texts, and end           common/engine/answer.h
//
// On a GPU the host prepares step n + 1 while the device computes step n: a row's token may be one
// that only the device knows yet (batch.h). The answers are the same.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/backend/backend.h"
#include "common/engine/answer.h"
#include "common/engine/generate.h"
#include "common/engine/kv_memory.h"
#include "common/mm/kv_cache.h"
#include "common/mm/kv_plan.h"
#include "common/model/model.h"
#include "common/model/transformer.h"
#include "common/sched/scheduler.h"
#include "common/text/tokenizer.h"

namespace aios {

struct EngineOptions {
  KvFlags kv;                  // how much memory the cache gets, and in which pages
  bool share_prefixes = true;  // prompts that begin alike share pages
  SchedulerOptions scheduler = {.max_seqs = 1};
  int64_t swap_bytes = 0;  // of host memory, for Preemption::kSwap
  // Prepare a step while the one before runs; by default on a GPU. The same tokens.
  std::optional<bool> overlap = {};
  std::function<double()> clock = {};  // seconds; by default a steady clock
  // For those who want to see, or break, what the scheduler asks of memory.
  std::function<std::unique_ptr<SequenceMemory>(SequenceMemory&)> wrap_memory = {};
};

// How an answer ended.
struct Outcome {
  Generation generation;   // what there is of it
  std::string error = {};  // why it failed: finish_reason is kFailed
};

struct EngineRequest {
  SequenceId id = 0;  // unique among those that are not done
  std::string user = {};
  int priority = 0;                                          // smaller is more urgent
  double timeout = std::numeric_limits<double>::infinity();  // seconds from Submit
  GenerationRequest generation;
  const Tokenizer* tokenizer = nullptr;  // or there is no text; must outlive the request
  // Called from Step. If one throws, its request fails and the others go on.
  std::function<void(std::string_view)> on_text = {};  // each piece as soon as it is certain
  std::function<void(TokenId)> on_token = {};
  std::function<void(Outcome)> on_done = {};  // once, at last
};

// What a step did, for those who want to look.
struct StepReport {
  int64_t n_rows = 0;
  int64_t n_seqs = 0;
  double host_seconds = 0;  // of the step, without waiting for the device
  double wait_seconds = 0;
};

// Not thread-safe (service.h is). The backend and the model must outlive it.
class Engine {
 public:
  // Plans the memory of weights, activations and pages, then takes it and hands the weights to the
  // backend. Throws InputError, before anything is copied, for what does not fit (kv_plan.h).
  Engine(Backend& backend, const Model& model, const EngineOptions& options = {});
  ~Engine();

  // Takes a request; Step works on it. Throws Refused for one that will not be taken, and
  // InputError for parameters out of their range; then nothing has changed, and on_done is not
  // called.
  void Submit(EngineRequest request);
  // Ends a request, in whichever state; its pages are free at once, and on_done is called. False if
  // it is not there (any more). Not from within a callback.
  bool Cancel(SequenceId id);
  // Schedule, forward, sample, commit. False if there is nothing left to do.
  bool Step();

  // Answers one request: Submit, and Step until it is done. Throws what made it fail.
  Generation Generate(const GenerationRequest& request, const Tokenizer* tokenizer,
                      const std::function<void(std::string_view)>& on_text);

  const Scheduler& scheduler() const { return scheduler_; }
  const KvCache& cache() const { return cache_; }
  int64_t context() const { return plan_.context; }
  int64_t bytes_per_token() const { return transformer_.bytes_per_token(); }
};
