// Answer: what becomes of the tokens that a model writes: a text that is shown as it comes, and an
// end.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "common/engine/generate.h"
#include "common/engine/stop_strings.h"
#include "common/text/detokenizer.h"
#include "common/text/tokenizer.h"

namespace aios {

// One answer in the making. Every loop that generates uses it (Generate, Engine::Generate). The
// clock runs from its construction. Not thread-safe; the request, the tokenizer and on_text must
// outlive it.
class Answer {
 public:
  // Throws InputError for what CheckRequest refuses, and for stop strings without a tokenizer.
  Answer(const GenerationRequest& request, const Tokenizer* tokenizer,
         const std::function<void(std::string_view)>& on_text);

  // The next token, by how much its best logit led, and, if the request wants top_logits, all
  // logits [vocab_size]. REQUIRES: !finished().
  void Add(TokenId token, float margin, std::span<const float> logits = {});

  // Ends it here, for a reason that is not in its tokens.
  void End(FinishReason reason) { finish_ = reason; }

  // How many of the prompt's tokens were found in a prefix cache.
  void SetCached(int64_t n_tokens) { result_.n_cached = n_tokens; }

  bool finished() const { return finish_.has_value(); }
  int64_t n_tokens() const { return static_cast<int64_t>(result_.tokens.size()); }

  // The whole. REQUIRES: finished(). Once; or again with kFailed, if on_text threw. A failed answer
  // shows nothing more.
  Generation Take();

 private:
  using Clock = std::chrono::steady_clock;

  double SecondsSinceStart() const {
    return std::chrono::duration<double>(Clock::now() - start_).count();
  }
  std::optional<FinishReason> ReasonToStop(TokenId token);
  void Show(const std::string& piece);

  const GenerationRequest& request_;
  const Tokenizer* tokenizer_;
  const std::function<void(std::string_view)>& on_text_;
  std::unique_ptr<Detokenizer> detokenizer_;
  StopStrings stop_strings_;
  Clock::time_point start_ = Clock::now();
  double last_token_seconds_ = 0;  // after the start
  Generation result_;
  std::optional<FinishReason> finish_;
};

}  // namespace aios
