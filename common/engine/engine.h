// Engine: a model that answers many requests at once. A step is: schedule, forward, sample, commit.
//
//   scheduler     whose tokens: the next of each, chunks of prompts    common/sched/scheduler.h
//   KV cache      pages for their keys and values                      common/mm/kv_cache.h
//   transformer   one forward pass over all of them                    common/model/transformer.h
//   answers       tokens that were sampled become texts, and end       common/engine/answer.h
//
// In the operating system of the analogy: the kernel's main loop.
#pragma once

#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/backend/backend.h"
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
  KvFlags kv = {};             // how much memory the cache gets, and in which pages
  bool share_prefixes = true;  // prompts that begin alike share pages
  SchedulerOptions scheduler = {.max_seqs = 1};
  int64_t swap_bytes = 0;  // of host memory, for Preemption::kSwap
  // Whether the host prepares a step while the device computes the one before it: it gives the
  // device tokens that only the device knows yet (batch.h). By default on a GPU. The tokens are the
  // same.
  std::optional<bool> overlap = {};
  std::function<double()> clock = {};  // in seconds; by default a steady one, from 0
  // For who wants another: lesson 05 plants faults so.
  std::function<std::unique_ptr<KvMemory>(Backend&, KvCache&, int64_t swap_bytes,
                                          KvMemory::TokensOf)>
      make_memory = {};
};

// What became of a request.
struct Outcome {
  Generation generation;            // what there is of it
  std::exception_ptr failure = {};  // with FinishReason::kFailed
};

struct EngineRequest {
  SequenceId id = 0;                                         // unique among those that are not done
  std::string user = {};                                     // for Policy::kFairShare
  int priority = 0;                                          // smaller is more urgent
  double timeout = std::numeric_limits<double>::infinity();  // seconds from Submit
  GenerationRequest generation = {};
  const Tokenizer* tokenizer = nullptr;  // must outlive the request. nullptr: there is no text
  // Called from within Step, and may call Submit and Cancel. If one throws, its request fails, and
  // the others go on.
  std::function<void(TokenId)> on_token = {};
  std::function<void(std::string_view)> on_text = {};  // each piece as soon as it is certain
  std::function<void(Outcome)> on_done = {};           // at last, once
};

// Of one step, or of all. Seconds of the host's clock.
struct StepStats {
  int64_t n_steps = 0;
  int64_t n_rows = 0;
  int64_t n_seqs = 0;
  double schedule_seconds = 0;  // to plan, to make the batch, to deliver tokens
  double forward_seconds = 0;   // to enqueue; on the CPU, to compute
  double wait_seconds = 0;      // for the device

  StepStats& operator+=(const StepStats& other);
};

// Not thread-safe (engine_thread.h is). The backend and the model must outlive it.
class Engine {
 public:
  // Plans the memory of weights, activations and pages, then takes it and hands the weights to the
  // backend. Throws InputError, before anything is copied, for what does not fit (kv_plan.h).
  Engine(Backend& backend, const Model& model, const EngineOptions& options = {});
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine();

  // Takes a request; Step works on it. Throws Refused for one that will not be taken, and
  // InputError for what is out of its range; then nothing has changed, and on_done is not called.
  void Submit(EngineRequest request);
  // What Submit refuses whatever else is there. Thread-safe.
  void CheckRequest(const EngineRequest& request) const;
  // Ends a request, in whichever state; its pages are free at once. From within a callback: when
  // that step is over. False if it is not there (any more).
  bool Cancel(SequenceId id);

  // Schedule, forward, sample, commit. False if there is nothing (left) to do. What a failing
  // device throws comes through, when all requests were told of it; the engine is of no use then.
  bool Step();

  // Answers one request: Submit, and Step until it is done. Throws what it failed of.
  Generation Generate(const GenerationRequest& request, const Tokenizer* tokenizer,
                      const std::function<void(std::string_view)>& on_text);

  // For those who want to look.
  const Scheduler& scheduler() const { return *scheduler_; }
  const KvCache& cache() const { return cache_; }
  const KvMemory& memory() const { return *memory_; }
  const StepStats& last_step() const { return last_step_; }
  const StepStats& all_steps() const { return all_steps_; }
  double now() const { return clock_(); }
  // Called with every event of the scheduler.
  void Observe(std::function<void(const SchedulerEvent&)> observer) {
    scheduler_->Observe(std::move(observer));
  }
  // Called with a sequence's table when tokens of it were computed.
  void Watch(std::function<void(const PageTable&)> watch) { watch_ = std::move(watch); }

  int64_t context() const { return plan_.context; }  // tokens of a sequence, at most
  // Bytes of weights that a decode step reads at least. Each key of a sequence adds the cache's
  // bytes_per_token().
  int64_t bytes_per_token() const { return transformer_.bytes_per_token(); }

 private:
  struct Request;       // what was asked for, and what there is of the answer
  struct StepOnItsWay;  // given to the backend, not taken yet

  const std::shared_ptr<Request>& RequestOf(SequenceId id) const { return requests_.at(id); }
  void Enqueue(const StepPlan& plan);
  void AddRows(const ScheduledRows& rows, StepOnItsWay& step);
  void Commit(Request& request, std::span<const TokenId> tokens);
  void TakeOldest();
  void Deliver(const std::shared_ptr<Request>& request, const Sampled& sampled,
               std::span<const float> logits);
  void End(const std::shared_ptr<Request>& request, FinishReason reason,
           std::exception_ptr failure = {});
  void FailAll(const std::exception_ptr& failure);

  Backend& backend_;
  int64_t vocab_size_;
  KvPlan plan_;
  BatchLimits limits_;
  Transformer transformer_;
  KvCache cache_;
  std::unique_ptr<KvMemory> memory_;
  std::unique_ptr<Scheduler> scheduler_;
  std::function<double()> clock_;
  size_t n_ahead_;  // steps on their way when the next is planned

  std::unordered_map<SequenceId, std::shared_ptr<Request>> requests_;  // that are not done
  std::deque<StepOnItsWay> on_their_way_;
  std::vector<SequenceId> empty_;      // requests for no token: done at the next step
  std::vector<SequenceId> to_cancel_;  // by callbacks
  bool in_step_ = false;
  int64_t n_sampling_steps_ = 0;  // given to the backend
  Batch batch_;                   // of the step at hand; kept for its memory
  std::vector<Sampled> sampled_;  // likewise
  MutableTensor logits_;          // of the last step
  StepStats last_step_, all_steps_;
  std::function<void(const PageTable&)> watch_;
};

}  // namespace aios
