// How a text becomes tokens: the words, then each word's bytes and merges, then the ids.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "common/text/byte_level.h"
#include "lessons/01_llm_basics/merge_tree.h"
#include "lessons/01_llm_basics/tokenizer_parts.h"

namespace aios {
namespace {

constexpr size_t kMaxWordsInDetail = 4;
constexpr size_t kMaxBytesInDetail = 24;
constexpr size_t kMaxWordsListed = 60;
constexpr size_t kMaxBytesQuoted = 400;

void PrintSteps(const BpeTokenizer& tokenizer, const WordTrace& word, std::FILE* out) {
  std::vector<std::string> tokens;
  for (const TokenId id : word.bytes) tokens.push_back(LettersOf(tokenizer, id));
  fmt::print(out, "  bytes       {}\n", fmt::join(tokens, " "));
  for (const MergeStep& step : word.merges) {
    tokens[step.at] += tokens[step.at + 1];
    tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(step.at) + 1);
    fmt::print(out, "  rank {:>5}  ", step.rank);
    for (size_t i = 0; i < tokens.size(); ++i) {
      fmt::print(out, "{}{}", i == 0 ? "" : " ",
                 i == step.at ? fmt::format("[{}]", tokens[i]) : tokens[i]);
    }
    fmt::print(out, "\n");
  }
}

// Words worth a look: with merges to watch, not too long, each once.
std::vector<WordTrace> WordsInDetail(const std::vector<WordTrace>& words) {
  std::vector<WordTrace> chosen;
  std::set<std::string> seen;
  const auto take = [&](auto wanted) {
    for (const WordTrace& word : words) {
      if (chosen.size() == kMaxWordsInDetail) return;
      const bool fits = !word.merges.empty() && word.bytes.size() <= kMaxBytesInDetail;
      if (fits && wanted(word) && seen.insert(word.word).second) chosen.push_back(word);
    }
  };
  // One that is left in several tokens and one that is not ASCII teach the most.
  take([&](const WordTrace& word) { return chosen.size() < 2 && word.ids.size() > 1; });
  take([](const WordTrace& word) { return word.merges.size() > 1; });
  take([](const WordTrace&) { return true; });
  return chosen;
}

}  // namespace

Json ShowMerges(const BpeTokenizer& tokenizer, const std::string& text, const std::string& svg,
                std::FILE* out) {
  const std::vector<WordTrace> words = tokenizer.Trace(text);
  if (text.size() <= kMaxBytesQuoted) fmt::print(out, "text       {}\n", text);
  fmt::print(out, "bytes      {}, of {} characters\n", text.size(),
             std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));

  std::vector<std::string> listed;
  for (const WordTrace& word : words) {
    if (listed.size() == kMaxWordsListed) break;
    listed.push_back(ToByteLevel(word.word));
  }
  fmt::print(out, "words      {}{}\n", fmt::join(listed, " | "),
             words.size() > listed.size() ? " | ..." : "");

  std::vector<MergeTree> trees;
  for (const WordTrace& word : WordsInDetail(words)) {
    trees.emplace_back(tokenizer, word);
    fmt::print(out, "\nword       {} of {} bytes: {} merges, the lowest rank first\n",
               ToByteLevel(word.word), word.bytes.size(), word.merges.size());
    PrintSteps(tokenizer, word, out);
    fmt::print(out, "  as a tree\n{}", trees.back().Text("    "));
  }

  const std::vector<TokenId> ids = tokenizer.Encode(text, SpecialTokens::kAsText);
  std::vector<std::string> shown;
  for (const TokenId id : ids) {
    if (shown.size() == kMaxWordsListed) break;
    shown.push_back(fmt::format("{} {}", LettersOf(tokenizer, id), id));
  }
  fmt::print(out, "\ntokens     {}{}\n", fmt::join(shown, " | "),
             ids.size() > shown.size() ? " | ..." : "");
  const bool same = tokenizer.Decode(ids) == text;
  fmt::print(out, "back       {} tokens, {:.2f} bytes each; decoded, they are {}\n", ids.size(),
             static_cast<double>(text.size()) / static_cast<double>(ids.size()),
             same ? "the text, byte for byte" : "not the text: normalization changed it");
  if (!svg.empty()) WriteSvg(svg, MergeTreesSvg(trees), out);

  Json steps = Json::array();
  for (const WordTrace& word : words) {
    Json merges = Json::array();
    for (const MergeStep& step : word.merges) merges.push_back({step.rank, step.at, step.result});
    steps.push_back({{"word", word.word}, {"merges", merges}, {"ids", word.ids}});
  }
  return {{"words", steps}, {"ids", ids}, {"round_trip", same}};
}

Json ShowSurprises(const Tokenizer& tokenizer, std::FILE* out) {
  struct Surprise {
    const char* text;
    const char* what;
  };
  constexpr Surprise kSurprises[] = {
      {"token", "a word"},
      {" token", "the same with the space before it: other tokens, not one more"},
      {"Token", "with a capital: others again"},
      {"2024", "a number: are digits alone, or in groups?"},
      {"strawberry", "who sees no letters finds it hard to count them"},
      {"🚀", "one character of four bytes"},
      {"你好", "two characters of three bytes each"},
      {"    return", "an indented line of code"},
  };
  fmt::print(out, "\nsurprises\n");
  Json report = Json::array();
  for (const auto& [text, what] : kSurprises) {
    const std::vector<TokenId> ids = tokenizer.Encode(text, SpecialTokens::kAsText);
    std::vector<std::string> tokens;
    for (const TokenId id : ids) {
      tokens.push_back(fmt::format("{} {}", LettersOf(tokenizer, id), id));
    }
    fmt::print(out, "  {:<12} {:<34} {}\n", fmt::format("\"{}\"", text),
               fmt::format("{}", fmt::join(tokens, " | ")), what);
    report.push_back({{"text", text}, {"ids", ids}});
  }
  return report;
}

}  // namespace aios
