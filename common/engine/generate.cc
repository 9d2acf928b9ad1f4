#include "common/engine/generate.h"

#include "common/base/check.h"
#include "common/engine/answer.h"
#include "common/engine/stop_strings.h"

namespace aios {

std::string_view Name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEndToken:
      return "end_token";
    case FinishReason::kStopString:
      return "stop_string";
    case FinishReason::kMaxTokens:
      return "max_tokens";
    case FinishReason::kContextFull:
      return "context_full";
    case FinishReason::kInterrupted:
      return "interrupted";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kDeadline:
      return "deadline";
    case FinishReason::kFailed:
      return "failed";
  }
  return "";
}

void CheckRequest(const GenerationRequest& request) {
  CheckSamplingParams(request.sampling);
  const StopStrings checks_itself(request.stop_strings);
}

Generation Generate(const NextLogits& next_logits, const GenerationRequest& request,
                    const Tokenizer* tokenizer,
                    const std::function<void(std::string_view)>& on_text) {
  AIOS_CHECK(!request.prompt_ids.empty());
  Answer answer(request, tokenizer, on_text);
  std::vector<TokenId> sequence = request.prompt_ids;
  while (!answer.finished()) {
    const std::vector<float> logits = next_logits(sequence);
    sequence.push_back(Sample(logits, request.sampling, answer.n_tokens()));
    answer.Add(sequence.back(), TopMargin(logits), logits);
  }
  return answer.Take();
}

}  // namespace aios
