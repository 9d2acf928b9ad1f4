// The engine's requests: what is taken, how it ends, and who is told.
#include <algorithm>
#include <limits>

#include "common/base/error.h"
#include "common/engine/engine.h"
#include "common/engine/engine_request.h"

namespace aios {

void Engine::CheckRequest(const EngineRequest& request) const {
  const GenerationRequest& asked = request.generation;
  aios::CheckRequest(asked);
  if (asked.prompt_ids.empty()) throw InputError("a prompt of no tokens cannot be continued");
  for (const TokenId token : asked.prompt_ids) {
    if (token < 0 || token >= vocab_size_) {
      throw InputError("the prompt has token {}, and the model has tokens 0 to {}", token,
                       vocab_size_ - 1);
    }
  }
  if (asked.max_new_tokens < 0) {
    throw InputError("an answer of {} tokens cannot be given", asked.max_new_tokens);
  }
  if (!(request.timeout >= 0)) throw InputError("a timeout of {} s is none", request.timeout);
  const auto n_prompt = static_cast<int64_t>(asked.prompt_ids.size());
  const int64_t context = std::min(asked.max_context, plan_.context);
  if (n_prompt >= context) {
    throw Refused(
        Refused::Why::kTooLong,
        "a prompt of {} tokens does not fit a context of {}, which must hold an answer too",
        n_prompt, context);
  }
}

void Engine::Submit(EngineRequest request) {
  CheckRequest(request);
  const SequenceId id = request.id;
  if (requests_.contains(id)) {
    throw Refused(Refused::Why::kDuplicate, "request {}: one of this number is not done yet", id);
  }
  GenerationRequest& asked = request.generation;
  asked.max_context = std::min(asked.max_context, plan_.context);
  const auto n_prompt = static_cast<int64_t>(asked.prompt_ids.size());
  const int64_t n_new = std::min<int64_t>(asked.max_new_tokens, asked.max_context - n_prompt);
  const double now = clock_();
  const auto made = std::make_shared<Request>(std::move(request));
  if (n_new > 0) {
    scheduler_->Submit({.id = id,
                        .user = made->asked.user,
                        .priority = made->asked.priority,
                        .n_prompt = n_prompt,
                        .max_new_tokens = n_new,
                        .deadline = now + made->asked.timeout},
                       now);
  } else {
    empty_.push_back(id);
  }
  requests_.emplace(id, made);
}

bool Engine::Cancel(SequenceId id) {
  const auto at = requests_.find(id);
  if (at == requests_.end()) return false;
  if (in_step_) {
    to_cancel_.push_back(id);
  } else {
    End(at->second, FinishReason::kCancelled);
  }
  return true;
}

// Its answer is complete, or is not to be.
void Engine::End(const std::shared_ptr<Request>& request, FinishReason reason,
                 std::exception_ptr failure) {
  const SequenceId id = request->asked.id;
  if (request->answer.finished()) {
    scheduler_->Finish(id, clock_());
  } else {
    request->answer.End(reason);
    scheduler_->Abort(id, clock_());
  }
  // Not there any more for who is told, but still there.
  const auto node = requests_.extract(id);
  node.mapped()->Report(std::move(failure));
}

void Engine::FailAll(const std::exception_ptr& failure) {
  for (const auto& [id, request] : std::exchange(requests_, {})) {
    request->answer.End(FinishReason::kFailed);
    request->Report(failure);
  }
}

Generation Engine::Generate(const GenerationRequest& request, const Tokenizer* tokenizer,
                            const std::function<void(std::string_view)>& on_text) {
  std::optional<Outcome> outcome;
  Submit({.id = std::numeric_limits<SequenceId>::max(),
          .generation = request,
          .tokenizer = tokenizer,
          .on_text = on_text,
          .on_done = [&](Outcome done) { outcome = std::move(done); }});
  while (!outcome.has_value()) Step();
  if (outcome->failure) std::rethrow_exception(outcome->failure);
  return std::move(outcome->generation);
}

}  // namespace aios
