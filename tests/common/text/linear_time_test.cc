// Time in proportion to the text, whatever the text and the merges. Each text is encoded at one
// size and at eight times that; linear would be 8 times the time, quadratic 64.
#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>

#include "common/text/bpe.h"
#include "tests/common/text/text_testing.h"

namespace aios {
namespace {

// The processor time of one encoding, the better of two: what else runs on the machine does not
// count.
double Seconds(const Tokenizer& tokenizer, const std::string& text) {
  const auto now = [] {
    timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
  };
  double best = 1e9;
  for (int i = 0; i < 2; ++i) {
    const double start = now();
    tokenizer.Encode(text, SpecialTokens::kRecognize);
    best = std::min(best, now() - start);
  }
  return best;
}

void ExpectLinear(const Tokenizer& tokenizer, std::string_view part) {
  constexpr size_t kBytes = 320'000;
  const double small = Seconds(tokenizer, Repeat(part, kBytes / 8 / part.size()));
  const double large = Seconds(tokenizer, Repeat(part, kBytes / part.size()));
  EXPECT_LT(large, 30 * small + 0.01) << Quoted(part);
}

struct Kind {
  std::string name;
  std::string path;  // in tests/golden; empty: SmolLM2
};

class LinearTimeTest : public testing::TestWithParam<Kind> {
 protected:
  const std::unique_ptr<Tokenizer> tokenizer_ = LoadTokenizerFromPath(
      GetParam().path.empty() ? SmolLm2Path() : "tests/golden/" + GetParam().path);
};

const Kind kKinds[] = {{"smollm2", ""},
                       {"llama3", "tokenizers/llama3/tokenizer.json"},
                       {"qwen2", "tokenizers/qwen2/tokenizer.json"},
                       {"sentencepiece", "sentencepiece/tokenizer.model"},
                       {"sentencepiece_gguf", "sentencepiece/tokenizer.gguf"}};
INSTANTIATE_TEST_SUITE_P(Tokenizers, LinearTimeTest, testing::ValuesIn(kKinds),
                         [](const auto& info) { return info.param.name; });

TEST_P(LinearTimeTest, OneLongWord) {
  for (const char* part : {" ", "x", "\n", "0", "=", "\u4F60", "ab", "\t \n", "\u00A0"}) {
    ExpectLinear(*tokenizer_, part);
  }
}

TEST_P(LinearTimeTest, MarksAndWhatIsNearlyAToken) {
  for (const char* part :
       {"\u0301\u0323", "\u0323a\u0301", "<|im_", "<", "<|im_end|>", "\r\n", "''"}) {
    ExpectLinear(*tokenizer_, part);
  }
}

TEST_P(LinearTimeTest, AMillionSpacesAndThreeThousandOfALetter) {
  EXPECT_LT(Seconds(*tokenizer_, std::string(1'000'000, ' ')), 5);  // takes 0.4
  EXPECT_LT(Seconds(*tokenizer_, std::string(3000, 'x')), 0.05);
}

// Merges whose ranks make the pairs come up in the worst order: x + x, then longer and longer runs,
// the longest most urgent; and chains in which each merge makes the next one possible.
TEST(LinearTimeHostileTest, Merges) {
  std::vector<std::string> tokens = {"x", "y"};
  std::vector<std::pair<std::string, std::string>> merges;
  for (int i = 2; i < 1000; ++i) {
    tokens.push_back(std::string(i, 'x'));
    merges.emplace_back(std::string(i - 1, 'x'), "x");
    tokens.push_back(Repeat("yx", i));
    merges.emplace_back(i == 2 ? "y" : Repeat("yx", i - 1), i == 2 ? "xyx" : "yx");
  }
  tokens.insert(tokens.end(), {"yx", "xyx"});
  merges.emplace_back("x", "yx");
  merges.emplace_back("y", "x");
  for (const bool reversed : {false, true}) {
    BpeVocabulary vocabulary;
    vocabulary.tokens.assign(tokens.begin(), tokens.end());
    vocabulary.merges.assign(merges.begin(), merges.end());
    if (reversed) std::reverse(vocabulary.merges.begin(), vocabulary.merges.end());
    const BpeTokenizer tokenizer(vocabulary, "hostile");
    for (const char* part : {"x", "yx", "xxy"}) ExpectLinear(tokenizer, part);
  }
}

}  // namespace
}  // namespace aios
