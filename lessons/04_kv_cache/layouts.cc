#include "lessons/04_kv_cache/layouts.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>

namespace aios::lessons {
namespace {

constexpr int kRounds = 3;
constexpr int kMaxTokens = 48;  // of an answer that is timed

struct Layout {
  std::string_view name;
  double reserved = 0;  // bytes
  double used = 0;
  std::vector<double> token_ms = {};

  double wasted() const { return 1 - used / reserved; }
  double median_ms() {
    std::ranges::sort(token_ms);
    return token_ms.empty() ? 0 : token_ms[token_ms.size() / 2];
  }
};

// Used and reserved on one scale, so that the lengths can be compared.
std::string Bar(const Layout& layout, double longest) {
  constexpr int kWidth = 50;
  const auto columns = [&](double bytes) {
    return static_cast<size_t>(std::max<int64_t>(1, std::llround(kWidth * bytes / longest)));
  };
  const size_t used = columns(layout.used);
  return std::string(used, '#') + std::string(columns(layout.reserved) - used, '.');
}

// Seconds of each token after the first.
void Time(Engine& engine, const GenerationRequest& request, Layout& layout,
          std::vector<Output>& outputs) {
  Generation generation = engine.Generate(request, nullptr, [](std::string_view) {});
  for (size_t i = 1; i < generation.token_seconds.size(); ++i) {
    layout.token_ms.push_back(generation.token_seconds[i] * 1e3);
  }
  outputs.push_back({.prompt_ids = request.prompt_ids, .generation = std::move(generation)});
}

}  // namespace

std::vector<Output> CompareLayouts(Lesson& lesson, const Flags& flags, Engine& paged,
                                   const std::vector<SequenceSize>& sequences) {
  const auto token_bytes = static_cast<double>(paged.cache().bytes_per_token());
  std::array<Layout, 2> layouts = {{{.name = "contiguous"}, {.name = "paged"}}};
  for (const SequenceSize& sequence : sequences) {
    layouts[0].reserved += static_cast<double>(paged.context()) * token_bytes;
    layouts[1].reserved += static_cast<double>(sequence.n_pages * paged.cache().bytes_per_page());
    for (Layout& layout : layouts) {
      layout.used += static_cast<double>(sequence.n_tokens) * token_bytes;
    }
  }

  GenerationRequest request = lesson.request();
  request.stop_strings.clear();
  request.top_logits = 0;
  request.prompt_ids = lesson.prompts().front().ids;
  request.max_new_tokens = std::min(request.max_new_tokens, kMaxTokens);

  // A page as large as this sequence may become. What is drawn is the whole context; to take so
  // much memory would change no address that is read.
  const int64_t length = std::min(
      paged.context(), static_cast<int64_t>(request.prompt_ids.size()) + request.max_new_tokens);
  const std::unique_ptr<Backend> backend = NewBackend(flags);
  Engine contiguous(*backend, lesson.model(),
                    {.kv = {.memory = length * paged.cache().bytes_per_token(),
                            .page_size = length,
                            .context = length}});
  std::vector<Output> outputs;
  for (int round = 0; round < kRounds; ++round) {
    outputs.clear();
    Time(contiguous, request, layouts[0], outputs);
    Time(paged, request, layouts[1], outputs);
  }

  lesson.Print("layout   {} sequence{}, contexts of {}, {} tokens a page; # used, . reserved\n",
               sequences.size(), sequences.size() == 1 ? "" : "s", paged.context(),
               paged.cache().page_size());
  for (Layout& layout : layouts) {
    const double ms = layout.median_ms();
    lesson.Print("         |{}\n", Bar(layout, layouts[0].reserved));
    lesson.Print("  {:<11}{:.1f} MB reserved, {:.1f} MB used, {:.1f}% wasted; {:.2f} ms a token\n",
                 layout.name, layout.reserved * 1e-6, layout.used * 1e-6, 100 * layout.wasted(),
                 ms);
    for (const auto& [what, number] :
         {std::pair("reserved_bytes", layout.reserved), std::pair("used_bytes", layout.used),
          std::pair("token_ms", ms)}) {
      lesson.report().figures.emplace_back(fmt::format("{}_{}", layout.name, what), number);
    }
  }
  return outputs;
}

}  // namespace aios::lessons
