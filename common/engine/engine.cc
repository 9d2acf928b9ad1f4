#include "common/engine/engine.h"

#include <algorithm>
#include <chrono>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/engine/engine_request.h"

namespace aios {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::function<double()> SteadyClock() {
  return [start = Clock::now()] { return SecondsSince(start); };
}

BatchLimits LimitsFor(int64_t context, int64_t page_size, const SchedulerOptions& options) {
  AIOS_CHECK(options.max_seqs >= 1 && options.max_step_tokens >= options.max_seqs);
  return {.n_tokens =
              static_cast<int32_t>(std::min(options.max_step_tokens, options.max_seqs * context)),
          .n_seqs = static_cast<int32_t>(options.max_seqs),
          .n_logit_rows = static_cast<int32_t>(options.max_seqs),
          .max_pages = static_cast<int32_t>(PagesFor(context, page_size))};
}

// What is left for pages when the transformer has its memory.
KvPlan PlanFor(const Backend& backend, const Model& model, const EngineOptions& options) {
  CheckKvFlags(model.config(), options.kv);
  const int64_t context = ContextOf(model.config(), options.kv);
  const int64_t page_size = PageSizeOf(model.config(), options.kv);
  const int64_t n_bytes =
      Transformer::BytesFor(backend, model.config(), model.weights(),
                            LimitsFor(context, page_size, options.scheduler), page_size);
  return PlanKv(backend, model.config(), options.kv, backend.FreeBytes() - n_bytes);
}

}  // namespace

StepStats& StepStats::operator+=(const StepStats& other) {
  n_steps += other.n_steps;
  n_rows += other.n_rows;
  n_seqs += other.n_seqs;
  schedule_seconds += other.schedule_seconds;
  forward_seconds += other.forward_seconds;
  wait_seconds += other.wait_seconds;
  return *this;
}

Engine::Engine(Backend& backend, const Model& model, const EngineOptions& options)
    : backend_(backend),
      vocab_size_(model.config().vocab_size),
      plan_(PlanFor(backend, model, options)),
      limits_(LimitsFor(plan_.context, plan_.page_size, options.scheduler)),
      transformer_(backend, model.config(), model.weights(), limits_, plan_.page_size),
      cache_(backend, model.config(),
             {.page_size = plan_.page_size,
              .n_pages = plan_.n_pages,
              .share_prefixes = options.share_prefixes}),
      clock_(options.clock ? options.clock : SteadyClock()),
      n_ahead_(options.overlap.value_or(backend.device() != Device::kCpu) ? 1 : 0) {
  const auto tokens_of = [this](SequenceId id) { return std::span(RequestOf(id)->tokens); };
  memory_ = options.make_memory
                ? options.make_memory(backend, cache_, options.swap_bytes, tokens_of)
                : std::make_unique<KvMemory>(backend, cache_, options.swap_bytes, tokens_of);
  SchedulerOptions scheduler_options = options.scheduler;
  scheduler_options.max_step_tokens = limits_.n_tokens;
  scheduler_ = std::make_unique<Scheduler>(scheduler_options, *memory_);
}

// What a step on its way still writes must not be freed under it, nor its choices be taken for
// another's.
Engine::~Engine() {
  try {
    while (!on_their_way_.empty()) {
      std::vector<Sampled> sampled(on_their_way_.front().samples.size());
      on_their_way_.pop_front();
      if (!sampled.empty()) backend_.TakeSampled(sampled);
    }
  } catch (...) {
    // The device has failed: whoever uses it next is told.
  }
}

// ---- Steps --------------------------------------------------------------------------------------

bool Engine::Step() {
  const auto start = Clock::now();
  last_step_ = {.n_steps = 1};
  in_step_ = true;
  try {
    // Schedule.
    const StepPlan plan = scheduler_->Plan(clock_());
    for (const SequenceId id : plan.overdue) End(RequestOf(id), FinishReason::kDeadline);
    for (const SequenceId id : std::exchange(empty_, {})) {
      if (requests_.contains(id)) End(RequestOf(id), FinishReason::kMaxTokens);
    }
    // Forward, sample.
    if (!plan.rows.empty()) Enqueue(plan);
    // Commit. A step may stay on its way while the next one is prepared, unless there is none, or
    // somebody wants its scores, which the next one would overwrite.
    const bool is_last = plan.rows.empty() || on_their_way_.back().wants_logits;
    while (on_their_way_.size() > (is_last ? 0 : n_ahead_)) TakeOldest();
  } catch (...) {  // the device has failed, and memory with it: nothing is given back any more
    FailAll(std::current_exception());
    throw;
  }
  in_step_ = false;
  for (const SequenceId id : std::exchange(to_cancel_, {})) Cancel(id);
  last_step_.schedule_seconds =
      SecondsSince(start) - last_step_.forward_seconds - last_step_.wait_seconds;
  all_steps_ += last_step_;
  return !requests_.empty() || !on_their_way_.empty();
}

