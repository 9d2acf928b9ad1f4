// Engine: a model that answers. Prefill, then decode, over a KV cache: each token's keys and values
// are computed once.
//
//   prefill   all of the prompt in one step, or in chunks: bound by arithmetic
//   decode    a token a step, which reads every weight once: bound by memory
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "common/backend/backend.h"
#include "common/engine/generate.h"
#include "common/mm/kv_cache.h"
#include "common/mm/kv_plan.h"
#include "common/model/model.h"
#include "common/model/transformer.h"
#include "common/text/tokenizer.h"

namespace aios {

struct EngineOptions {
  KvFlags kv;                    // how much memory the cache gets, and in which pages
  int64_t prefill_chunk = 2048;  // prompt tokens of a step, at most
  bool share_prefixes = true;    // prompts that begin alike share pages
};

// Not thread-safe. The backend and the model must outlive it.
class Engine {
 public:
  // Plans the memory of weights, activations and pages, then takes it and hands the weights to the
  // backend. Throws InputError, before anything is copied, for what does not fit (kv_plan.h).
  Engine(Backend& backend, const Model& model, const EngineOptions& options = {});

  // Answers one request. `tokenizer` and `on_text` as in generate.h. Throws InputError if the
  // context cannot hold the prompt and a token of the answer.
  Generation Generate(const GenerationRequest& request, const Tokenizer* tokenizer,
                      const std::function<void(std::string_view)>& on_text);

  // Called after every step with the sequence's table, for those who want to look.
  void Watch(std::function<void(const PageTable&)> watch) { watch_ = std::move(watch); }

  const KvCache& cache() const { return cache_; }
  int64_t context() const { return plan_.context; }  // tokens of a sequence, at most
  // Bytes of weights that a decode step reads at least. Each key of the sequence adds the cache's
  // bytes_per_token().
  int64_t bytes_per_token() const { return transformer_.bytes_per_token(); }

 private:
  // Enqueues the step that computes the sequence's next tokens.
  void Step(PageTable& table, std::span<const TokenId> tokens, std::optional<SampleRow> sampling);
  void Commit(PageTable& table, std::span<const TokenId> tokens);

  Backend& backend_;
  KvPlan plan_;
  BatchLimits limits_;
  Transformer transformer_;
  KvCache cache_;
  MutableTensor logits_;  // of the last step
  std::function<void(const PageTable&)> watch_;
};

}  // namespace aios
