#include "lessons/04_kv_cache/prefix.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "common/text/chat_template.h"

namespace aios::lessons {
namespace {

// As assistants have them; some 300 tokens.
constexpr const char* kInstructions =
    "You are the assistant of a public library. Visitors write to you from the reading rooms, from "
    "home, and from the desks at the entrance, and you answer each of them in the same way: "
    "briefly, "
    "in plain words, and only with what you know. The library opens at nine in the morning and "
    "closes at eight in the evening, on Saturdays at five; on Sundays and public holidays it stays "
    "closed. A card costs nothing for those who live in the city and ten a year for everybody "
    "else; "
    "children always read for free. Up to twelve books may be taken home for four weeks, films and "
    "records for one week, and games for two. Whoever needs a book for longer may keep it for "
    "another four weeks, unless somebody else is waiting for it. What comes back late costs a "
    "small "
    "fee for each day, but never more than the book itself. Maps, newspapers and everything "
    "printed "
    "before 1900 stay in the building; they can be copied on the second floor, next to the lift. "
    "Quiet work is done on the third floor, talking is welcome on the first, and eating only in "
    "the "
    "garden. Do not recommend a book that you have not been asked about. Do not give advice on law "
    "or on medicine: name the shelf where the visitor can look it up. If a question is not about "
    "the "
    "library, say kindly that you cannot help with it. Answer in one or two sentences.";

constexpr std::array<const char*, 4> kQuestions = {
    "When do you close on Saturdays?", "May I eat my lunch inside?",
    "How many films can I take home, and for how long?",
    "Where can I copy an old map of the city?"};

constexpr size_t kSyntheticPrefix = 300;
constexpr size_t kSyntheticQuestion = 20;
constexpr int kAnswerTokens = 8;

std::vector<std::vector<TokenId>> PromptsFor(const Lesson& lesson) {
  std::vector<std::vector<TokenId>> prompts;
  const Tokenizer* tokenizer = lesson.tokenizer();
  if (tokenizer != nullptr) {
    const auto chat = ChatTemplate::Detect(tokenizer->chat_template);
    for (const char* question : kQuestions) {
      if (chat.has_value()) {
        const std::array<ChatMessage, 2> messages = {
            {{.role = "system", .content = kInstructions}, {.role = "user", .content = question}}};
        prompts.push_back(chat->Encode(*tokenizer, messages));
      } else {
        prompts.push_back(tokenizer->Encode(fmt::format("{}\n\n{}\n", kInstructions, question),
                                            SpecialTokens::kAsText));
      }
    }
    return prompts;
  }
  const auto vocab_size = static_cast<size_t>(lesson.model().config().vocab_size);
  for (size_t q = 0; q < kQuestions.size(); ++q) {
    std::vector<TokenId>& ids = prompts.emplace_back();
    for (size_t i = 0; i < kSyntheticPrefix + kSyntheticQuestion; ++i) {
      const size_t question = i < kSyntheticPrefix ? 0 : q + 1;
      ids.push_back(static_cast<TokenId>((7919 * (i + 1) + 104729 * question) % vocab_size));
    }
  }
  return prompts;
}

}  // namespace

std::vector<Output> ShareAPrefix(Lesson& lesson, Engine& engine,
                                 const std::function<void()>& after_each) {
  const std::vector<std::vector<TokenId>> prompts = PromptsFor(lesson);
  const size_t longest =
      std::ranges::max_element(prompts, {}, [](const auto& ids) { return ids.size(); })->size();
  if (static_cast<int64_t>(longest) + kAnswerTokens > engine.context()) {
    lesson.Print("prefix   not shown: its {} tokens are too many for a context of {}\n", longest,
                 engine.context());
    return {};
  }
  GenerationRequest request = lesson.request();
  request.sampling = {};
  request.stop_strings.clear();
  request.top_logits = 0;
  request.max_new_tokens = kAnswerTokens;
  std::vector<Output> outputs;
  int64_t n_tokens = 0;
  int64_t n_cached = 0;
  lesson.Print("prefix   {} prompts that begin alike; whole pages of {} tokens are shared\n",
               prompts.size(), engine.cache().page_size());
  for (size_t i = 0; i < prompts.size(); ++i) {
    request.prompt_ids = prompts[i];
    Generation generation = engine.Generate(request, nullptr, [](std::string_view) {});
    lesson.Print("  prompt {}: {} tokens, {} known; first token after {:.1f} ms\n", i + 1,
                 prompts[i].size(), generation.n_cached, generation.first_token_seconds * 1e3);
    lesson.report().figures.emplace_back(fmt::format("prefix_{}_ttft_ms", i + 1),
                                         generation.first_token_seconds * 1e3);
    n_tokens += static_cast<int64_t>(prompts[i].size());
    n_cached += generation.n_cached;
    outputs.push_back({.prompt_ids = prompts[i], .generation = std::move(generation)});
    after_each();
    if (InterruptFlag()) break;
  }
  lesson.Print("  {} of {} prompt tokens were not computed again\n", n_cached, n_tokens);
  lesson.report().figures.emplace_back("prefix_tokens", static_cast<double>(n_tokens));
  lesson.report().figures.emplace_back("prefix_known_tokens", static_cast<double>(n_cached));
  return outputs;
}

}  // namespace aios::lessons
