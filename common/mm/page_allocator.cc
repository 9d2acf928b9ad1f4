#include "common/mm/page_allocator.h"

namespace aios {

PageAllocator::PageAllocator(int32_t n_pages) {
  AIOS_CHECK(n_pages >= 0, "{} pages", n_pages);
  n_references_.resize(n_pages);
  free_.reserve(n_pages);
  for (PageId page = n_pages; page-- > 0;) free_.push_back(page);  // page 0 is on top
}

std::optional<PageId> PageAllocator::Allocate() {
  if (free_.empty()) return std::nullopt;
  const PageId page = free_.back();
  free_.pop_back();
  n_references_[page] = 1;
  return page;
}

void PageAllocator::AddReference(PageId page) {
  AIOS_CHECK(n_references(page) > 0, "page {} is free", page);
  ++n_references_[page];
}

bool PageAllocator::Release(PageId page) {
  AIOS_CHECK(n_references(page) > 0, "page {} is free", page);
  if (--n_references_[page] > 0) return false;
  free_.push_back(page);
  return true;
}

void PageAllocator::CheckIntegrity() const {
  std::vector<bool> is_free(n_references_.size());
  for (const PageId page : free_) {
    AIOS_CHECK(page >= 0 && page < n_pages(), "page {} of {}", page, n_pages());
    AIOS_CHECK(!is_free[page], "page {} is free twice", page);
    is_free[page] = true;
  }
  for (PageId page = 0; page < n_pages(); ++page) {
    AIOS_CHECK((n_references_[page] == 0) == is_free[page], "page {} has {} references", page,
               n_references_[page]);
    AIOS_CHECK(n_references_[page] >= 0, "page {} has {} references", page, n_references_[page]);
  }
}

}  // namespace aios
