#include "common/engine/answer.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "common/base/check.h"
#include "common/base/error.h"

namespace aios {

Answer::Answer(const GenerationRequest& request, const Tokenizer* tokenizer,
               const std::function<void(std::string_view)>& on_text)
    : request_(request),
      tokenizer_(tokenizer),
      on_text_(on_text),
      stop_strings_(request.stop_strings) {
  CheckSamplingParams(request.sampling);
  if (tokenizer == nullptr && !request.stop_strings.empty()) {
    throw InputError("a stop string needs a tokenizer, and this model has none");
  }
  if (tokenizer != nullptr) detokenizer_ = std::make_unique<Detokenizer>(*tokenizer);
  result_.min_margin = std::numeric_limits<float>::infinity();
}

void Answer::Add(TokenId token, float margin, std::span<const float> logits) {
  AIOS_CHECK(!finished());
  const double now = SecondsSinceStart();
  if (result_.tokens.empty()) result_.first_token_seconds = now;
  result_.token_seconds.push_back(now - last_token_seconds_);
  last_token_seconds_ = now;
  result_.tokens.push_back(token);
  result_.min_margin = std::min(result_.min_margin, margin);
  if (request_.top_logits > 0) {
    result_.steps.push_back(
        {.top = TopLogits(logits, request_.top_logits), .log_sum_exp = LogSumExp(logits)});
  }
  finish_ = ReasonToStop(token);
}

std::optional<FinishReason> Answer::ReasonToStop(TokenId token) {
  if (std::ranges::find(request_.stop_ids, token) != request_.stop_ids.end()) {
    return FinishReason::kEndToken;
  }
  // Some models have more tokens than their tokenizer, to make a round number: they have no text.
  if (tokenizer_ != nullptr && token < tokenizer_->vocab_size()) {
    Show(stop_strings_.Feed(detokenizer_->Feed(token)));
  }
  if (stop_strings_.hit()) return FinishReason::kStopString;
  if (n_tokens() >= request_.max_new_tokens) return FinishReason::kMaxTokens;
  const auto n_prompt = static_cast<int64_t>(request_.prompt_ids.size());
  if (n_prompt + n_tokens() >= request_.max_context) return FinishReason::kContextFull;
  if (request_.interrupt != nullptr && *request_.interrupt) return FinishReason::kInterrupted;
  return std::nullopt;
}

void Answer::Show(const std::string& piece) {
  if (piece.empty()) return;
  result_.text += piece;
  if (on_text_) on_text_(piece);
}

Generation Answer::Take() {
  AIOS_CHECK(finished());
  result_.finish_reason = *finish_;
  result_.decode_seconds = SecondsSinceStart() - result_.first_token_seconds;
  if (detokenizer_ != nullptr && *finish_ != FinishReason::kFailed) {
    Show(stop_strings_.Feed(detokenizer_->Flush()));
    Show(stop_strings_.Finish());
  }
  return std::move(result_);
}

}  // namespace aios
