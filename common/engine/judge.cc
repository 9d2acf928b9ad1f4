#include "common/engine/judge.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace aios {

Check JudgeByForcing(std::string name, const LastLogits& judge, const std::vector<Output>& outputs,
                     bool exact) {
  constexpr float kBf16Lead = 0.5F;
  size_t n_tokens = 0;
  size_t n_same = 0;
  float worst = 0;  // by how much the judge liked another token better
  for (const auto& [prompt_ids, generation] : outputs) {
    const std::vector<TokenId>& answer = generation.tokens;
    std::vector<TokenId> sequence = prompt_ids;
    sequence.insert(sequence.end(), answer.begin(), answer.end() - 1);
    const std::vector<float> logits = judge(sequence, static_cast<int64_t>(answer.size()));
    const size_t vocab_size = logits.size() / answer.size();
    for (size_t i = 0; i < answer.size(); ++i) {
      const std::span row(&logits[i * vocab_size], vocab_size);
      const float lead = *std::ranges::max_element(row) - row[answer[i]];
      worst = std::max(worst, lead);
      n_same += lead == 0 ? 1 : 0;
    }
    n_tokens += answer.size();
  }
  return {.name = std::move(name),
          .ok = exact ? n_same == n_tokens : worst <= kBf16Lead,
          .detail = fmt::format("{} of {}; worst lead of another {:.3f}", n_same, n_tokens, worst)};
}

}  // namespace aios
