// SwapSpace: keys and values of sequences that had to give their pages back, in host memory.
//
// In the operating system of the analogy: the swap device. A sequence that comes back is copied
// rather than computed again; on a GPU that is worth it where the link to the host is faster than
// the model.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/backend/backend.h"
#include "common/mm/kv_cache.h"
#include "common/mm/page_allocator.h"
#include "common/mm/page_table.h"

namespace aios {

// Not thread-safe. The backend and the cache must outlive it.
//
//   if (auto swapped = swap.Out(table)) ...  // the table is closed: others have its pages
//   if (auto table = swap.In(*swapped, tokens)) ...
class SwapSpace {
 public:
  // Where a sequence is. Must be given back by In or Drop.
  struct Swapped {
    std::vector<PageId> pages;  // of host memory
  };

  // Takes the host memory: as many pages as `n_bytes` hold. Throws InputError if it is not there.
  SwapSpace(Backend& backend, KvCache& cache, int64_t n_bytes);

  // Enqueues the copy of all the table's tokens, and closes the table. Nothing if there is no room;
  // the table is as before.
  std::optional<Swapped> Out(PageTable& table);
  // A table with these tokens, which are those of the table that went out. What the cache still
  // knows of them is not copied. Nothing if the cache has too few pages; `swapped` is as before.
  std::optional<PageTable> In(Swapped& swapped, std::span<const TokenId> tokens);
  void Drop(Swapped& swapped);

  int64_t n_pages() const { return pages_.n_pages(); }
  int64_t n_free() const { return pages_.n_free(); }

 private:
  std::byte* At(PageId page) {
    return static_cast<std::byte*>(memory_.data()) + page * cache_.bytes_per_page();
  }

  KvCache& cache_;
  PageAllocator pages_;
  Buffer memory_;
};

}  // namespace aios
