#include "generation_loop.h"

#include <algorithm>

namespace aios::exercise {

Answer Generate(const Request& request, const NextToken& next_token, const OnToken& on_token) {
  // BEGIN SOLUTION
  // STUB: return {};
  std::vector<int32_t> sequence = request.prompt;
  Answer answer = {.tokens = {}, .finish = Finish::kMaxTokens};
  const auto limit = static_cast<size_t>(request.max_new_tokens);
  while (answer.tokens.size() < limit) {
    const int32_t token = next_token(sequence);
    sequence.push_back(token);
    answer.tokens.push_back(token);
    const auto& stops = request.stop_tokens;
    if (std::find(stops.begin(), stops.end(), token) != stops.end()) {
      answer.finish = Finish::kStopToken;
      break;
    }
    const bool more = on_token(token);
    if (answer.tokens.size() < limit && !more) {
      answer.finish = Finish::kStoppedByReader;
      break;
    }
  }
  return answer;
  // END SOLUTION
}

}  // namespace aios::exercise
