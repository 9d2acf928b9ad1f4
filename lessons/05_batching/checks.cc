#include "lessons/05_batching/checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string>

#include "common/base/cli.h"
#include "common/engine/judge.h"
#include "common/engine/recompute.h"

namespace aios::lessons {

Check SameTokens(const std::vector<ModeRun>& runs) {
  size_t n_tokens = 0;
  size_t n_same = 0;
  std::string first_other;
  for (const ModeRun& run : runs) {
    for (size_t i = 0; i < run.outputs.size(); ++i) {
      const std::vector<TokenId>& a = runs.front().outputs[i].generation.tokens;
      const std::vector<TokenId>& b = run.outputs[i].generation.tokens;
      const size_t n = std::min(a.size(), b.size());
      const size_t of = InterruptFlag() ? n : std::max(a.size(), b.size());
      const auto same = static_cast<size_t>(
          std::ranges::mismatch(std::span(a).first(n), std::span(b).first(n)).in1 -
          std::span(a).first(n).begin());
      n_tokens += of;
      n_same += same;
      if (same < of && first_other.empty()) {
        first_other = fmt::format("; {}: request {} from token {} on", run.timeline.mode, i, same);
      }
    }
  }
  return {.name = "every request has the tokens of its run alone",
          .ok = n_same == n_tokens,
          .detail = fmt::format("{} of {}{}", n_same, n_tokens, first_other)};
}

Check AllPagesBack(const std::vector<ModeRun>& runs) {
  std::string detail;
  bool ok = true;
  for (const ModeRun& run : runs) {
    if (run.n_pages_back == run.n_pages) continue;
    ok = false;
    detail += fmt::format("{}{}: {} of {}", detail.empty() ? "" : "; ", run.timeline.mode,
                          run.n_pages_back, run.n_pages);
  }
  if (ok) detail = fmt::format("{} after each of {} runs", runs.front().n_pages, runs.size());
  return {.name = "all pages are back", .ok = ok, .detail = detail};
}

Check NobodyPassedOver(const std::vector<ModeRun>& runs, double patience) {
  std::string detail;
  for (const ModeRun& run : runs) {
    if (run.timeline.n_passed_over == 0) continue;
    detail += fmt::format("{}{}: {} times", detail.empty() ? "" : "; ", run.timeline.mode,
                          run.timeline.n_passed_over);
  }
  const bool ok = detail.empty();
  return {.name = fmt::format("nobody is passed over who has waited for {:g} s", patience),
          .ok = ok,
          .detail = ok ? "never" : detail};
}

Check WouldChoose(const Flags& flags, const Model& model, const ModeRun& run) {
  std::vector<Output> outputs = run.outputs;
  std::erase_if(outputs, [](const Output& output) { return output.generation.tokens.empty(); });
  size_t longest = 1;
  for (const auto& [prompt_ids, generation] : outputs) {
    longest = std::max(longest, prompt_ids.size() + generation.tokens.size());
  }
  const std::unique_ptr<Backend> backend = NewBackend(flags);
  Recompute recompute(*backend, model, static_cast<int64_t>(longest));
  return JudgeByForcing(
      "alone and without a cache the engine would choose the same, but for near ties",
      [&](std::span<const TokenId> sequence, int64_t n_last) {
        return recompute.Forward(sequence, n_last);
      },
      outputs, /*exact=*/false);
}

}  // namespace aios::lessons
