// PageAllocator: which pages of a fixed number are taken, and by how many.
//
// In the operating system of the analogy: the allocator of physical page frames.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/base/check.h"

namespace aios {

using PageId = int32_t;  // of [0, n_pages)

// Hands out page numbers; what is in the pages is not its affair. A page may be referred to several
// times (sequences that begin alike share pages, the prefix cache refers to what it knows); it is
// free again when the last reference is given back. Every call is O(1). Not thread-safe.
//
//   PageAllocator pages(4);
//   const PageId a = *pages.Allocate();  // 1 reference
//   pages.AddReference(a);               // 2
//   pages.Release(a);                    // false: somebody still has it
//   pages.Release(a);                    // true: free
class PageAllocator {
 public:
  explicit PageAllocator(int32_t n_pages);

  // A page with one reference, or nothing if none is free. The page that became free last comes
  // first: it is likeliest to be in a cache.
  std::optional<PageId> Allocate();
  // REQUIRES: the page is not free.
  void AddReference(PageId page);
  // Gives a reference back; true if it was the last. REQUIRES: the page is not free: to free a page
  // twice aborts.
  bool Release(PageId page);

  int32_t n_references(PageId page) const {
    AIOS_CHECK(page >= 0 && page < n_pages(), "page {} of {}", page, n_pages());
    return n_references_[page];
  }
  int32_t n_pages() const { return static_cast<int32_t>(n_references_.size()); }
  int32_t n_free() const { return static_cast<int32_t>(free_.size()); }

  // Aborts unless each page is either referred to, or free exactly once. O(n_pages).
  void CheckIntegrity() const;

 private:
  std::vector<int32_t> n_references_;  // [n_pages]
  std::vector<PageId> free_;           // a stack
};

}  // namespace aios
