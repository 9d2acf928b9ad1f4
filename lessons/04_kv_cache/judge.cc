#include "lessons/04_kv_cache/judge.h"

#include <algorithm>
#include <span>
#include <vector>

#include "common/base/cli.h"
#include "common/base/error.h"
#include "common/engine/recompute.h"

namespace aios::lessons {

Check WouldChoose(const Flags& flags, const Model& model, const std::vector<Output>& outputs,
                  bool exact) {
  // By how much another token's logit may lead the one that bf16 chose; logits are some 10 to 20.
  constexpr float kBf16Lead = 0.5F;
  size_t longest = 0;
  for (const auto& [prompt_ids, generation] : outputs) {
    longest = std::max(longest, prompt_ids.size() + generation.tokens.size());
  }
  const std::unique_ptr<Backend> backend = NewBackend(flags);
  Recompute recompute(*backend, model, static_cast<int64_t>(longest));

  size_t n_tokens = 0;
  size_t n_same = 0;
  float worst = 0;  // by how much it liked another token better
  for (const auto& [prompt_ids, generation] : outputs) {
    const std::vector<TokenId>& answer = generation.tokens;
    std::vector<TokenId> sequence = prompt_ids;
    sequence.insert(sequence.end(), answer.begin(), answer.end() - 1);
    const std::vector<float> logits =
        recompute.Forward(sequence, static_cast<int64_t>(answer.size()));
    const size_t vocab_size = logits.size() / answer.size();
    for (size_t i = 0; i < answer.size(); ++i) {
      const std::span row(&logits[i * vocab_size], vocab_size);
      const float lead = *std::ranges::max_element(row) - row[answer[i]];
      worst = std::max(worst, lead);
      n_same += lead == 0 ? 1 : 0;
    }
    n_tokens += answer.size();
  }
  return {.name = exact ? "without a cache the engine would choose the same tokens"
                        : "without a cache the engine would choose the same, but for near ties",
          .ok = exact ? n_same == n_tokens : worst <= kBf16Lead,
          .detail = fmt::format("{} of {}; worst lead of another {:.3f}", n_same, n_tokens, worst)};
}

Check SameTokens(const std::vector<Output>& before, const std::vector<Output>& after) {
  size_t n_tokens = 0;
  size_t n_same = 0;
  for (size_t i = 0; i < std::min(before.size(), after.size()); ++i) {
    const std::vector<TokenId>& a = before[i].generation.tokens;
    const std::vector<TokenId>& b = after[i].generation.tokens;
    const size_t n = std::min(a.size(), b.size());
    n_tokens += InterruptFlag() ? n : std::max(a.size(), b.size());
    n_same += std::ranges::mismatch(std::span(a).first(n), std::span(b).first(n)).in1 -
              std::span(a).first(n).begin();
  }
  return {.name = "the same tokens with a cache as without",
          .ok = n_same == n_tokens,
          .detail = fmt::format("{} of {}", n_same, n_tokens)};
}

}  // namespace aios::lessons
