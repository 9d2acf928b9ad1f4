#include "page_allocator.h"

namespace aios::exercise {

PageAllocator::PageAllocator(int32_t n_pages) {
  // BEGIN SOLUTION
  references_.resize(n_pages);
  for (int32_t page = n_pages - 1; page >= 0; --page) free_.push_back(page);
  // END SOLUTION
}

std::optional<int32_t> PageAllocator::Allocate() {
  // BEGIN SOLUTION
  // STUB: return std::nullopt;
  if (free_.empty()) return std::nullopt;
  const int32_t page = free_.back();
  free_.pop_back();
  references_[page] = 1;
  return page;
  // END SOLUTION
}

bool PageAllocator::Share(int32_t page) {
  // BEGIN SOLUTION
  // STUB: return false;
  if (n_references(page) == 0) return false;
  ++references_[page];
  return true;
  // END SOLUTION
}

bool PageAllocator::Release(int32_t page) {
  // BEGIN SOLUTION
  // STUB: return false;
  const bool is_held = n_references(page) > 0;
  if (!is_held) return false;
  --references_[page];
  if (references_[page] == 0) free_.push_back(page);
  return true;
  // END SOLUTION
}

int32_t PageAllocator::n_free() const {
  // BEGIN SOLUTION
  // STUB: return 0;
  return static_cast<int32_t>(free_.size());
  // END SOLUTION
}

int32_t PageAllocator::n_references(int32_t page) const {
  // BEGIN SOLUTION
  // STUB: return 0;
  if (page < 0 || page >= static_cast<int32_t>(references_.size())) return 0;
  return references_[page];
  // END SOLUTION
}

}  // namespace aios::exercise
