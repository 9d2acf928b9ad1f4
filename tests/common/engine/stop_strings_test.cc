// Stop strings must act the same however the tokens cut the text.
#include "common/engine/stop_strings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"

namespace aios {
namespace {

using Strings = std::vector<std::string>;

// What came of a text that was fed in pieces.
struct Outcome {
  std::string shown;
  bool hit = false;

  bool operator==(const Outcome&) const = default;
  friend std::ostream& operator<<(std::ostream& out, const Outcome& outcome) {
    return out << '\'' << outcome.shown << (outcome.hit ? "' and a hit" : "' and no hit");
  }
};

Outcome FeedAll(const Strings& stop_strings, const Strings& pieces) {
  StopStrings stop(stop_strings);
  Outcome outcome;
  for (const std::string& piece : pieces) outcome.shown += stop.Feed(piece);
  outcome.shown += stop.Finish();
  outcome.hit = stop.hit();
  return outcome;
}

// The specification: read letter by letter, and stop as soon as the text ends with a stop string;
// with the longest, if with several.
Outcome NaiveSearch(const Strings& stop_strings, const std::string& text) {
  for (size_t end = 1; end <= text.size(); ++end) {
    const std::string read = text.substr(0, end);
    size_t longest = 0;
    for (const std::string& stop : stop_strings) {
      if (read.ends_with(stop)) longest = std::max(longest, stop.size());
    }
    if (longest > 0) return {.shown = read.substr(0, end - longest), .hit = true};
  }
  return {.shown = text};
}

// The text cut in two at every place, in three at every pair of places, and into letters.
void ExpectForEverySplit(const Strings& stop_strings, const std::string& text,
                         const Outcome& expected) {
  for (size_t i = 0; i <= text.size(); ++i) {
    for (size_t j = i; j <= text.size(); ++j) {
      EXPECT_EQ(FeedAll(stop_strings, {text.substr(0, i), text.substr(i, j - i), text.substr(j)}),
                expected)
          << "cut at " << i << " and " << j;
    }
  }
  Strings letters;
  for (const char letter : text) letters.emplace_back(1, letter);
  EXPECT_EQ(FeedAll(stop_strings, letters), expected) << "cut into letters";
}

TEST(StopStrings, WithoutAnyPassTheTextThroughAtOnce) {
  StopStrings stop({});
  EXPECT_EQ(stop.Feed("One.\n"), "One.\n");
  EXPECT_EQ(stop.Feed(""), "");
  EXPECT_EQ(stop.Finish(), "");
  EXPECT_FALSE(stop.hit());
}

TEST(StopStrings, HoldBackOnlyWhatCouldBeTheBeginningOfOne) {
  StopStrings stop({"\n\n"});
  EXPECT_EQ(stop.Feed("One.\n"), "One.");
  EXPECT_EQ(stop.Feed("Two.\n"), "\nTwo.");
  EXPECT_EQ(stop.Feed("\nThree."), "");
  EXPECT_TRUE(stop.hit());
  EXPECT_EQ(stop.Feed("Four."), "");
  EXPECT_EQ(stop.Finish(), "");
}

TEST(StopStrings, FinishShowsWhatWasHeldBack) {
  StopStrings stop({"END"});
  EXPECT_EQ(stop.Feed("the EN"), "the ");
  EXPECT_EQ(stop.Finish(), "EN");
  EXPECT_FALSE(stop.hit());
}

TEST(StopStrings, EndTheTextHoweverItIsCut) {
  ExpectForEverySplit({"END"}, "an ENENDEND", {.shown = "an EN", .hit = true});
  ExpectForEverySplit({"END"}, "an EN", {.shown = "an EN"});
  ExpectForEverySplit({"aab"}, "aaaaab", {.shown = "aaa", .hit = true});  // its own beginning again
  ExpectForEverySplit({"."}, "a.b", {.shown = "a", .hit = true});
  ExpectForEverySplit({"STOP"}, "STOP", {.shown = "", .hit = true});
}

TEST(StopStrings, TheFirstToBeCompleteWins) {
  ExpectForEverySplit({"world", "hello"}, "oh hello world", {.shown = "oh ", .hit = true});
  // One the beginning of another: the longer can never be complete first.
  ExpectForEverySplit({"END", "ENDED"}, "it ENDED.", {.shown = "it ", .hit = true});
  // One inside another: it is complete while the other is not, and then nothing more is read.
  ExpectForEverySplit({"abcd", "bc"}, "abcd", {.shown = "a", .hit = true});
  // One the end of another: both are complete at once, and none of either is shown.
  ExpectForEverySplit({"cd", "abcd"}, "abcd", {.shown = "", .hit = true});
  // Overlapping.
  ExpectForEverySplit({"abab", "baba"}, "xababab", {.shown = "x", .hit = true});
}

TEST(StopStrings, KnowBytesNotCharacters) {
  ExpectForEverySplit({"é"}, "caf\xC3\xA9!", {.shown = "caf", .hit = true});
  ExpectForEverySplit({"\xC3\xA9"}, "\xC3\xA8", {.shown = "è"});
}

TEST(StopStrings, AnEmptyOneIsAnError) {
  EXPECT_THROW(StopStrings({""}), InputError);
  EXPECT_THROW(StopStrings({"END", ""}), InputError);
}

// Two letters only, so that random texts are full of overlaps and false beginnings.
TEST(StopStrings, AgreeWithANaiveSearchInRandomTextsAndCuts) {
  std::mt19937 random(1);  // NOLINT(cert-msc51-cpp): the same each time
  const auto number = [&](int from, int to) {
    return std::uniform_int_distribution<int>(from, to)(random);
  };
  const auto word = [&](int min_size, int max_size) {
    std::string text(number(min_size, max_size), ' ');
    for (char& letter : text) letter = number(0, 1) == 0 ? 'a' : 'b';
    return text;
  };
  int n_hits = 0;
  for (int trial = 0; trial < 50000; ++trial) {
    Strings stop_strings(number(1, 3));
    for (std::string& stop : stop_strings) stop = word(1, 6);
    const std::string text = word(0, 20);
    Strings pieces;
    for (size_t at = 0; at < text.size(); at += pieces.back().size()) {
      pieces.push_back(text.substr(at, number(1, 5)));
    }
    const Outcome expected = NaiveSearch(stop_strings, text);
    n_hits += expected.hit ? 1 : 0;
    ASSERT_EQ(FeedAll(stop_strings, pieces), expected)
        << "text " << text << ", stop strings " << testing::PrintToString(stop_strings)
        << ", pieces " << testing::PrintToString(pieces);
  }
  // Both outcomes were well tried.
  EXPECT_GT(n_hits, 5000);
  EXPECT_LT(n_hits, 45000);
}

// After each letter, all of the text is shown but an end that could still become a stop string: no
// part of one, and nothing later than it could be.
TEST(StopStrings, ShowAllThatIsCertainAndNothingElse) {
  const Strings stop_strings = {"abba", "bb", "babab"};
  const auto may_begin_with = [&](const std::string& text) {  // always true for ""
    return std::ranges::any_of(stop_strings,
                               [&](const std::string& stop) { return stop.starts_with(text); });
  };
  for (int bits = 0; bits < 1 << 12; ++bits) {
    StopStrings stop(stop_strings);
    std::string text;
    std::string shown;
    for (int i = 0; i < 12 && !stop.hit(); ++i) {
      text += ((bits >> i) & 1) == 0 ? 'a' : 'b';
      shown += stop.Feed(text.substr(text.size() - 1));
      size_t n_certain = 0;
      while (!may_begin_with(text.substr(n_certain))) ++n_certain;
      ASSERT_EQ(shown,
                stop.hit() ? NaiveSearch(stop_strings, text).shown : text.substr(0, n_certain))
          << text;
    }
  }
}

}  // namespace
}  // namespace aios
