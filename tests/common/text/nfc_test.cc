#include "common/text/nfc.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include <chrono>
#include <cstdlib>

#include "common/base/utf8.h"
#include "tests/common/text/text_testing.h"

namespace aios {
namespace {

std::string Nfc(std::string_view text) {
  std::string storage;
  return std::string(NormalizeNfc(text, storage));
}

// utf8proc's own, which is right, and quadratic.
std::string Oracle(std::string_view text) {
  utf8proc_uint8_t* result = nullptr;
  const auto n = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                              static_cast<utf8proc_ssize_t>(text.size()), &result,
                              static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  std::string out(reinterpret_cast<char*>(result), static_cast<size_t>(n));
  std::free(result);
  return out;
}

TEST(NfcTest, TextInNormalFormIsNotCopied) {
  for (const std::string_view text :
       {"", "plain", "na\u00EFve \u4F60\u597D \uD55C\uAE00 \U0001F680", "caf\u00E9"}) {
    std::string storage;
    EXPECT_EQ(NormalizeNfc(text, storage).data(), text.data());
  }
}

TEST(NfcTest, ComposesReordersAndReplaces) {
  EXPECT_EQ(Nfc("e\u0301"), "\u00E9");
  EXPECT_EQ(Nfc("xe\u0301y"), "x\u00E9y");
  EXPECT_EQ(Nfc("e\u0301\u0323"), "\u1EB9\u0301");  // the dot below goes first
  EXPECT_EQ(Nfc("\u212B"), "\u00C5");               // Angstrom sign: a singleton
  EXPECT_EQ(Nfc("\u0958"), "\u0915\u093C");         // excluded from composition
  EXPECT_EQ(Nfc("\u1112\u1161\u11AB"), "\uD55C");   // Hangul
  EXPECT_EQ(Nfc("\uD558\u11AB"), "\uD55C");
  EXPECT_EQ(Nfc("\u0301a"), "\u0301a");
}

TEST(NfcTest, EqualsUtf8procForEachCharacterBetweenOthers) {
  for (char32_t c = 0x80; c < 0x110000; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text = "e\u0301";
    AppendUtf8(c, text);
    text += "\u0323\u0301\u11A8";
    ASSERT_EQ(Nfc(text), Oracle(text)) << "U+" << std::hex << static_cast<uint32_t>(c);
  }
}

TEST(NfcTest, EqualsUtf8procOnRandomTexts) {
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    const int n = static_cast<int>(random() % 12);
    for (int j = 0; j < n; ++j) {
      // Marks, Hangul, Latin with marks, anything.
      const char32_t bases[] = {0x300, 0x1100, 0xC0, 0x41, 0x900};
      const char32_t c =
          random() % 4 == 0 ? RandomChar(random) : bases[random() % 5] + random() % 112;
      AppendUtf8(c, text);
    }
    ASSERT_EQ(Nfc(text), Oracle(text)) << text;
  }
}

TEST(NfcTest, AMillionMarksTakeNoTimeToSort) {
  std::string text = "a";
  for (int i = 0; i < 500'000; ++i) text += i % 2 == 0 ? "\u0301" : "\u0323";
  const auto start = std::chrono::steady_clock::now();
  const std::string sorted = Nfc(text);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  EXPECT_TRUE(sorted.starts_with("\u1EA1\u0323\u0323"));
  EXPECT_TRUE(sorted.ends_with("\u0301\u0301"));
  EXPECT_LT(seconds.count(), 5);  // takes 0.1; a bubble sort takes minutes
}

}  // namespace
}  // namespace aios
