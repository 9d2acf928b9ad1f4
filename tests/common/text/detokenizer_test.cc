#include "common/text/detokenizer.h"

#include <gtest/gtest.h>

#include "common/base/utf8.h"
#include "tests/common/text/text_testing.h"

namespace aios {
namespace {

using Ids = std::vector<TokenId>;

// What the stream gives, after checking that each part is whole characters.
std::string Stream(Detokenizer& detokenizer, const Ids& ids) {
  std::string text;
  for (const TokenId id : ids) {
    const std::string part = detokenizer.Feed(id);
    EXPECT_EQ(FindInvalidUtf8(part), std::string::npos);
    text += part;
  }
  return text + detokenizer.Flush();
}

class DetokenizerTest : public testing::TestWithParam<const char*> {
 protected:
  const std::unique_ptr<Tokenizer> tokenizer_ =
      LoadTokenizerFromPath(std::string("tests/golden/") + GetParam());
};

INSTANTIATE_TEST_SUITE_P(Kinds, DetokenizerTest,
                         testing::Values("tokenizers/gpt2/tokenizer.json",
                                         "sentencepiece/tokenizer.model"),
                         [](const auto& info) {
                           return info.index == 0 ? "bpe" : "sentencepiece";
                         });

// Random ids end inside characters all the time, and hold special tokens.
TEST_P(DetokenizerTest, EqualsDecodingAllAtOnce) {
  std::mt19937 random(9);
  Detokenizer detokenizer(*tokenizer_);  // used again: Flush begins a new stream
  for (int i = 0; i < 3000; ++i) {
    Ids ids(random() % 20);
    // The first few hundred ids are the single bytes.
    const int end = random() % 2 == 0 ? 300 : tokenizer_->vocab_size();
    for (TokenId& id : ids) id = static_cast<TokenId>(random() % end);
    ASSERT_EQ(Stream(detokenizer, ids), ReplaceInvalidUtf8(tokenizer_->Decode(ids)));
  }
}

TEST_P(DetokenizerTest, DropsSpecialTokens) {
  std::mt19937 random(10);
  Detokenizer detokenizer(*tokenizer_, DecodeSpecial::kDrop);
  const Ids ids = tokenizer_->Encode(" a rocket: \U0001F680", SpecialTokens::kAsText);
  Ids with_specials;
  for (const TokenId id : ids) {
    for (TokenId special = 0; special < tokenizer_->vocab_size(); ++special) {
      if (tokenizer_->IsSpecial(special) && !with_specials.empty())
        with_specials.push_back(special);
    }
    with_specials.push_back(id);
  }
  ASSERT_GT(with_specials.size(), ids.size());
  EXPECT_EQ(Stream(detokenizer, with_specials), " a rocket: \U0001F680");
}

TEST_P(DetokenizerTest, HoldsACharacterUntilItIsComplete) {
  const Ids ids = tokenizer_->Encode("x\U0001F680", SpecialTokens::kAsText);
  Detokenizer detokenizer(*tokenizer_);
  std::string text;
  for (size_t i = 0; i + 1 < ids.size(); ++i) text += detokenizer.Feed(ids[i]);
  EXPECT_EQ(text, "x");
  EXPECT_EQ(detokenizer.Feed(ids.back()), "\U0001F680");
  EXPECT_EQ(detokenizer.Flush(), "");

  for (size_t i = 0; i + 1 < ids.size(); ++i) detokenizer.Feed(ids[i]);
  EXPECT_EQ(detokenizer.Flush(), "\uFFFD");
}

}  // namespace
}  // namespace aios
