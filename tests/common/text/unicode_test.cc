#include "common/text/unicode.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include "common/base/utf8.h"

namespace aios {
namespace {

CharClass ClassOf(char32_t c) { return UnicodeTable::Get().ClassOf(c); }

TEST(UnicodeTest, ClassesOfAllCharactersAreThoseOfTheirCategories) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    const std::string_view category = utf8proc_category_string(static_cast<utf8proc_int32_t>(c));
    const CharClass got = ClassOf(c);
    if (category[0] == 'L') {
      ASSERT_EQ(got, CharClass::kLetter) << std::hex << static_cast<uint32_t>(c);
    } else if (category[0] == 'N') {
      ASSERT_EQ(got, CharClass::kNumber) << std::hex << static_cast<uint32_t>(c);
    } else if (category[0] == 'Z') {
      ASSERT_EQ(got, CharClass::kSpace) << std::hex << static_cast<uint32_t>(c);
    } else if (category != "Cc") {
      ASSERT_EQ(got, CharClass::kOther) << std::hex << static_cast<uint32_t>(c);
    }
  }
}

TEST(UnicodeTest, WhiteSpaceAmongControlCharacters) {
  for (char32_t c = 0; c < 0xA0; ++c) {
    const bool space = (c >= 9 && c <= 13) || c == ' ' || c == 0x85;
    EXPECT_EQ(ClassOf(c) == CharClass::kSpace, space) << static_cast<uint32_t>(c);
  }
  EXPECT_EQ(ClassOf(0x1C), CharClass::kOther);    // Python's isspace says otherwise
  EXPECT_EQ(ClassOf(0x180E), CharClass::kOther);  // was white space until Unicode 6.3
  EXPECT_EQ(ClassOf(0x200B), CharClass::kOther);  // "zero width space" is none
}

TEST(UnicodeTest, DecodesWhatUtf8Encodes) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    AppendUtf8(c, text);
    const ValidChar got = DecodeValidUtf8(text.data());
    ASSERT_EQ(got.code_point, c);
    ASSERT_EQ(got.length, text.size());
  }
}

TEST(UnicodeTest, AsciiPrefixStopsAtTheFirstByteThatIsNone) {
  for (size_t n = 0; n < 40; ++n) {
    const std::string ascii(n, 'x');
    EXPECT_EQ(AsciiPrefix(ascii), n);
    EXPECT_EQ(AsciiPrefix(ascii + "\u00E9 and more text"), n);
  }
}

}  // namespace
}  // namespace aios
