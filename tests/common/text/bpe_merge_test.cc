#include "common/text/bpe_merge.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace aios {
namespace {

using Ids = std::vector<TokenId>;

// The definition: find the best pair, merge it, start again.
Ids MergeByDefinition(const MergeTable& merges, Ids ids) {
  while (true) {
    Merge best = kNoMerge;
    size_t at = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const Merge merge = merges.Find(ids[i], ids[i + 1]);
      if (merge < best) {
        best = merge;
        at = i;
      }
    }
    if (best == kNoMerge) return ids;
    ids[at] = MergeResult(best);
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

Ids Merged(const MergeTable& merges, Ids ids) {
  ids.resize(MergeTokens(merges, ids.data(), ids.size()));
  return ids;
}

TEST(MergeTableTest, FindsWhatWasInsertedAndNothingElse) {
  MergeTable table(1000);
  for (TokenId i = 0; i < 1000; ++i) table.Insert(i, 2 * i, MakeMerge(i, i + 1));
  for (TokenId i = 0; i < 1000; ++i) {
    EXPECT_EQ(table.Find(i, 2 * i), MakeMerge(i, i + 1));
    EXPECT_EQ(table.Find(i, 2 * i + 1), kNoMerge);
  }
  table.Insert(5, 10, MakeMerge(7, 8));  // the later one counts
  EXPECT_EQ(table.Find(5, 10), MakeMerge(7, 8));
}

TEST(MergeTokensTest, EqualRanksMergeFromTheLeft) {
  MergeTable table(1);
  table.Insert(0, 0, MakeMerge(0, 1));
  EXPECT_EQ(Merged(table, {0, 0, 0}), (Ids{1, 0}));
  EXPECT_EQ(Merged(table, {}), Ids{});
  EXPECT_EQ(Merged(table, {0}), Ids{0});
}

TEST(MergeTokensTest, LowerRankFirst) {
  MergeTable table(2);
  table.Insert(0, 1, MakeMerge(1, 10));
  table.Insert(1, 2, MakeMerge(0, 11));
  EXPECT_EQ(Merged(table, {0, 1, 2}), (Ids{0, 11}));
}

// Random merges, also such as no training makes: results that cannot be parted again, cycles of
// rank, several ways to one token. Words on both sides of the length where the method changes.
TEST(MergeTokensTest, EqualsTheDefinition) {
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    MergeTable table(200);
    TokenId next = 4;
    for (uint32_t rank = 0; rank < 200; ++rank) {
      const auto any = [&] { return static_cast<TokenId>(random() % next); };
      const TokenId left = any();
      const TokenId right = any();
      if (table.Find(left, right) != kNoMerge) continue;
      table.Insert(left, right, MakeMerge(rank, random() % 4 == 0 ? any() : next++));
    }
    for (const size_t n : {2, 3, 10, 50, 95, 96, 97, 98, 200}) {
      Ids ids(n);
      for (TokenId& id : ids) id = static_cast<TokenId>(random() % 4);
      ASSERT_EQ(Merged(table, ids), MergeByDefinition(table, ids)) << "round " << round;
    }
  }
}

}  // namespace
}  // namespace aios
