#include "common/mm/page_allocator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <random>
#include <set>
#include <vector>

namespace aios {
namespace {

TEST(PageAllocator, HandsOutEachPageOnceUntilThereIsNone) {
  PageAllocator pages(3);
  EXPECT_EQ(pages.n_free(), 3);
  std::set<PageId> taken;
  for (int i = 0; i < 3; ++i) taken.insert(pages.Allocate().value());
  EXPECT_THAT(taken, testing::ElementsAre(0, 1, 2));
  EXPECT_EQ(pages.n_free(), 0);
  EXPECT_EQ(pages.Allocate(), std::nullopt);
  EXPECT_EQ(pages.n_free(), 0);
  pages.CheckIntegrity();
  EXPECT_EQ(PageAllocator(0).Allocate(), std::nullopt);
}

TEST(PageAllocator, FreesAPageWithItsLastReference) {
  PageAllocator pages(2);
  const PageId page = *pages.Allocate();
  pages.AddReference(page);
  pages.AddReference(page);
  EXPECT_EQ(pages.n_references(page), 3);
  EXPECT_FALSE(pages.Release(page));
  EXPECT_FALSE(pages.Release(page));
  EXPECT_EQ(pages.n_free(), 1);
  EXPECT_TRUE(pages.Release(page));
  EXPECT_EQ(pages.n_references(page), 0);
  EXPECT_EQ(pages.n_free(), 2);
  pages.CheckIntegrity();
}

TEST(PageAllocator, HandsOutFirstWhatBecameFreeLast) {
  PageAllocator pages(4);
  std::vector<PageId> taken;
  for (int i = 0; i < 4; ++i) taken.push_back(*pages.Allocate());
  EXPECT_THAT(taken, testing::ElementsAre(0, 1, 2, 3));
  for (const PageId page : {1, 3, 0}) pages.Release(page);
  for (const PageId page : {0, 3, 1}) EXPECT_EQ(pages.Allocate(), page);
}

TEST(PageAllocator, AgreesWithCountsOverRandomOperations) {
  PageAllocator pages(7);
  std::vector<int> want(7, 0);
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    const auto page = static_cast<PageId>(random() % 7);
    if (want[page] == 0) {
      const std::optional<PageId> got = pages.Allocate();
      ASSERT_TRUE(got.has_value());
      ASSERT_EQ(want[*got]++, 0);
    } else if (random() % 3 == 0) {
      pages.AddReference(page);
      ++want[page];
    } else {
      ASSERT_EQ(pages.Release(page), --want[page] == 0);
    }
    pages.CheckIntegrity();
    for (PageId p = 0; p < 7; ++p) ASSERT_EQ(pages.n_references(p), want[p]);
    ASSERT_EQ(pages.n_free(), std::ranges::count(want, 0));
  }
}

TEST(PageAllocatorDeathTest, AbortsWhenMisused) {
  PageAllocator pages(2);
  const PageId page = *pages.Allocate();
  EXPECT_DEATH(pages.AddReference(1), "page 1 is free");
  EXPECT_DEATH(pages.Release(1), "page 1 is free");
  pages.Release(page);
  EXPECT_DEATH(pages.Release(page), "page 0 is free");
  EXPECT_DEATH(pages.AddReference(2), "page 2 of 2");
  EXPECT_DEATH(pages.Release(-1), "page -1 of 2");
  EXPECT_DEATH(pages.n_references(2), "page 2 of 2");
  EXPECT_DEATH(PageAllocator(-1), "-1 pages");
}

}  // namespace
}  // namespace aios