void Engine::Enqueue(const StepPlan& plan) {
  StepOnItsWay step;
  batch_.Clear();
  for (const ScheduledRows& rows : plan.rows) {
    const auto n_pages = memory_->Find(rows.sequence->request.id)->pages().size();
    batch_.max_pages = std::max(batch_.max_pages, static_cast<int32_t>(n_pages));
  }
  for (const ScheduledRows& rows : plan.rows) AddRows(rows, step);
  const auto start = Clock::now();
  logits_ = transformer_.Forward(batch_, cache_.layers());
  last_step_.forward_seconds = SecondsSince(start);
  last_step_.n_rows = batch_.n_tokens();
  last_step_.n_seqs = batch_.n_seqs();
  if (!step.samples.empty()) ++n_sampling_steps_;
  on_their_way_.push_back(std::move(step));

  // What is known now; a token that only the device knows is committed when it is delivered.
  for (const ScheduledRows& rows : plan.rows) {
    Request& request = *RequestOf(rows.sequence->request.id);
    const auto n_known = static_cast<int64_t>(request.tokens.size());
    const int64_t end = std::min(rows.begin + rows.n_rows, n_known);
    Commit(request, std::span(request.tokens).subspan(rows.begin, end - rows.begin));
    request.is_ahead = rows.begin + rows.n_rows > n_known;
  }
}

// Puts a sequence's tokens into the batch.
void Engine::AddRows(const ScheduledRows& rows, StepOnItsWay& step) {
  const std::shared_ptr<Request>& request = RequestOf(rows.sequence->request.id);
  const auto n_known = static_cast<int64_t>(request->tokens.size());
  const int64_t end = rows.begin + rows.n_rows;
  const std::span<const PageId> pages = memory_->Find(request->asked.id)->pages();
  AIOS_CHECK(end <= n_known + 1, "token {} of {}", end - 1, n_known);
  for (int64_t position = rows.begin; position < end; ++position) {
    batch_.positions.push_back(static_cast<int32_t>(position));
    if (position < n_known) {
      batch_.tokens.push_back(request->tokens[position]);
    } else {  // the step before samples it
      AIOS_CHECK_EQ(request->ahead_step, n_sampling_steps_ - 1);
      batch_.tokens.push_back(-1 - request->ahead_row);
    }
  }
  batch_.seq_offsets.push_back(batch_.n_tokens());
  batch_.kv_lengths.push_back(static_cast<int32_t>(end));
  batch_.page_table.insert(batch_.page_table.end(), pages.begin(), pages.end());
  batch_.page_table.resize(batch_.kv_lengths.size() * batch_.max_pages);
  if (!rows.samples) return;

  const auto n_before = static_cast<uint64_t>(end) - request->asked.generation.prompt_ids.size();
  request->ahead_row = batch_.n_logit_rows();
  request->ahead_step = n_sampling_steps_;
  batch_.logit_rows.push_back(batch_.n_tokens() - 1);
  batch_.sampling.push_back({.params = request->asked.generation.sampling, .step = n_before});
  step.samples.push_back(request);
  step.wants_logits |= request->asked.generation.top_logits > 0;
}

// Waits for the step that was given first, and hands out what it sampled.
void Engine::TakeOldest() {
  const StepOnItsWay step = std::move(on_their_way_.front());
  on_their_way_.pop_front();
  if (step.samples.empty()) return;
  const auto start = Clock::now();
  sampled_.resize(step.samples.size());
  backend_.TakeSampled(sampled_);
  std::vector<float> logits;
  if (step.wants_logits) {  // then it was the last
    logits.resize(logits_.n_elements());
    backend_.Download(logits_, logits.data());
  }
  last_step_.wait_seconds += SecondsSince(start);
  for (size_t i = 0; i < step.samples.size(); ++i) {
    if (step.samples[i]->is_done) continue;  // a row was for nothing
    const auto row = step.wants_logits
                         ? std::span<const float>(logits).subspan(i * vocab_size_, vocab_size_)
                         : std::span<const float>();
    Deliver(step.samples[i], sampled_[i], row);
  }
}

void Engine::Deliver(const std::shared_ptr<Request>& request, const Sampled& sampled,
                     std::span<const float> logits) {
  if (sampled.token == Sampled::kNoToken) {
    End(request, FinishReason::kFailed,
        std::make_exception_ptr(
            InputError("a score of the model is not a finite number: its weights are damaged")));
    // What was computed for it may be no numbers either, and must not be found again.
    cache_.ForgetUnused();
    return;
  }
  request->tokens.push_back(sampled.token);
  try {
    if (request->answer.n_tokens() == 0) {
      request->answer.SetCached(scheduler_->Find(request->asked.id)->n_cached);
    }
    if (request->asked.on_token) request->asked.on_token(sampled.token);
    request->answer.Add(sampled.token, sampled.margin, logits);
  } catch (...) {  // who listens
    return End(request, FinishReason::kFailed, std::current_exception());
  }
  if (request->answer.finished()) return End(request, FinishReason::kMaxTokens);
  if (std::exchange(request->is_ahead, false)) Commit(*request, {&request->tokens.back(), 1});
}

void Engine::Commit(Request& request, std::span<const TokenId> tokens) {
  PageTable& table = *memory_->Find(request.asked.id);
  cache_.Commit(table, tokens);
  if (watch_) watch_(table);
}

}  // namespace aios
