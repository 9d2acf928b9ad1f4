// BpeTokenizer::Trace against the encoding, and against the merges as the files list them.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>

#include "common/loader/gguf.h"
#include "common/text/bpe.h"
#include "common/text/byte_level.h"
#include "tests/common/text/text_testing.h"

namespace aios {
namespace {

void ExpectTraceEqualsEncode(const BpeTokenizer& tokenizer, const std::string& text) {
  std::vector<TokenId> ids;
  for (const WordTrace& word : tokenizer.Trace(text)) {
    EXPECT_TRUE(word.looked_up || word.bytes.size() - word.merges.size() == word.ids.size());
    ids.insert(ids.end(), word.ids.begin(), word.ids.end());
  }
  EXPECT_EQ(ids, tokenizer.Encode(text, SpecialTokens::kAsText)) << Quoted(text);
}

TEST(BpeTraceTest, EqualsEncode) {
  for (const std::string path : {"gpt2/tokenizer.json", "llama3/tokenizer.json",
                                 "qwen2/tokenizer.json", "flags/tokenizer.json"}) {
    SCOPED_TRACE(path);
    const auto tokenizer = LoadTokenizerFromPath("tests/golden/tokenizers/" + path);
    const auto& bpe = dynamic_cast<const BpeTokenizer&>(*tokenizer);
    std::mt19937 random(2);
    for (int i = 0; i < 200; ++i) {
      ExpectTraceEqualsEncode(bpe, RandomText(random, static_cast<int>(random() % 60)));
    }
    ExpectTraceEqualsEncode(bpe, "e\u0301 <|im_end|> <user> Hello, hello");
  }
}

// Each step is the merge that the file lists at that rank, and no other that is possible then has a
// lower rank.
TEST(BpeTraceTest, StepsAreTheFilesMerges) {
  const GgufFile gguf = GgufFile::Open(SmolLm2Path());
  const auto merges = *gguf.Strings("tokenizer.ggml.merges");
  const auto tokenizer = LoadTokenizerFromPath(SmolLm2Path());
  const auto& bpe = dynamic_cast<const BpeTokenizer&>(*tokenizer);
  std::map<std::string, uint32_t, std::less<>> rank_of;
  for (size_t i = 0; i < merges.size(); ++i) {
    rank_of.emplace(merges[i], static_cast<uint32_t>(i));
  }
  size_t n_steps = 0;
  for (const Json& entry : Golden("smollm2_tokens.json")) {
    for (const WordTrace& word : bpe.Trace(entry["text"].get<std::string>())) {
      std::vector<std::string> tokens;
      for (const char& c : word.word) tokens.push_back(ToByteLevel({&c, 1}));
      for (const MergeStep& step : word.merges) {
        ASSERT_LT(step.at + 1, tokens.size());
        uint32_t lowest = UINT32_MAX;
        for (size_t i = 0; i + 1 < tokens.size(); ++i) {
          const auto found = rank_of.find(tokens[i] + " " + tokens[i + 1]);
          if (found != rank_of.end()) lowest = std::min(lowest, found->second);
        }
        EXPECT_EQ(step.rank, lowest);
        EXPECT_EQ(merges[step.rank], tokens[step.at] + " " + tokens[step.at + 1]);
        tokens[step.at] += tokens[step.at + 1];
        tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(step.at) + 1);
        EXPECT_EQ(ToByteLevel(bpe.TokenBytes(step.result)), tokens[step.at]);
        ++n_steps;
      }
    }
  }
  EXPECT_GT(n_steps, 100);
}

}  // namespace
}  // namespace aios
