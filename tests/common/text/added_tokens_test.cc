#include "common/text/added_tokens.h"

#include <gtest/gtest.h>

#include "tests/common/text/text_testing.h"

namespace aios {
namespace {

// The parts with their tokens' ids, as "text", "text:id".
std::vector<std::string> Split(const std::vector<AddedToken>& tokens, std::string_view text,
                               SpecialTokens special = SpecialTokens::kRecognize) {
  std::vector<std::string> parts;
  const AddedTokenMatcher matcher(tokens);
  for (const TextPart& part : matcher.Split(text, special)) {
    parts.emplace_back(part.text);
    if (part.token != nullptr) parts.back() += fmt::format(":{}", part.token->id);
  }
  return parts;
}

using Parts = std::vector<std::string>;

const std::vector<AddedToken> kTokens = {
    {.id = 0, .text = "<a>"},    {.id = 1, .text = "<a><b>"},
    {.id = 2, .text = "b>x"},    {.id = 3, .text = "user", .special = false},
    {.id = 4, .text = "\u4F60"},
};

TEST(AddedTokensTest, LeftmostThenLongest) {
  EXPECT_EQ(Split(kTokens, ""), Parts{});
  EXPECT_EQ(Split(kTokens, "x"), Parts{"x"});
  EXPECT_EQ(Split(kTokens, "<a><b>x"), (Parts{"<a><b>:1", "x"}));
  EXPECT_EQ(Split(kTokens, "<a><c>"), (Parts{"<a>:0", "<c>"}));
  EXPECT_EQ(Split(kTokens, "<b>x"), (Parts{"<", "b>x:2"}));
  EXPECT_EQ(Split(kTokens, "\u4F61\u4F60<a"), (Parts{"\u4F61", "\u4F60:4", "<a"}));
}

TEST(AddedTokensTest, SpecialOnesAreTextUnlessRecognized) {
  EXPECT_EQ(Split(kTokens, "<a>user<a>", SpecialTokens::kAsText), (Parts{"<a>", "user:3", "<a>"}));
}

TEST(AddedTokensTest, TheFirstOfEqualTextsCounts) {
  EXPECT_EQ(Split({{.id = 7, .text = "<a>"}, {.id = 8, .text = "<a>"}}, "<a>"), Parts{"<a>:7"});
}

TEST(AddedTokensTest, StripsTakeWhiteSpaceAlong) {
  const std::vector<AddedToken> tokens = {{.id = 0, .text = "<l>", .lstrip = true},
                                          {.id = 1, .text = "<r>", .rstrip = true}};
  EXPECT_EQ(Split(tokens, "a \u3000<l> b"), (Parts{"a", " \u3000<l>:0", " b"}));
  EXPECT_EQ(Split(tokens, "a <r>\n b"), (Parts{"a ", "<r>\n :1", "b"}));
  EXPECT_EQ(Split(tokens, "<r>  <l>"), (Parts{"<r>  :1", "<l>:0"}));
}

TEST(AddedTokensTest, SingleWordIsNotPartOfOne) {
  const std::vector<AddedToken> tokens = {{.id = 0, .text = "<w>", .single_word = true}};
  EXPECT_EQ(Split(tokens, "<w> x<w> <w>_ \u00E9<w> .<w>."),
            (Parts{"<w>:0", " x<w> <w>_ \u00E9<w> .", "<w>:0", "."}));
}

// What took white space on its right may be followed by tokens that are white space.
TEST(AddedTokensTest, EatenWhiteSpaceIsWalkedOnce) {
  const std::vector<AddedToken> tokens = {{.id = 0, .text = "\n", .rstrip = true}};
  EXPECT_EQ(Split(tokens, Repeat("\n", 1'000'000)).size(), 1'000'000u);
}

}  // namespace
}  // namespace aios
