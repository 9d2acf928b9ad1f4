#include "common/text/bpe_trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <climits>
#include <map>
#include <random>
#include <set>

#include "common/text/byte_level.h"
#include "tests/common/text/text_testing.h"

namespace aios {
namespace {

using Merges = std::vector<std::pair<std::string, std::string>>;

Merges MergesOf(const TrainedBpe& trained) {
  Merges merges;
  for (const TrainedMerge& merge : trained.merges) {
    merges.emplace_back(trained.tokens[merge.left], trained.tokens[merge.right]);
  }
  return merges;
}

// The definition: count all pairs of all words anew, merge the best one everywhere, start again.
struct ByDefinition {
  Merges merges;
  std::vector<uint64_t> counts;
};
ByDefinition TrainByDefinition(const std::string& text, const BpeTrainerOptions& options,
                               const std::vector<std::string>& alphabet) {
  std::vector<std::string> tokens = alphabet;
  const auto id_of = [&](const std::string& token) {
    return std::find(tokens.begin(), tokens.end(), token) - tokens.begin();
  };
  std::vector<std::vector<std::string>> words;
  const WordScanner word_end = ScannerOf(options.pre_tokenizer);
  for (const char *at = text.data(), *end = at + text.size(); at != end;) {
    const char* const stop = word_end(at, end);
    for (words.emplace_back(); at != stop; ++at) words.back().push_back(ToByteLevel({at, 1}));
  }
  ByDefinition out;
  while (std::ssize(tokens) < options.vocab_size) {
    std::map<std::pair<int64_t, int64_t>, uint64_t> counts;  // sorted by ids
    for (const auto& word : words) {
      for (size_t i = 0; i + 1 < word.size(); ++i) ++counts[{id_of(word[i]), id_of(word[i + 1])}];
    }
    auto best = counts.begin();
    for (auto it = counts.begin(); it != counts.end(); ++it) {
      if (it->second > best->second) best = it;
    }
    if (best == counts.end() || best->second < options.min_count) break;
    const std::pair pair(tokens[best->first.first], tokens[best->first.second]);
    for (auto& word : words) {
      for (size_t i = 0; i + 1 < word.size(); ++i) {
        if (word[i] != pair.first || word[i + 1] != pair.second) continue;
        word[i] += word[i + 1];
        word.erase(word.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      }
    }
    tokens.push_back(pair.first + pair.second);
    out.merges.push_back(pair);
    out.counts.push_back(best->second);
  }
  return out;
}

// Hugging Face's trainer: tests/golden/make_bpe_trainer.py.
TEST(BpeTrainerTest, SameMergesAndIdsAsHuggingFace) {
  const Json golden = Golden("bpe_trainer/golden.json");
  ASSERT_GE(golden.size(), 20);
  size_t n_merges = 0;
  for (const Json& entry : golden) {
    const std::string text = entry["text"];
    SCOPED_TRACE(text.substr(0, 80));
    const TrainedBpe trained = TrainBpe(
        text, {.vocab_size = entry["vocab_size"], .min_count = entry["min_count"]}, "golden");
    EXPECT_EQ(MergesOf(trained), entry["merges"].get<Merges>());
    std::string alphabet;
    for (int i = 0; i < 256; ++i) alphabet += trained.tokens[i];
    EXPECT_EQ(alphabet, entry["alphabet"]);
    EXPECT_EQ(std::vector(trained.tokens.begin() + 256, trained.tokens.end()),
              entry["tokens"].get<std::vector<std::string>>());
    std::vector<TokenId> ids =
        trained.MakeTokenizer("golden")->Encode(text, SpecialTokens::kAsText);
    if (ids.size() > 500) ids.resize(500);
    EXPECT_EQ(ids, entry["ids"].get<std::vector<TokenId>>());
    n_merges += trained.merges.size();
  }
  EXPECT_GE(n_merges, 500);
}

// Few letters, so that ties and runs of one letter are common.
TEST(BpeTrainerTest, EqualsTheDefinition) {
  std::mt19937 random(5);
  for (int round = 0; round < 150; ++round) {
    std::string text;
    const int n_letters = 1 + static_cast<int>(random() % 4);
    for (size_t i = random() % 300 + 1; i > 0; --i) {
      text += random() % 7 == 0 ? ' ' : static_cast<char>('a' + random() % n_letters);
    }
    const BpeTrainerOptions options = {.vocab_size = 256 + static_cast<int>(random() % 80),
                                       .min_count = random() % 3,
                                       .pre_tokenizer = PreTokenizer::kLlama3};
    const TrainedBpe trained = TrainBpe(text, options, "random");
    const ByDefinition expected =
        TrainByDefinition(text, options, {trained.tokens.begin(), trained.tokens.begin() + 256});
    ASSERT_EQ(MergesOf(trained), expected.merges) << text;
    for (size_t i = 0; i < trained.merges.size(); ++i) {
      ASSERT_EQ(trained.merges[i].count, expected.counts[i]) << text << ", merge " << i;
    }
    // No two merges lead to one token.
    EXPECT_EQ(std::set(trained.tokens.begin(), trained.tokens.end()).size(),
              256 + trained.merges.size());
    const auto tokenizer = trained.MakeTokenizer("random");
    EXPECT_EQ(tokenizer->Decode(tokenizer->Encode(text, SpecialTokens::kAsText)), text);
  }
}

TEST(BpeTrainerTest, CountsWordsAndStopsWhereNoPairIsLeft) {
  const TrainedBpe trained = TrainBpe("ab ab ab cd", {.vocab_size = 1000}, "text");
  EXPECT_EQ(trained.n_words, 4);
  EXPECT_EQ(trained.n_unique_words, 3);
  EXPECT_EQ(MergesOf(trained), (Merges{{"a", "b"}, {"Ġ", "ab"}}));
  EXPECT_EQ(trained.merges[0].count, 3);
  EXPECT_EQ(trained.merges[1].count, 2);
}

TEST(BpeTrainerTest, BadInputIsASentence) {
  const auto error = [](std::string_view text, int vocab_size) {
    return ErrorOf([&] { TrainBpe(text, {.vocab_size = vocab_size}, "t.txt"); });
  };
  EXPECT_THAT(error("", 300), testing::HasSubstr("t.txt: is empty"));
  EXPECT_THAT(error("a\xFFz", 300), testing::HasSubstr("t.txt"));
  for (const int size : {-1, 0, 255, kMaxTrainedVocabulary + 1, INT_MAX}) {
    EXPECT_THAT(error("abc", size), testing::HasSubstr("from 256 (the bytes) to 262144"));
  }
  std::string words;  // all different
  for (int i = 0; words.size() < kMaxTrainedWordBytes + (size_t{2} << 20); ++i) {
    std::string number = std::to_string(i);
    for (char& digit : number) digit = static_cast<char>(digit - '0' + 'a');
    words += " " + std::string(100, 'x') + number;
  }
  EXPECT_THAT(error(words, 300), testing::HasSubstr("different words have more than 8 MiB"));
}

// One word of a megabyte, and one that comes twice: no step may look at the whole word again, and
// no token may grow without end.
TEST(BpeTrainerTest, BoundedForHostileTexts) {
  std::mt19937 random(1);
  std::string word;
  for (int i = 0; i < 300'000; ++i) word += static_cast<char>('a' + random() % 26);
  for (const std::string& text : {std::string(1'000'000, 'a'), word, word + ". " + word}) {
    const TrainedBpe trained = TrainBpe(text, {.vocab_size = 20'000}, "hostile");
    for (const std::string& token : trained.tokens) ASSERT_LE(token.size(), kMaxTrainedTokenBytes);
  }
}

}  // namespace
}  // namespace aios
