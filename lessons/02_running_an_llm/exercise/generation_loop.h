// Exercise: the loop that makes a model write.
//
// A model answers one question: which token follows this sequence? Ask it about the prompt; put the
// answer at the end; ask again about the longer sequence; until it should stop:
//
//   - the token is one of stop_tokens: it is the last of the answer's tokens, but nobody is shown
//   it;
//   - the answer has max_new_tokens tokens;
//   - on_token returned false: the reader has seen enough.
//
// By hand: the prompt is [5, 6], stop_tokens [2], max_new_tokens 10, and the model answers 7, 8, 2.
// It is asked about [5, 6], then [5, 6, 7], then [5, 6, 7, 8]; on_token gets 7, then 8; the result
// is {[7, 8, 2], kStopToken}. A stop token in the prompt stops nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace aios::exercise {

enum class Finish { kStopToken, kMaxTokens, kStoppedByReader };

struct Answer {
  std::vector<int32_t> tokens;  // without the prompt
  Finish finish;  // if two reasons hold at once, the one that stands first in the list above
};

struct Request {
  std::vector<int32_t> prompt;  // at least one token
  int max_new_tokens = 0;       // 0 or more
  std::vector<int32_t> stop_tokens;
};

// The model: the token that follows `sequence`. A call is a forward pass and costs as much, so
// there must be none whose answer nobody uses.
using NextToken = std::function<int32_t(std::span<const int32_t> sequence)>;

// Called with each token of the answer but a stop token, as soon as it is known: before the model
// is asked for the next. False: stop.
using OnToken = std::function<bool(int32_t token)>;

Answer Generate(const Request& request, const NextToken& next_token, const OnToken& on_token);

}  // namespace aios::exercise
