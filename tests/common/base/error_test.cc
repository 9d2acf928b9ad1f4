#include "common/base/error.h"

#include <gtest/gtest.h>

#include <string>

#include "common/base/check.h"

namespace aios {
namespace {

TEST(QuotedTest, PrintsWhatCanBePrinted) {
  EXPECT_EQ(Quoted(""), "''");
  EXPECT_EQ(Quoted("blk.0.attn_q.weight"), "'blk.0.attn_q.weight'");
  EXPECT_EQ(Quoted("Grüße, 世界 🙂"), "'Grüße, 世界 🙂'");
}

// A terminal must not obey what a file's name for a tensor says.
TEST(QuotedTest, EscapesControlsAndBytesThatAreNotUtf8) {
  EXPECT_EQ(Quoted("a\n\x1b[2J\x7f"), "'a\\x0a\\x1b[2J\\x7f'");
  EXPECT_EQ(Quoted(std::string_view("\0", 1)), "'\\x00'");
  EXPECT_EQ(Quoted("\xC2\x85"), "'\\xc2\\x85'");  // U+0085, a control of Latin-1
  EXPECT_EQ(Quoted("\xFFz\xE4\xB8"), "'\\xffz\\xe4\\xb8'");
}

TEST(QuotedTest, CutsLongTextBetweenCharacters) {
  const std::string quoted = Quoted(std::string(1'000'000, 'x'));
  EXPECT_LT(quoted.size(), 100);
  EXPECT_EQ(quoted.substr(quoted.size() - 6), "xx...'");
  std::string wide;
  for (int i = 0; i < 100; ++i) wide += "世";
  const std::string cut = Quoted(wide);
  EXPECT_EQ((cut.size() - 5) % 3, 0) << cut;  // quotes and dots, and whole characters
}

TEST(InputErrorTest, Formats) {
  const InputError error("{}: {} bytes", "m.gguf", 7);
  EXPECT_STREQ(error.what(), "m.gguf: 7 bytes");
  EXPECT_THROW(throw UnsupportedError("{}", "x"), InputError);
}

TEST(CheckDeathTest, PrintsFileConditionAndValues) {
  EXPECT_DEATH(AIOS_CHECK(1 > 2), "error_test.cc:[0-9]+: check failed: 1 > 2");
  EXPECT_DEATH(AIOS_CHECK(false, "offset {} size {}", 3, 4),
               "check failed: false: offset 3 size 4");
  EXPECT_DEATH(AIOS_CHECK_EQ(1 + 1, 3), "2 and 3");
  AIOS_CHECK(true, "never printed {}", 1);
}

}  // namespace
}  // namespace aios
