#include "common/base/utf8.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "common/base/error.h"

namespace aios {
namespace {

bool IsScalarValue(uint32_t c) { return c < 0x110000 && (c < 0xD800 || c > 0xDFFF); }

TEST(Utf8Test, EveryCharacterRoundTrips) {
  for (uint32_t c = 0; c < 0x110000; ++c) {
    if (!IsScalarValue(c)) continue;
    std::string text;
    AppendUtf8(c, text);
    const Utf8Char decoded = DecodeUtf8(text);
    ASSERT_TRUE(decoded.valid) << c;
    ASSERT_EQ(decoded.code_point, c);
    ASSERT_EQ(decoded.length, text.size()) << c;
    // Each proper prefix is a character that is not finished yet.
    for (size_t n = 1; n < text.size(); ++n) {
      const Utf8Char part = DecodeUtf8(std::string_view(text).substr(0, n));
      ASSERT_TRUE(!part.valid && part.truncated && part.length == n) << c;
    }
  }
}

// All sequences of up to three bytes, against the definition: valid if and only if it is the
// encoding of a character.
TEST(Utf8Test, NothingElseIsValid) {
  int n_valid[4] = {};
  for (uint32_t bytes = 0; bytes < 1u << 24; ++bytes) {
    const char text[3] = {static_cast<char>(bytes >> 16), static_cast<char>(bytes >> 8),
                          static_cast<char>(bytes)};
    const Utf8Char c = DecodeUtf8({text, 3});
    ASSERT_GE(c.length, 1);
    ASSERT_LE(c.length, 3);
    if (!c.valid) continue;
    std::string encoded;
    AppendUtf8(c.code_point, encoded);
    ASSERT_EQ(encoded, std::string_view(text, c.length)) << bytes;
    ++n_valid[c.length];
  }
  EXPECT_EQ(n_valid[1], 0x80 << 16);
  EXPECT_EQ(n_valid[2], (0x800 - 0x80) << 8);
  EXPECT_EQ(n_valid[3], 0x10000 - 0x800 - 0x800);  // but the surrogates
}

// The example of Unicode 15, section 3.9, table 3-8 and others: one U+FFFD for each maximal prefix.
TEST(Utf8Test, ReplacesEachMaximalPrefix) {
  const std::string r = "\uFFFD";
  EXPECT_EQ(ReplaceInvalidUtf8("plain ü 世 🙂"), "plain ü 世 🙂");
  EXPECT_EQ(ReplaceInvalidUtf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"),
            r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(ReplaceInvalidUtf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"),
            r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(ReplaceInvalidUtf8("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"),
            r + r + r + r + r + "A" + r + r + "B");
  EXPECT_EQ(ReplaceInvalidUtf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), r + r + r + r + "A");
}

TEST(Utf8Test, FindsTheFirstInvalidByte) {
  EXPECT_EQ(FindInvalidUtf8(""), std::string_view::npos);
  EXPECT_EQ(FindInvalidUtf8("世界"), std::string_view::npos);
  EXPECT_EQ(FindInvalidUtf8("世\x80"), 3);
  EXPECT_EQ(FindInvalidUtf8("ab\xE4\xB8"), 2);
}

TEST(Utf8Test, CheckNamesTheOffset) {
  CheckUtf8("valid", "the prompt");
  try {
    CheckUtf8("ab\xFF", "the prompt");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "the prompt is not valid UTF-8: byte 2 (0xff) cannot stand there");
  }
}

TEST(Utf8DeathTest, SurrogatesHaveNoEncoding) {
  std::string out;
  EXPECT_DEATH(AppendUtf8(0xD800, out), "U\\+D800");
  EXPECT_DEATH(AppendUtf8(0x110000, out), "U\\+110000");
}

}  // namespace
}  // namespace aios
