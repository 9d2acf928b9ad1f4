#include "common/engine/engine.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/engine/answer.h"

namespace aios {
namespace {

// A sequence's pages, given back however its answer ends. If it ends with scores that are no
// numbers, what was computed beside them may be none either, and must not be found again.
class OpenTable {
 public:
  OpenTable(KvCache& cache, std::span<const TokenId> prompt)
      : cache_(cache), table_(cache.Open(prompt)) {}
  OpenTable(const OpenTable&) = delete;
  OpenTable& operator=(const OpenTable&) = delete;
  ~OpenTable() {
    cache_.Close(table_);
    if (damaged_) cache_.ForgetUnused();
  }

  void SetDamaged() { damaged_ = true; }

  PageTable* operator->() { return &table_; }
  PageTable& operator*() { return table_; }

 private:
  KvCache& cache_;
  PageTable table_;
  bool damaged_ = false;
};

// Steps that sample, and were given to the backend: all are taken in the end, however that comes.
class Steps {
 public:
  explicit Steps(Backend& backend) : backend_(backend) {}
  Steps(const Steps&) = delete;
  Steps& operator=(const Steps&) = delete;
  ~Steps() {
    try {
      while (n_taken_ < n_given_) Take();
    } catch (...) {
      // The device has failed: whoever uses it next is told.
    }
  }

  void Given() { ++n_given_; }
  int64_t n_given() const { return n_given_; }
  int64_t n_untaken() const { return n_given_ - n_taken_; }

  Sampled Take() {
    Sampled sampled;
    backend_.TakeSampled({&sampled, 1});
    ++n_taken_;
    return sampled;
  }

 private:
  Backend& backend_;
  int64_t n_given_ = 0;
  int64_t n_taken_ = 0;
};

BatchLimits LimitsFor(int64_t context, int64_t page_size, int64_t prefill_chunk) {
  return {.n_tokens = static_cast<int32_t>(std::min(context, prefill_chunk)),
          .n_seqs = 1,
          .n_logit_rows = 1,
          .max_pages = static_cast<int32_t>(PagesFor(context, page_size))};
}

// What is left for pages when the transformer has its memory.
KvPlan PlanFor(const Backend& backend, const Model& model, const EngineOptions& options) {
  CheckKvFlags(model.config(), options.kv);
  const int64_t context = ContextOf(model.config(), options.kv);
  const int64_t page_size = PageSizeOf(model.config(), options.kv);
  const int64_t n_bytes =
      Transformer::BytesFor(backend, model.config(), model.weights(),
                            LimitsFor(context, page_size, options.prefill_chunk), page_size);
  return PlanKv(backend, model.config(), options.kv, backend.FreeBytes() - n_bytes);
}

}  // namespace

Engine::Engine(Backend& backend, const Model& model, const EngineOptions& options)
    : backend_(backend),
      plan_(PlanFor(backend, model, options)),
      limits_(LimitsFor(plan_.context, plan_.page_size, options.prefill_chunk)),
      transformer_(backend, model.config(), model.weights(), limits_, plan_.page_size),
      cache_(backend, model.config(),
             {.page_size = plan_.page_size,
              .n_pages = plan_.n_pages,
              .share_prefixes = options.share_prefixes}) {}

Generation Engine::Generate(const GenerationRequest& request, const Tokenizer* tokenizer,
                            const std::function<void(std::string_view)>& on_text) {
  const std::vector<TokenId>& prompt = request.prompt_ids;
  AIOS_CHECK(!prompt.empty());
  const auto n_prompt = static_cast<int64_t>(prompt.size());
  GenerationRequest bounded = request;
  bounded.max_context = std::min(request.max_context, plan_.context);
  if (n_prompt >= bounded.max_context) {
    throw InputError(
        "a prompt of {} tokens does not fit a context of {}, which must hold an answer too",
        n_prompt, bounded.max_context);
  }
  Answer answer(bounded, tokenizer, on_text);
  OpenTable table(cache_, prompt);
  answer.SetCached(table->n_tokens());
  Steps steps(backend_);
  const auto sampling = [&] {
    return SampleRow{.params = request.sampling, .step = static_cast<uint64_t>(steps.n_given())};
  };

  // Prefill: what of the prompt the cache does not have.
  while (table->n_tokens() < n_prompt) {
    const auto rest = std::span(prompt).subspan(table->n_tokens());
    const auto chunk = rest.first(std::min<size_t>(rest.size(), limits_.n_tokens));
    const bool is_last = chunk.size() == rest.size();
    Step(*table, chunk, is_last ? std::optional(sampling()) : std::nullopt);
    if (is_last) steps.Given();
    Commit(*table, chunk);
  }

  // Decode. A GPU is given a step before the host knows what the step before has chosen, so that
  // it need not wait for the host to find out whether the answer goes on. If it does not, a step
  // was for nothing.
  const bool run_ahead = backend_.device() != Device::kCpu && request.top_logits == 0;
  constexpr TokenId kChosenByLastStep = -1;
  const auto decode = [&](TokenId token) {
    Step(*table, {&token, 1}, sampling());
    steps.Given();
  };
  std::vector<float> logits;
  while (true) {
    const bool may_go_on = steps.n_given() < request.max_new_tokens &&
                           n_prompt + steps.n_given() < bounded.max_context;
    if (run_ahead && may_go_on) decode(kChosenByLastStep);
    const Sampled sampled = steps.Take();
    if (sampled.token == Sampled::kNoToken) {
      table.SetDamaged();
      throw InputError("a score of the model is not a finite number: its weights are damaged");
    }
    if (request.top_logits > 0) {
      logits.resize(logits_.n_elements());
      backend_.Download(logits_, logits.data());
    }
    answer.Add(sampled.token, sampled.margin, logits);
    if (answer.finished()) return answer.Take();
    if (steps.n_untaken() == 0) decode(sampled.token);
    Commit(*table, {&sampled.token, 1});
  }
}

void Engine::Step(PageTable& table, std::span<const TokenId> tokens,
                  std::optional<SampleRow> sampling) {
  const auto n = static_cast<int32_t>(tokens.size());
  const auto begin = static_cast<int32_t>(table.n_tokens());
  AIOS_CHECK(cache_.Reserve(table, n), "the plan has pages for a whole context");
  Batch batch = {.tokens = {tokens.begin(), tokens.end()},
                 .positions = std::vector<int32_t>(n),
                 .seq_offsets = {0, n},
                 .kv_lengths = {begin + n},
                 .page_table = {table.pages().begin(), table.pages().end()},
                 .max_pages = limits_.max_pages};
  std::iota(batch.positions.begin(), batch.positions.end(), begin);
  batch.page_table.resize(limits_.max_pages);
  if (sampling.has_value()) {
    batch.logit_rows = {n - 1};
    batch.sampling = {*sampling};
  }
  logits_ = transformer_.Forward(batch, cache_.layers());
}

void Engine::Commit(PageTable& table, std::span<const TokenId> tokens) {
  cache_.Commit(table, tokens);
  if (watch_) watch_(table);
}

}  // namespace aios
