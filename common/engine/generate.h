// Generate: the loop that makes a model that predicts one token write a text.
//
//   sequence = prompt;  repeat: logits = model(sequence); token = sample(logits); sequence +=
//   token;  until it should stop
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/sample/sampler.h"
#include "common/text/tokenizer.h"

namespace aios {

// The model as the loop sees it: logits [vocab_size] for the token that follows `sequence`. The
// loop calls it with the prompt, then each time with one token more; what is computed again and
// what is kept is the model's affair.
using NextLogits = std::function<std::vector<float>(std::span<const TokenId> sequence)>;

struct GenerationRequest {
  std::vector<TokenId> prompt_ids = {};  // not empty
  SamplingParams sampling = {};
  // When to stop, whichever comes first. An end token is part of the answer's tokens, but not of
  // its text; a stop string is not part of the text.
  int max_new_tokens = 64;
  int64_t max_context = 0;             // prompt and answer together
  std::vector<TokenId> stop_ids = {};  // end-of-sequence tokens
  std::vector<std::string> stop_strings = {};
  const std::atomic<bool>* interrupt = nullptr;
  // Keep the k best logits of each step.
  int top_logits = 0;
};

enum class FinishReason : uint8_t {
  kEndToken,
  kStopString,
  kMaxTokens,
  kContextFull,
  kInterrupted,
  kCancelled,
  kDeadline,
  kFailed,
};
std::string_view Name(FinishReason reason);  // "end_token"

// The scores of one step.
struct StepScores {
  std::vector<ScoredToken> top;  // logits, best first
  double log_sum_exp = 0;
};

struct Generation {
  std::vector<TokenId> tokens = {};
  std::string text = {};
  FinishReason finish_reason = FinishReason::kMaxTokens;
  std::vector<StepScores> steps = {};  // with top_logits
  float min_margin =
      0;  // the smallest lead of a step's best logit over the second: how close a greedy choice was
  int64_t n_cached = 0;                    // tokens of the prompt that a prefix cache had already
  std::vector<double> token_seconds = {};  // of each token, from the one before or from the call
  double first_token_seconds = 0;          // from the call to the first token
  double decode_seconds = 0;               // from the first token to the last

  // Seconds per token after the first; 0 if there is none.
  double seconds_per_token() const {
    return tokens.size() < 2 ? 0 : decode_seconds / static_cast<double>(tokens.size() - 1);
  }
};

// Throws InputError for sampling parameters or stop strings that Generate would refuse.
void CheckRequest(const GenerationRequest& request);

// Runs the loop. `tokenizer` may be nullptr: then there is no text, and stop strings are an
// InputError. `on_text` gets each piece of text as soon as it is certain: whole characters, no part
// of a stop string.
Generation Generate(const NextLogits& next_logits, const GenerationRequest& request,
                    const Tokenizer* tokenizer,
                    const std::function<void(std::string_view)>& on_text);

}  // namespace aios
