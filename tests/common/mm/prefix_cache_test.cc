#include "common/mm/prefix_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <span>
#include <utility>
#include <vector>

namespace aios {
namespace {

using EntryId = PrefixCache::EntryId;
using Tokens = std::vector<TokenId>;
constexpr EntryId kRoot = PrefixCache::kRoot;

uint64_t AlwaysSeven(uint64_t, std::span<const TokenId>) { return 7; }
bool Any(PageId) { return true; }

TEST(PrefixCache, ItsHashDependsOnEachTokenItsPlaceAndWhatComesBefore) {
  const auto hash = [](uint64_t before, const Tokens& tokens) {
    return PrefixCache::ChainedHash(before, tokens);
  };
  EXPECT_EQ(hash(5, {1, 2, 3}), hash(5, {1, 2, 3}));
  EXPECT_NE(hash(5, {1, 2, 3}), hash(6, {1, 2, 3}));
  EXPECT_NE(hash(5, {1, 2, 3}), hash(5, {1, 3, 2}));
  EXPECT_NE(hash(5, {1, 2, 3}), hash(5, {1, 2, 4}));
  EXPECT_NE(hash(5, {1, 2, 3}), hash(5, {1, 2}));
  // Pages that differ in the second page only, below parents that differ, and back.
  EXPECT_NE(hash(hash(0, {1, 2}), {3, 4}), hash(hash(0, {2, 1}), {3, 4}));
}

TEST(PrefixCache, KnowsTheSameTokensUnderOtherParentsAsOthers) {
  PrefixCache cache;
  const EntryId a = cache.Insert(kRoot, Tokens{1, 2}, 10);
  const EntryId b = cache.Insert(kRoot, Tokens{3, 4}, 11);
  const EntryId under_a = cache.Insert(a, Tokens{5, 6}, 12);
  EXPECT_EQ(cache.Find(b, Tokens{5, 6}), std::nullopt);
  EXPECT_EQ(cache.Find(kRoot, Tokens{5, 6}), std::nullopt);
  const EntryId under_b = cache.Insert(b, Tokens{5, 6}, 13);
  EXPECT_NE(under_a, under_b);
  EXPECT_EQ(cache.Find(a, Tokens{5, 6}), under_a);
  EXPECT_EQ(cache.Find(b, Tokens{5, 6}), under_b);
  EXPECT_EQ(cache.PageOf(under_a), 12);
  EXPECT_EQ(cache.PageOf(under_b), 13);
  EXPECT_EQ(cache.Find(999, Tokens{1, 2}), std::nullopt);
  EXPECT_EQ(cache.n_entries(), 4);
  EXPECT_THAT(cache.Pages(), testing::UnorderedElementsAre(10, 11, 12, 13));
  cache.CheckIntegrity();
}

// Against a map, with a good hash and with the worst one.
class PrefixCacheTreeTest : public testing::TestWithParam<PrefixCache::Hash> {};

TEST_P(PrefixCacheTreeTest, FindsWhatAMapFindsInALargeRandomTree) {
  PrefixCache cache(GetParam());
  std::map<std::pair<EntryId, Tokens>, EntryId> known;
  std::map<EntryId, std::pair<EntryId, Tokens>> key_of;
  std::map<EntryId, int> n_children;
  std::vector<EntryId> ids = {kRoot};
  std::mt19937 random(3);
  const int n_pages = 700;
  for (PageId page = 0; page < 6000; ++page) {
    const EntryId parent = ids[random() % ids.size()];
    const Tokens tokens = {static_cast<TokenId>(random() % 3), static_cast<TokenId>(random() % 3)};
    const auto it = known.find({parent, tokens});
    const std::optional<EntryId> found = cache.Find(parent, tokens);
    ASSERT_EQ(found.has_value(), it != known.end());
    if (found.has_value()) {
      ASSERT_EQ(*found, it->second);
      continue;
    }
    const EntryId id = cache.Insert(parent, tokens, page);
    ASSERT_EQ(cache.PageOf(id), page);
    known[{parent, tokens}] = id;
    key_of[id] = {parent, tokens};
    ++n_children[parent];
    ids.push_back(id);
    if (cache.n_entries() <= n_pages) continue;

    const std::vector<PageId> before = cache.Pages();
    const std::optional<PageId> evicted = cache.Evict([](PageId p) { return p % 5 != 0; });
    if (!evicted.has_value()) {  // rightly: no leaf may go
      for (const auto& [key, entry] : known) {
        ASSERT_TRUE(n_children[entry] > 0 || cache.PageOf(entry) % 5 == 0);
      }
      continue;
    }
    ASSERT_NE(*evicted % 5, 0);
    ASSERT_TRUE(std::ranges::count(before, *evicted) == 1);
    const auto gone = std::ranges::find_if(ids, [&](EntryId e) { return !cache.Contains(e); });
    ASSERT_NE(gone, ids.end());
    ASSERT_EQ(n_children[*gone], 0) << "what others continue was evicted";
    --n_children[key_of[*gone].first];
    known.erase(key_of[*gone]);
    ids.erase(gone);
    if (page % 50 == 0) cache.CheckIntegrity();
  }
  for (const auto& [key, id] : known) ASSERT_EQ(cache.Find(key.first, key.second), id);
  cache.CheckIntegrity();
  while (cache.Evict(Any).has_value()) {
  }
  EXPECT_EQ(cache.n_entries(), 0);
  cache.CheckIntegrity();
}
INSTANTIATE_TEST_SUITE_P(Hashes, PrefixCacheTreeTest,
                         testing::Values(&PrefixCache::ChainedHash, &AlwaysSeven));

TEST(PrefixCache, EvictsTheLeafThatWasNotUsedForLongest) {
  PrefixCache cache;
  const EntryId a = cache.Insert(kRoot, Tokens{1}, 0);
  cache.Insert(a, Tokens{2}, 1);
  cache.Insert(kRoot, Tokens{3}, 2);
  cache.Insert(a, Tokens{4}, 3);
  cache.Find(a, Tokens{2});  // used last of all: order of leaves 2, 3, 1
  EXPECT_EQ(cache.Evict(Any), 2);
  cache.CheckIntegrity();
  EXPECT_EQ(cache.Evict(Any), 3);
  EXPECT_EQ(cache.Evict(Any), 1);
  cache.CheckIntegrity();
  EXPECT_EQ(cache.Evict(Any), 0);  // a leaf now
  EXPECT_EQ(cache.Evict(Any), std::nullopt);
  cache.CheckIntegrity();
}

TEST(PrefixCache, EvictsOnlyWhatItMay) {
  PrefixCache cache;
  const EntryId a = cache.Insert(kRoot, Tokens{1}, 0);
  cache.Insert(kRoot, Tokens{2}, 1);
  cache.Insert(a, Tokens{3}, 2);
  EXPECT_EQ(cache.Evict([](PageId page) { return page == 0; }), std::nullopt);  // not a leaf
  EXPECT_EQ(cache.Evict([](PageId page) { return page == 2; }), 2);
  EXPECT_EQ(cache.Evict([](PageId page) { return page == 0; }), 0);
  EXPECT_EQ(cache.n_entries(), 1);
}

TEST(PrefixCache, ForgetsAnEntryAndNeverGivesItsIdAgain) {
  PrefixCache cache;
  const EntryId a = cache.Insert(kRoot, Tokens{1}, 0);
  cache.Evict(Any);
  EXPECT_FALSE(cache.Contains(a));
  EXPECT_EQ(cache.Find(kRoot, Tokens{1}), std::nullopt);
  EXPECT_NE(cache.Insert(kRoot, Tokens{1}, 0), a);
}

TEST(PrefixCacheDeathTest, AbortsForAParentThatIsNotThere) {
  PrefixCache cache;
  EXPECT_DEATH(cache.Insert(5, Tokens{1}, 0), "entry 5");
}

}  // namespace
}  // namespace aios
