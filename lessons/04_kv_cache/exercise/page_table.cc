#include "page_table.h"

namespace aios::exercise {

bool PageTable::Append(int64_t n) {
  // BEGIN SOLUTION
  // STUB: return false;
  if (n == 0) return true;
  const auto n_old = static_cast<int64_t>(pages_.size());
  const int64_t n_needed = (n_positions_ + n + page_size_ - 1) / page_size_;
  const int64_t n_used = n_positions_ % page_size_;  // of the last page
  const bool must_copy = n_used > 0 && memory_.n_references(pages_.back()) > 1;

  std::vector<int32_t> taken;
  const int64_t n_to_take = n_needed - n_old + (must_copy ? 1 : 0);
  for (int64_t i = 0; i < n_to_take; ++i) {
    const std::optional<int32_t> page = memory_.Allocate();
    if (!page.has_value()) {
      for (const int32_t held : taken) memory_.Release(held);
      return false;
    }
    taken.push_back(*page);
  }

  if (must_copy) {
    const int32_t shared = pages_.back();
    memory_.Copy(shared, taken[0], n_used);
    memory_.Release(shared);
    pages_.pop_back();
  }
  pages_.insert(pages_.end(), taken.begin(), taken.end());
  n_positions_ += n;
  return true;
  // END SOLUTION
}

Place PageTable::Find(int64_t position) const {
  // BEGIN SOLUTION
  // STUB: return {};
  return {.page = pages_[position / page_size_], .slot = position % page_size_};
  // END SOLUTION
}

PageTable PageTable::Fork() const {
  // BEGIN SOLUTION
  // STUB: return PageTable(memory_, page_size_);
  PageTable fork(memory_, page_size_);
  fork.n_positions_ = n_positions_;
  fork.pages_ = pages_;
  for (const int32_t page : pages_) memory_.Share(page);
  return fork;
  // END SOLUTION
}

void PageTable::Clear() {
  // BEGIN SOLUTION
  for (const int32_t page : pages_) memory_.Release(page);
  pages_.clear();
  n_positions_ = 0;
  // END SOLUTION
}

}  // namespace aios::exercise
