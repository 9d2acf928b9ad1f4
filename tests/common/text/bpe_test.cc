// Byte-level BPE on vocabularies written here. golden_test.cc has real ones.
#include "common/text/bpe.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/common/text/text_testing.h"

namespace aios {
namespace {

using Ids = std::vector<TokenId>;
constexpr auto kAsText = SpecialTokens::kAsText;
constexpr auto kRecognize = SpecialTokens::kRecognize;

// 0 a, 1 b, 2 c, 3 space, 4 ab, 5 bc, 6 abc, 7 "<s>" (special), 8 "user" (not special)
BpeVocabulary Small() {
  BpeVocabulary vocabulary;
  vocabulary.tokens = {"a", "b", "c", "\u0120", "ab", "bc", "abc", "<s>", "user"};
  vocabulary.merges = {{"b", "c"}, {"a", "b"}, {"a", "bc"}};
  vocabulary.added_tokens = {{.id = 7, .text = "<s>"}, {.id = 8, .text = "user", .special = false}};
  return vocabulary;
}

std::string BuildError(const BpeVocabulary& vocabulary) {
  return ErrorOf([&] { BpeTokenizer(vocabulary, "test"); });
}

TEST(BpeTest, MergesByRank) {
  const BpeTokenizer tokenizer(Small(), "test");
  EXPECT_EQ(tokenizer.Encode("", kAsText), Ids{});
  EXPECT_EQ(tokenizer.Encode("abc", kAsText), Ids{6});
  EXPECT_EQ(tokenizer.Encode("abab", kAsText), (Ids{4, 4}));
  EXPECT_EQ(tokenizer.Encode("ab abc", kAsText), (Ids{4, 3, 6}));
}

TEST(BpeTest, ControlTokensAreTextToAUserAndOtherAddedTokensAreNot) {
  const BpeTokenizer tokenizer(Small(), "test");
  EXPECT_EQ(tokenizer.Encode("<s>a", kRecognize), (Ids{7, 0}));
  EXPECT_EQ(tokenizer.Encode("a<s>usera", kAsText), (Ids{0, 8, 0}));  // < s > are no tokens here
  EXPECT_TRUE(tokenizer.IsSpecial(7));
  EXPECT_FALSE(tokenizer.IsSpecial(8));
  EXPECT_EQ(tokenizer.FindSpecial("<s>"), 7);
  EXPECT_EQ(tokenizer.FindSpecial("user"), std::nullopt);
}

TEST(BpeTest, NoMergeLeadsToAControlToken) {
  BpeVocabulary vocabulary = Small();
  vocabulary.added_tokens.push_back({.id = 6, .text = "abc"});
  const BpeTokenizer tokenizer(vocabulary, "test");
  EXPECT_EQ(tokenizer.Encode("abc", kAsText), (Ids{0, 5}));
  EXPECT_EQ(tokenizer.Encode("abc", kRecognize), Ids{6});
  vocabulary.ignore_merges = true;
  EXPECT_EQ(BpeTokenizer(vocabulary, "test").Encode("abc", kAsText), (Ids{0, 5}));
}

TEST(BpeTest, IgnoreMergesTakesAWholeWord) {
  BpeVocabulary vocabulary = Small();
  vocabulary.merges = {{"b", "c"}};
  EXPECT_EQ(BpeTokenizer(vocabulary, "test").Encode("ab abc", kAsText), (Ids{0, 1, 3, 0, 5}));
  vocabulary.ignore_merges = true;
  EXPECT_EQ(BpeTokenizer(vocabulary, "test").Encode("ab abc", kAsText), (Ids{4, 3, 0, 5}));
}

TEST(BpeTest, ABytePresentNowhereIsLeftOutOrUnknown) {
  BpeVocabulary vocabulary = Small();
  EXPECT_EQ(BpeTokenizer(vocabulary, "test").Encode("aXbYc", kAsText), Ids{6});
  // Also in a word so long that it would be cut where no merge can span.
  const std::string as(20, 'a');
  Ids want(19, 0);
  want.push_back(6);
  EXPECT_EQ(BpeTokenizer(vocabulary, "test").Encode(as + "bXc", kAsText), want);
  vocabulary.unknown = 7;
  EXPECT_EQ(BpeTokenizer(vocabulary, "test").Encode("aXbc", kAsText), (Ids{0, 7, 5}));
}

TEST(BpeTest, DecodesBytes) {
  const BpeTokenizer tokenizer(Small(), "test");
  EXPECT_EQ(tokenizer.Decode(Ids{4, 3, 7, 2}), "ab <s>c");
  EXPECT_EQ(tokenizer.TokenBytes(3), " ");
  EXPECT_EQ(tokenizer.vocab_size(), 9);
}

TEST(BpeTest, RefusesTextThatIsNotUtf8) {
  const BpeTokenizer tokenizer(Small(), "test");
  EXPECT_EQ(ErrorOf([&] { tokenizer.Encode("abc\xE2\x82", kAsText); }),
            "the text is not valid UTF-8: byte 3 (0xe2) cannot stand there");
}

// Words of every length around those of the cache, at every distance from the end of the text,
// twice: the second time from the cache.
TEST(BpeTest, TheCacheTellsWordsApart) {
  BpeVocabulary vocabulary = Small();
  vocabulary.tokens.push_back("\u0100");  // byte 0, with which the cache pads
  vocabulary.added_tokens.clear();
  const BpeTokenizer tokenizer(vocabulary, "test");
  for (const size_t n : {1, 2, 3, 2, 1}) {
    EXPECT_EQ(tokenizer.Encode(std::string(n, '\0'), kAsText), Ids(n, 9));
  }
  for (int round = 0; round < 2; ++round) {
    for (size_t n = 1; n < 60; ++n) {
      for (const size_t after : {0, 1, 5, 30}) {
        const Ids ids = tokenizer.Encode(Repeat("ab", n) + Repeat(" ", after), kAsText);
        Ids want(n, 4);
        want.insert(want.end(), after, 3);
        ASSERT_EQ(ids, want) << n << " " << after;
      }
    }
  }
}

TEST(BpeTest, TokenizersDoNotShareCachedWords) {
  BpeVocabulary other = Small();
  other.merges.clear();
  const BpeTokenizer first(Small(), "test");
  const BpeTokenizer second(other, "test");
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(first.Encode("abc", kAsText), Ids{6});
    EXPECT_EQ(second.Encode("abc", kAsText), (Ids{0, 1, 2}));
  }
}

TEST(BpeTest, ThreadsMayShareATokenizer) {
  const BpeTokenizer tokenizer(Small(), "test");
  const std::string text = Repeat("abc ab user bc ", 1000);
  const Ids want = tokenizer.Encode(text, kAsText);
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] { EXPECT_EQ(tokenizer.Encode(text, kAsText), want); });
  }
}

