// Exercise: who owns which page of the cache.
//
// The cache's memory is cut into n_pages pages of one size. A sequence asks for a page when it
// needs room, and gives it back when it ends; two sequences that begin alike hold the same page.
// So each page has a count of those who hold it, and is free when nobody does.
//
//   Allocate   a free page, held by one from now on; nullopt if none is free
//   Share      one more holds the page
//   Release    one less; who lets go last makes it free
//
// Neither looks at what is in a page, and none may take time in proportion to n_pages: keep the
// free pages in a list, and take from its end.
//
// By hand, with 2 pages: Allocate gives one of them, a; Allocate gives the other, b; Allocate gives
// nullopt. Share(a); Release(a): a is still held once. Release(a): a is free, and the next Allocate
// gives it. Release(b); Release(b): the second time nobody holds b, so it returns false.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace aios::exercise {

class PageAllocator {
 public:
  // All pages, 0 to n_pages - 1, are free.
  explicit PageAllocator(int32_t n_pages);

  // Which of the free pages is up to you.
  std::optional<int32_t> Allocate();

  // Both return false, and change nothing, if there is no such page or nobody holds it: somebody
  // uses a page that he gave back. That is a bug of his, but it must not become two sequences that
  // write over one another.
  bool Share(int32_t page);
  bool Release(int32_t page);

  int32_t n_free() const;
  // How many hold the page; 0 if it is free, or if there is no such page.
  int32_t n_references(int32_t page) const;

 private:
  std::vector<int32_t> free_;        // the pages that nobody holds
  std::vector<int32_t> references_;  // [n_pages]: how many hold each
};

}  // namespace aios::exercise
