#include "common/engine/generate.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <memory>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/engine/stop_strings.h"
#include "common/text/detokenizer.h"

namespace aios {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// From tokens to text that can be shown: whole characters, no stop string.
class TextStream {
 public:
  TextStream(const Tokenizer* tokenizer, std::vector<std::string> stop_strings,
             const std::function<void(std::string_view)>& on_text)
      : tokenizer_(tokenizer), stop_strings_(std::move(stop_strings)), on_text_(on_text) {
    if (tokenizer != nullptr) detokenizer_ = std::make_unique<Detokenizer>(*tokenizer);
  }

  void Feed(TokenId token) {
    // Some models have more tokens than their tokenizer, to make a round number: they have no text.
    if (tokenizer_ == nullptr || token >= tokenizer_->vocab_size()) return;
    Show(stop_strings_.Feed(detokenizer_->Feed(token)));
  }
  void Finish() {
    if (detokenizer_ == nullptr) return;
    Show(stop_strings_.Feed(detokenizer_->Flush()));
    Show(stop_strings_.Finish());
  }
  bool stopped() const { return stop_strings_.hit(); }
  std::string TakeText() { return std::move(text_); }

 private:
  void Show(const std::string& piece) {
    if (piece.empty()) return;
    text_ += piece;
    on_text_(piece);
  }

  const Tokenizer* tokenizer_;
  std::unique_ptr<Detokenizer> detokenizer_;
  StopStrings stop_strings_;
  const std::function<void(std::string_view)>& on_text_;
  std::string text_;
};

}  // namespace

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
  CheckRequest(request);
  if (tokenizer == nullptr && !request.stop_strings.empty()) {
    throw InputError("a stop string needs a tokenizer, and this model has none");
  }

  Generation result;
  result.min_margin = std::numeric_limits<float>::infinity();
  TextStream text(tokenizer, request.stop_strings, on_text);
  std::vector<TokenId> sequence = request.prompt_ids;
  const Clock::time_point start = Clock::now();

  // Set by whatever ends the loop first.
  std::optional<FinishReason> finish;
  while (!finish.has_value()) {
    const std::vector<float> logits = next_logits(sequence);
    const TokenId token = Sample(logits, request.sampling, result.tokens.size());

    if (result.tokens.empty()) result.first_token_seconds = SecondsSince(start);
    result.tokens.push_back(token);
    sequence.push_back(token);
    const std::vector<ScoredToken> top = TopLogits(logits, std::max(2, request.top_logits));
    if (top.size() >= 2)
      result.min_margin = std::min(result.min_margin, top[0].second - top[1].second);
    if (request.top_logits > 0) {
      result.steps.push_back(
          {.top = {top.begin(), top.begin() + std::min<int64_t>(request.top_logits, top.size())},
           .log_sum_exp = LogSumExp(logits)});
    }

    if (std::ranges::find(request.stop_ids, token) != request.stop_ids.end()) {
      finish = FinishReason::kEndToken;
      break;
    }
    text.Feed(token);
    if (text.stopped()) {
      finish = FinishReason::kStopString;
    } else if (static_cast<int>(result.tokens.size()) >= request.max_new_tokens) {
      finish = FinishReason::kMaxTokens;
    } else if (static_cast<int64_t>(sequence.size()) >= request.max_context) {
      finish = FinishReason::kContextFull;
    } else if (request.interrupt != nullptr && *request.interrupt) {
      finish = FinishReason::kInterrupted;
    }
  }
  result.finish_reason = *finish;
  result.decode_seconds = SecondsSince(start) - result.first_token_seconds;
  text.Finish();
  result.text = text.TakeText();
  return result;
}

}  // namespace aios
