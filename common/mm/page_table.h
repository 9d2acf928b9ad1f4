// PageTable: where the keys and values of one sequence are.
//
// In the operating system of the analogy: a process's page table. A sequence counts its positions
// from 0 as a process its addresses; where they are in memory is the table's affair.
//
//   page_size 4, 10 tokens:          pages() = [ 7, 2, 5 ]
//
//   position   0 1 2 3 | 4 5 6 7 | 8 9 . .
//   page          7    |    2    |    5       position 6 -> page 2, slot 2
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/base/check.h"
#include "common/mm/page_allocator.h"
#include "common/text/tokenizer.h"

namespace aios {

// A value that is moved, and copied by KvCache::Fork alone, which counts the references. KvCache
// changes it; all others read.
class PageTable {
 public:
  struct Slot {
    PageId page;
    int64_t slot;
    bool operator==(const Slot&) const = default;
  };

  PageTable() = default;
  PageTable(PageTable&&) = default;
  PageTable& operator=(PageTable&&) = default;

  int64_t page_size() const { return page_size_; }
  // Tokens whose keys and values are computed: positions [0, n_tokens).
  int64_t n_tokens() const { return n_tokens_; }
  // One for each page_size positions, the last ones perhaps still without tokens.
  std::span<const PageId> pages() const { return pages_; }
  // Positions that the pages have room for.
  int64_t capacity() const { return static_cast<int64_t>(pages_.size()) * page_size_; }

  // REQUIRES: 0 <= position < capacity().
  Slot Find(int64_t position) const {
    AIOS_CHECK(position >= 0 && position < capacity(), "position {} of {}", position, capacity());
    return {pages_[position / page_size_], position % page_size_};
  }

 private:
  friend class KvCache;
  PageTable(const PageTable&) = default;

  int64_t page_size_ = 1;
  int64_t n_tokens_ = 0;
  std::vector<PageId> pages_;
  // For the prefix cache: the tokens of the page that is not full, and what it knows of the pages
  // before it (PrefixCache::EntryId).
  std::vector<TokenId> unfinished_;
  int64_t prefix_ = 0;
};

}  // namespace aios