// ---- Vocabularies that make no sense

TEST(BpeHostileTest, TokenTwice) {
  BpeVocabulary vocabulary = Small();
  vocabulary.tokens[5] = "ab";
  EXPECT_EQ(BuildError(vocabulary), "test: tokens 4 and 5 are the same ('ab')");
}

TEST(BpeHostileTest, TokenNotInTheAlphabet) {
  BpeVocabulary vocabulary = Small();
  for (const std::string_view bad : {"a b", "\u4F60", "\xFF", "\n"}) {
    vocabulary.tokens[4] = bad;
    EXPECT_EQ(
        BuildError(vocabulary),
        fmt::format("test: token 4 ({}) is not written in the byte-level alphabet", Quoted(bad)));
  }
}

TEST(BpeHostileTest, MergeOfWhatIsNoToken) {
  BpeVocabulary vocabulary = Small();
  vocabulary.merges.push_back({"a", "z"});
  EXPECT_EQ(BuildError(vocabulary), "test: merge 3 ('a' with 'z') needs 'z', which is no token");
  vocabulary.merges.back() = {"c", "c"};
  EXPECT_EQ(BuildError(vocabulary), "test: merge 3 ('c' with 'c') needs 'cc', which is no token");
  for (const std::string_view bad : {"", " ", "\u4F60"}) {
    vocabulary.merges.back() = {bad, "a"};
    EXPECT_EQ(
        BuildError(vocabulary),
        fmt::format("test: merge 3 ({} with 'a') is not two strings of the byte-level alphabet",
                    Quoted(bad)));
  }
}

TEST(BpeHostileTest, AddedTokenOutsideTheVocabulary) {
  BpeVocabulary vocabulary = Small();
  for (const TokenId bad : {9, -1, 1 << 30}) {
    vocabulary.added_tokens[0].id = bad;
    EXPECT_EQ(BuildError(vocabulary),
              fmt::format("test: added token '<s>' has the id {}, but the ids end at 8", bad));
  }
  vocabulary.added_tokens[0].id = 8;
  EXPECT_EQ(BuildError(vocabulary), "test: added tokens '<s>' and 'user' have the same id, 8");
  vocabulary.added_tokens[0] = {.id = 7, .text = "\xE4"};  // inside of U+4F60
  EXPECT_EQ(BuildError(vocabulary), "test: added token '\\xe4' is not valid UTF-8");
  vocabulary.added_tokens[0] = {.id = 7, .text = std::string(257, 'x')};
  EXPECT_TRUE(BuildError(vocabulary).ends_with("is longer than 256 bytes"))
      << BuildError(vocabulary);
}

}  // namespace
}  // namespace aios
