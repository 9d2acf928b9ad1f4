#include "common/text/pretokenizer.h"

#include <gtest/gtest.h>
#include <pcre2.h>

#include <string>
#include <vector>

#include "common/base/check.h"
#include "common/base/utf8.h"
#include "tests/common/text/text_testing.h"

namespace aios {
namespace {

using Words = std::vector<std::string>;

// PCRE2 with the original expression.
class Regex {
 public:
  explicit Regex(std::string_view pattern) {
    int error = 0;
    size_t offset = 0;
    code_ = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                          PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr);
    AIOS_CHECK(code_ != nullptr, "error {} at {}", error, offset);
    match_ = pcre2_match_data_create_from_pattern(code_, nullptr);
  }
  Regex(const Regex&) = delete;
  ~Regex() {
    pcre2_match_data_free(match_);
    pcre2_code_free(code_);
  }

  // The first match, or an empty view at the end of the text.
  std::string_view Find(std::string_view text) const {
    const int n = pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0,
                              match_, nullptr);
    if (n < 1) return text.substr(text.size());
    const size_t* bounds = pcre2_get_ovector_pointer(match_);
    return text.substr(bounds[0], bounds[1] - bounds[0]);
  }

  // The matches, which must cover the text.
  Words Split(std::string_view text) const {
    Words words;
    while (!text.empty()) {
      const std::string_view word = Find(text);
      AIOS_CHECK(word.data() == text.data() && !word.empty(), "no word in {}", text);
      words.emplace_back(word);
      text.remove_prefix(word.size());
    }
    return words;
  }

 private:
  pcre2_code* code_;
  pcre2_match_data* match_;
};

// Hugging Face's Sequence of Digits and ByteLevel.
Words SplitSmolLm(const Regex& number, const Regex& gpt2, std::string_view text) {
  Words words;
  while (!text.empty()) {
    const std::string_view found = number.Find(text);
    const size_t before = static_cast<size_t>(found.data() - text.data());
    for (std::string& word : gpt2.Split(text.substr(0, before))) words.push_back(std::move(word));
    if (!found.empty()) words.emplace_back(found);
    text.remove_prefix(before + found.size());
  }
  return words;
}

Words Scan(PreTokenizer kind, std::string_view text) {
  Words words;
  const char* const end = text.data() + text.size();
  for (const char* at = text.data(); at != end;) {
    const char* const word_end = ScannerOf(kind)(at, end);
    AIOS_CHECK(word_end > at && word_end <= end);
    words.emplace_back(at, word_end);
    at = word_end;
  }
  return words;
}

TEST(PreTokenizerTest, Gpt2) {
  EXPECT_EQ(Scan(PreTokenizer::kGpt2, "I'm here,  it's 12345 'S"),
            (Words{"I", "'m", " here", ",", " ", " it", "'s", " 12345", " '", "S"}));
  EXPECT_EQ(Scan(PreTokenizer::kGpt2, "\n\n x  "), (Words{"\n\n", " x", "  "}));
}

TEST(PreTokenizerTest, SmolLmPutsEachNumberAlone) {
  EXPECT_EQ(Scan(PreTokenizer::kSmolLm, "a  12 b"), (Words{"a", "  ", "1", "2", " b"}));
}

TEST(PreTokenizerTest, Llama3) {
  EXPECT_EQ(Scan(PreTokenizer::kLlama3, "IT'S 12345,\n\n  x!\n"),
            (Words{"IT", "'S", " ", "123", "45", ",\n\n", " ", " x", "!\n"}));
  EXPECT_EQ(Scan(PreTokenizer::kLlama3, "  \n \t\n  x"), (Words{"  \n \t\n", " ", " x"}));
  EXPECT_EQ(Scan(PreTokenizer::kLlama3, "it'\u017Fx"), (Words{"it", "'\u017F", "x"}));  // long s
}

TEST(PreTokenizerTest, Qwen2PutsEachNumberAlone) {
  EXPECT_EQ(Scan(PreTokenizer::kQwen2, "x=123"), (Words{"x", "=", "1", "2", "3"}));
}

// A text whose characters mean the same to PCRE2 10.42 (Unicode 14) and to Oniguruma, which the
// models were trained with (and which the golden data covers, for all characters).
std::string TextForPcre2(std::mt19937& random) {
  static const Regex odd("\\p{Cn}|\\x{180E}");  // \x{180E}: white space to PCRE2 alone
  while (true) {
    std::string text = RandomText(random, 1 + static_cast<int>(random() % 24));
    if (odd.Find(text).empty()) return text;
  }
}

TEST(PreTokenizerTest, EqualsPcre2OnRandomTexts) {
  const Regex gpt2(kGpt2Regex);
  const Regex number("\\p{N}");
  const Regex llama3(kLlama3Regex);
  const Regex qwen2(kQwen2Regex);
  std::mt19937 random(42);
  for (int i = 0; i < 100'000; ++i) {
    const std::string text = TextForPcre2(random);
    ASSERT_EQ(Scan(PreTokenizer::kGpt2, text), gpt2.Split(text)) << text;
    ASSERT_EQ(Scan(PreTokenizer::kSmolLm, text), SplitSmolLm(number, gpt2, text)) << text;
    ASSERT_EQ(Scan(PreTokenizer::kLlama3, text), llama3.Split(text)) << text;
    ASSERT_EQ(Scan(PreTokenizer::kQwen2, text), qwen2.Split(text)) << text;
  }
}

}  // namespace
}  // namespace aios
