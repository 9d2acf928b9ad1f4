#include "lessons/04_kv_cache/judge.h"

#include <algorithm>
#include <span>
#include <vector>

#include "common/base/cli.h"
#include "common/base/error.h"
#include "common/engine/judge.h"
#include "common/engine/recompute.h"

namespace aios::lessons {

Check WouldChoose(const Flags& flags, const Model& model, const std::vector<Output>& outputs,
                  bool exact) {
  size_t longest = 0;
  for (const auto& [prompt_ids, generation] : outputs) {
    longest = std::max(longest, prompt_ids.size() + generation.tokens.size());
  }
  const std::unique_ptr<Backend> backend = NewBackend(flags);
  Recompute recompute(*backend, model, static_cast<int64_t>(longest));
  return JudgeByForcing(
      exact ? "without a cache the engine would choose the same tokens"
            : "without a cache the engine would choose the same, but for near ties",
      [&](std::span<const TokenId> sequence, int64_t n_last) {
        return recompute.Forward(sequence, n_last);
      },
      outputs, exact);
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
