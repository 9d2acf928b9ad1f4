// The KV cache and its page tables, one behavior at a time; kv_cache_property_test.cc mixes them.
#include "common/mm/kv_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "tests/common/mm/mm_testing.h"

namespace aios {
namespace {

using testing::ElementsAre;

std::vector<PageId> PagesOf(const Sequence& sequence) {
  return {sequence.table.pages().begin(), sequence.table.pages().end()};
}

Tokens Count(TokenId first, int n) {
  Tokens tokens(n);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

// ---- Tables ------------------------------------------------------------------------------------

TEST(PageTable, FindsAPositionInPagesOfAnySize) {
  for (const int64_t page_size : {1, 16, 17, 64, 512}) {
    SCOPED_TRACE(page_size);
    TestCache cache({.page_size = page_size, .n_pages = 512 / page_size + 2});
    const PageTable other = cache->Open(Tokens{5});
    PageTable table = cache->Open(Tokens{5});
    ASSERT_TRUE(cache->Reserve(table, 300));
    const int64_t n_pages = (300 + page_size - 1) / page_size;
    EXPECT_EQ(table.pages().size(), n_pages);
    EXPECT_EQ(table.capacity(), n_pages * page_size);
    EXPECT_EQ(table.n_tokens(), 0);
    int64_t page = 0;
    int64_t slot = 0;
    for (int64_t p = 0; p < 300; ++p) {
      ASSERT_EQ(table.Find(p), (PageTable::Slot{table.pages()[page], slot})) << p;
      if (++slot == page_size) {
        slot = 0;
        ++page;
      }
    }
    cache->Close(table);
    EXPECT_EQ(cache->n_free(), cache->n_pages());
  }
}

TEST(KvCache, TakesPagesAsASequenceGrowsAndGivesThemBack) {
  TestCache cache({.page_size = 4, .n_pages = 8, .share_prefixes = false});
  Sequence a = cache.Start(Count(0, 4));
  EXPECT_THAT(PagesOf(a), ElementsAre(0));
  Sequence b = cache.Start(Count(0, 5));
  EXPECT_THAT(PagesOf(b), ElementsAre(1, 2));
  ASSERT_TRUE(cache.Append(a, {9}));
  EXPECT_THAT(PagesOf(a), ElementsAre(0, 3));
  ASSERT_TRUE(cache.Append(a, {9, 9, 9}));
  EXPECT_THAT(PagesOf(a), ElementsAre(0, 3));
  EXPECT_TRUE(cache.Holds(a));
  EXPECT_TRUE(cache.Holds(b));
  cache->CheckIntegrity({{&a.table, &b.table}});
  cache->Close(a.table);
  EXPECT_EQ(a.table.n_tokens(), 0);
  EXPECT_EQ(cache->n_free(), 6);
  EXPECT_TRUE(cache.Holds(b));
}

TEST(KvCache, MayBeContiguous) {
  TestCache cache({.page_size = 512, .n_pages = 2});
  Sequence a = cache.Start(Count(0, 300));
  ASSERT_TRUE(cache.Append(a, Count(7, 212)));
  EXPECT_THAT(PagesOf(a), ElementsAre(0));
  EXPECT_TRUE(cache.Holds(a));
  EXPECT_EQ(cache->bytes_per_token(), 2 * 2 * 2 * 4 * 4);
  EXPECT_EQ(cache->bytes_per_page(), 512 * cache->bytes_per_token());
}

// ---- Copy on write -----------------------------------------------------------------------------

TEST(KvCache, CopiesTheOnePageThatAForkWritesTo) {
  TestCache cache({.page_size = 4, .n_pages = 8, .share_prefixes = false});
  Sequence a = cache.Start(Count(0, 10));
  Sequence b = cache.Fork(a);
  EXPECT_EQ(cache->n_free(), 5) << "a fork takes memory";
  EXPECT_EQ(PagesOf(a), PagesOf(b));
  ASSERT_TRUE(cache.Append(b, {77}));
  EXPECT_EQ(cache->stats().n_copied, 1);
  EXPECT_THAT(PagesOf(a), ElementsAre(0, 1, 2));
  EXPECT_THAT(PagesOf(b), ElementsAre(0, 1, 3));
  ASSERT_TRUE(cache.Append(a, {88, 89}));
  EXPECT_EQ(cache->stats().n_copied, 1) << "the page was a's alone";
  EXPECT_TRUE(cache.Holds(a));
  EXPECT_TRUE(cache.Holds(b));
  cache->CheckIntegrity({{&a.table, &b.table}});
  // At the end of a page there is nothing to copy; and a fork has no pages that are only reserved.
  ASSERT_TRUE(cache.Append(a, Count(0, 0)));
  TestCache whole({.page_size = 4, .n_pages = 8, .share_prefixes = false});
  Sequence c = whole.Start(Count(0, 8));
  ASSERT_TRUE(whole->Reserve(c.table, 4));
  Sequence d = whole.Fork(c);
  EXPECT_THAT(PagesOf(d), ElementsAre(0, 1));
  ASSERT_TRUE(whole.Append(d, {1}));
  EXPECT_EQ(whole->stats().n_copied, 0);
}

// ---- Out of pages ------------------------------------------------------------------------------

TEST(KvCache, ChangesNothingWhenThereAreNoPages) {
  TestCache cache({.page_size = 4, .n_pages = 5});
  Sequence a = cache.Start(Count(0, 6));   // 2 pages, of which 1 is known
  Sequence b = cache.Start(Count(50, 5));  // 2 pages, of which 1 is known
  Sequence known = cache.Start(Count(90, 4));
  cache->Close(known.table);  // the fifth page is evictable
  EXPECT_EQ(cache->n_free(), 0);
  EXPECT_EQ(cache->n_evictable(), 1);
  Sequence fork = cache.Fork(a);
  const std::vector<PageId> pages = PagesOf(fork);
  // A copy and a page: one too many, and neither is made.
  EXPECT_FALSE(cache.Append(fork, Count(0, 3)));
  EXPECT_EQ(PagesOf(fork), pages);
  EXPECT_EQ(cache->n_evictable(), 1);
  EXPECT_EQ(cache->n_known(), 3);
  EXPECT_EQ(cache->stats().n_copied, 0);
  EXPECT_EQ(cache->stats().n_evicted, 0);
  EXPECT_EQ(cache.Open(Count(90, 5)).table.n_tokens(), 4) << "what was known is not known anymore";
}

TEST(KvCache, GoesOnWhenAnotherSequenceIsClosed) {
  TestCache cache({.page_size = 4, .n_pages = 3});
  Sequence a = cache.Start(Count(0, 4));
  Sequence b = cache.Start(Count(50, 8));
  EXPECT_FALSE(cache.Append(a, {1}));
  EXPECT_TRUE(cache.Holds(a));
  EXPECT_TRUE(cache.Holds(b));
  cache->CheckIntegrity({{&a.table, &b.table}});
  cache->Close(b.table);
  ASSERT_TRUE(cache.Append(a, {1}));
  EXPECT_TRUE(cache.Holds(a));
  cache->CheckIntegrity({{&a.table}});
}

// ---- Prefixes ----------------------------------------------------------------------------------

TEST(KvCache, FindsWhatIsKnownOfAPromptButNeverItsLastToken) {
  TestCache cache({.page_size = 4, .n_pages = 16});
  Sequence a = cache.Start(Count(0, 12));
  const auto n_found = [&](const Tokens& prompt) {
    Sequence found = cache.Open(prompt);
    EXPECT_TRUE(cache.Holds(found));
    const int64_t n = found.table.n_tokens();
    cache->Close(found.table);
    return n;
  };
  for (int closed = 0; closed < 2; ++closed) {
    EXPECT_EQ(n_found(Count(1, 12)), 0);
    EXPECT_EQ(n_found(Count(0, 3)), 0);
    EXPECT_EQ(n_found(Count(0, 4)), 0);  // its last token is the page's
    EXPECT_EQ(n_found(Count(0, 5)), 4);
    EXPECT_EQ(n_found(Count(0, 12)), 8);  // the whole prompt is known
    EXPECT_EQ(n_found(Count(0, 13)), 12);
    EXPECT_EQ(n_found({0, 1, 2, 3, 4, 5, 99, 7, 8, 9, 10, 11, 12}), 4);
    // The same tokens, after others: not the same keys.
    EXPECT_EQ(n_found({9, 9, 9, 9, 4, 5, 6, 7, 1}), 0);
    if (closed == 0) cache->Close(a.table);
  }
  EXPECT_EQ(cache->stats().n_found, 2 * (4 + 8 + 12 + 4));
  EXPECT_EQ(cache->stats().n_missed, 12 + 2 * (12 + 3 + 4 + 1 + 4 + 1 + 9 + 9));
  EXPECT_EQ(cache->n_evictable(), 3);
  cache->CheckIntegrity({});
}

TEST(KvCache, KnowsNothingIfPrefixesAreNotShared) {
  TestCache cache({.page_size = 4, .n_pages = 16, .share_prefixes = false});
  Sequence a = cache.Start(Count(0, 12));
  EXPECT_EQ(cache.Open(Count(0, 12)).table.n_tokens(), 0);
  EXPECT_EQ(cache->n_known(), 0);
  cache->Close(a.table);
  EXPECT_EQ(cache->n_free(), 16);
}

TEST(KvCache, KeepsOneOfTwoPagesThatSequencesComputedAtTheSameTime) {
  TestCache cache({.page_size = 4, .n_pages = 8});
  Sequence a = cache.Open(Count(0, 10));
  Sequence b = cache.Open(Count(0, 10));
  ASSERT_TRUE(cache.Append(a, Count(0, 3)));
  ASSERT_TRUE(cache.Append(b, Count(0, 3)));
  EXPECT_NE(PagesOf(a), PagesOf(b));
  ASSERT_TRUE(cache.Append(a, Count(3, 7)));
  ASSERT_TRUE(cache.Append(b, Count(3, 7)));
  EXPECT_EQ(PagesOf(a)[0], PagesOf(b)[0]);
  EXPECT_EQ(PagesOf(a)[1], PagesOf(b)[1]);
  EXPECT_NE(PagesOf(a)[2], PagesOf(b)[2]);
  EXPECT_EQ(cache->n_free(), 4);
  EXPECT_TRUE(cache.Holds(a));
  EXPECT_TRUE(cache.Holds(b));
  cache->CheckIntegrity({{&a.table, &b.table}});
}

// ---- Eviction ----------------------------------------------------------------------------------

TEST(KvCache, EvictsWhatWasNotUsedForLongestAndNeverAPageInUse) {
  TestCache cache({.page_size = 4, .n_pages = 9});
  const Sequence in_use = cache.Start(Count(100, 12));  // the oldest
  for (const TokenId first : {0, 20, 40}) {             // 2 pages each, known and free to take
    Sequence done = cache.Start(Count(first, 8));
    cache->Close(done.table);
  }
  EXPECT_EQ(cache->n_free(), 0);
  EXPECT_EQ(cache->n_evictable(), 6);
  const auto n_known_of = [&](TokenId first) {
    Sequence sequence = cache.Open(Count(first, 9));
    EXPECT_TRUE(cache.Holds(sequence));
    const int64_t n = sequence.table.n_tokens();
    cache->Close(sequence.table);
    return n;
  };
  EXPECT_EQ(n_known_of(0), 8);  // now 20 was not used for longest

  Sequence taker = cache.Start(Count(200, 3));
  EXPECT_EQ(cache->stats().n_evicted, 1);
  ASSERT_TRUE(cache.Append(taker, Count(203, 3)));
  EXPECT_EQ(cache->stats().n_evicted, 2);
  EXPECT_EQ(n_known_of(20), 0);
  EXPECT_EQ(n_known_of(40), 8);
  EXPECT_EQ(n_known_of(0), 8);
  ASSERT_TRUE(cache.Append(taker, Count(206, 4)));  // the leaf of 40 goes, its beginning stays
  EXPECT_EQ(n_known_of(40), 4);
  ASSERT_TRUE(cache.Append(taker, Count(210, 14)));  // all that can be taken
  EXPECT_EQ(cache->stats().n_evicted, 6);
  EXPECT_EQ(cache->n_evictable(), 0);
  EXPECT_FALSE(cache.Append(taker, {1}));
  EXPECT_TRUE(cache.Holds(in_use));
  EXPECT_TRUE(cache.Holds(taker));
  cache->CheckIntegrity({{&in_use.table, &taker.table}});
}

TEST(KvCache, ForgetsWhatNobodyUsesIfAskedTo) {
  TestCache cache({.page_size = 4, .n_pages = 9});
  const Sequence in_use = cache.Start(Count(0, 9));
  Sequence longer = cache.Start(Count(0, 17));
  Sequence other = cache.Start(Count(50, 8));
  cache->Close(longer.table);
  cache->Close(other.table);
  cache->ForgetUnused();
  EXPECT_EQ(cache->n_evictable(), 0);
  EXPECT_EQ(cache->n_free(), 6);
  EXPECT_EQ(cache->n_known(), 2);
  EXPECT_EQ(cache->stats().n_evicted, 0);
  EXPECT_TRUE(cache.Holds(in_use));
  EXPECT_EQ(cache.Open(Count(50, 9)).table.n_tokens(), 0);
  cache->CheckIntegrity({{&in_use.table}});
}

// ---- Poison ------------------------------------------------------------------------------------

TEST(KvCache, OverwritesFreedPagesWithNaNIfAskedTo) {
  for (const bool poison : {true, false}) {
    TestCache cache(
        {.page_size = 4, .n_pages = 3, .share_prefixes = false, .poison_freed = poison});
    Sequence a = cache.Start(Count(0, 4));
    Sequence b = cache.Start(Count(50, 4));
    cache->Close(a.table);
    for (int64_t slot = 0; slot < 4; ++slot) {
      ForEachNumber(*cache, {.page = 0, .slot = slot},
                    [&](const float& number, int) { EXPECT_EQ(std::isnan(number), poison); });
    }
    EXPECT_TRUE(cache.Holds(b));
  }
  // What is known is not free.
  TestCache cache({.page_size = 4, .n_pages = 3, .poison_freed = true});
  Sequence a = cache.Start(Count(0, 4));
  cache->Close(a.table);
  EXPECT_TRUE(cache.Holds(cache.Open(Count(0, 5))));
}

// ---- Misuse ------------------------------------------------------------------------------------

// A conversation that went on for long is not older than what came and went meanwhile.
TEST(KvCache, WhatWasInUseUntilNowIsTheLastToBeEvicted) {
  TestCache cache({.page_size = 4, .n_pages = 4});
  Sequence longest = cache.Start(Count(0, 8));
  Sequence brief = cache.Start(Count(20, 8));
  cache->Close(brief.table);
  cache->Close(longest.table);
  Sequence taker = cache.Start(Count(100, 8));
  EXPECT_EQ(cache->stats().n_evicted, 2);
  cache->Close(taker.table);
  EXPECT_EQ(cache.Open(Count(20, 9)).table.n_tokens(), 0);
  EXPECT_EQ(cache.Open(Count(0, 9)).table.n_tokens(), 8);
}

TEST(KvCacheDeathTest, AbortsWhenMisused) {
  TestCache cache({.page_size = 4, .n_pages = 4});
  Sequence a = cache.Start(Count(0, 4));
  EXPECT_DEATH(cache->Commit(a.table, Tokens{1}), "1 tokens after 4 of 4");
  EXPECT_DEATH(static_cast<void>(a.table.Find(4)), "position 4 of 4");
  EXPECT_DEATH(static_cast<void>(a.table.Find(-1)), "position -1 of 4");
  EXPECT_DEATH(cache->Open(Tokens{}), "prompt");
  EXPECT_DEATH(static_cast<void>(cache->Reserve(a.table, -1)), "-1 tokens");
  PageTable closed = cache->Open(Tokens{1});
  cache->Close(closed);
  EXPECT_DEATH(static_cast<void>(cache->Reserve(closed, 1)), "Open did not make");
  Sequence fork = cache.Fork(cache.Start(Count(20, 2)));
  ASSERT_GT(fork.table.capacity(), 2);
  EXPECT_DEATH(cache->Commit(fork.table, Tokens{1}), "page 1 was written, but is shared");
  // A table that nobody knows of has the page's second reference.
  EXPECT_DEATH(cache->CheckIntegrity({}), "page 0 has 2 references, and 1 are known of");
  EXPECT_DEATH(cache->CheckIntegrity({{&a.table, &a.table}}), "and 3 are known of");
}

}  // namespace
}  // namespace aios
