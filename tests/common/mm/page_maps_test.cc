#include "common/mm/page_maps.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/common/mm/mm_testing.h"

namespace aios {
namespace {

TEST(PageMaps, ShowsASharedPrefixAPrivatePageAndTheOneThatIsWritten) {
  TestCache cache({.page_size = 4, .n_pages = 16});
  Sequence a = cache.Start({1, 2, 3, 4, 5, 6, 7, 8, 9});                       // pages 0, 1 and 2
  const Sequence b = cache.Start({1, 2, 3, 4, 9, 9, 9, 9, 8, 8, 8, 8, 7, 7});  // 0, 3, 4, 5
  EXPECT_EQ(PageMaps(*cache, b.table),
            "     0-3      r-sk  page 0                4 of 4      3 references\n"
            "     4-11     r-pk  page 3-4              8 of 8      2 references\n"
            "    12-15     rwp-  page 5                2 of 4      1 reference\n");
  EXPECT_EQ(PageMaps(*cache, a.table),
            "     0-3      r-sk  page 0                4 of 4      3 references\n"
            "     4-7      r-pk  page 1                4 of 4      2 references\n"
            "     8-11     rwp-  page 2                1 of 4      1 reference\n");
}

TEST(PageMaps, ShowsAForkUntilOneOfTheTwoWrites) {
  TestCache cache({.page_size = 4, .n_pages = 8, .share_prefixes = false});
  const Sequence a = cache.Start({1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  Sequence fork = cache.Fork(a);
  EXPECT_EQ(PageMaps(*cache, fork.table),
            "     0-7      r-s-  page 0-1              8 of 8      2 references\n"
            "     8-11     r-s-  page 2                2 of 4      2 references\n");
  ASSERT_TRUE(cache.Append(fork, {11}));
  EXPECT_EQ(PageMaps(*cache, fork.table),
            "     0-7      r-s-  page 0-1              8 of 8      2 references\n"
            "     8-11     rwp-  page 3                3 of 4      1 reference\n");
  EXPECT_EQ(PageMaps(*cache, a.table),
            "     0-7      r-s-  page 0-1              8 of 8      2 references\n"
            "     8-11     rwp-  page 2                2 of 4      1 reference\n");
}

TEST(PageMaps, ShowsPagesThatAreOnlyReserved) {
  TestCache cache({.page_size = 4, .n_pages = 8});
  PageTable table = cache->Open(Tokens{1});
  EXPECT_EQ(PageMaps(*cache, table), "");
  ASSERT_TRUE(cache->Reserve(table, 5));
  EXPECT_EQ(PageMaps(*cache, table),
            "     0-3      rwp-  page 0                0 of 4      1 reference\n"
            "     4-7      rwp-  page 1                0 of 4      1 reference\n");
}

}  // namespace
}  // namespace aios
