// Exercise: the page table of a sequence, from positions to places in memory.
//
// A sequence's keys and values lie in pages of page_size positions each. Position p is in slot
// p % page_size of the page that its table has at p / page_size; which page that is, is anybody's
// guess: they are given as they become free. A table grows by whole pages, when its last one is
// full.
//
// Two sequences that begin alike can hold the same pages (Fork). They may all be read, but not
// written: before a sequence puts a token into a page that others hold too, it takes a page of its
// own, copies what is there, and lets go of the other (copy on write). Only the last page of a
// table can be in question, since the others are full, and only if it is not full itself.
//
// By hand, page_size 4: Append(6) takes two pages, say 9 and 2. Find(5) is page 2, slot 1. Fork
// gives a second table [9, 2] of 6 positions. Append(1) to the second: page 2 has two holders and
// room for two more, so it takes a page, say 5, has the 2 slots copied from 2 to 5, and releases 2:
// its table is [9, 5]. Append(1) to the first then writes in page 2, which is its own again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace aios::exercise {

// The memory, as a table sees it. The grader gives you one.
class Pages {
 public:
  virtual ~Pages() = default;
  virtual std::optional<int32_t> Allocate() = 0;  // held once; nullopt: none is free
  virtual void Share(int32_t page) = 0;           // held once more
  virtual void Release(int32_t page) = 0;         // held once less
  virtual int32_t n_references(int32_t page) const = 0;
  // Copies slots 0 to n_slots - 1, of all layers.
  virtual void Copy(int32_t from, int32_t to, int64_t n_slots) = 0;
};

struct Place {
  int32_t page = 0;
  int64_t slot = 0;  // in the page
};

class PageTable {
 public:
  // No positions yet. page_size: 1 or more, not always a power of two.
  PageTable(Pages& memory, int64_t page_size) : memory_(memory), page_size_(page_size) {}
  // (The grader calls Clear before a table ends.)

  // Makes room for n more positions, which will be written then. False if there are not enough
  // pages: then nothing has changed, and all pages that were taken on the way are given back.
  bool Append(int64_t n);

  // Where a position is. REQUIRES: 0 <= position < n_positions().
  Place Find(int64_t position) const;

  // A second table with the same positions, which holds the same pages.
  PageTable Fork() const;

  // Gives back all pages.
  void Clear();

  int64_t n_positions() const { return n_positions_; }
  const std::vector<int32_t>& pages() const { return pages_; }

 private:
  Pages& memory_;
  int64_t page_size_;
  int64_t n_positions_ = 0;
  std::vector<int32_t> pages_;
};

}  // namespace aios::exercise
