// KvCache: the keys and values of all sequences, as virtual memory.
//
// Memory is cut into pages of page_size tokens; a sequence gets pages as it grows (page_table.h),
// so that at most one page of each is partly empty. Sequences that begin alike share pages
// (prefix_cache.h); a fork shares all of them, until one of the two writes (copy on write).
// (PagedAttention: Kwon et al. 2023, https://arxiv.org/abs/2309.06180)
//
// The contiguous layout, a sequence in one piece, is a page as large as the context: segments
// instead of pages, and no other code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/backend/backend.h"
#include "common/mm/kv_storage.h"
#include "common/mm/page_allocator.h"
#include "common/mm/page_table.h"
#include "common/mm/prefix_cache.h"
#include "common/model/config.h"

namespace aios {

struct KvCacheOptions {
  int64_t page_size = KvStorage::kDefaultPageSize;  // tokens, 1 or more
  int64_t n_pages = 0;
  // Keep full pages after their sequences have ended, as long as nobody needs the memory, for
  // sequences that begin like them.
  bool share_prefixes = true;
  // Overwrite pages that become free with NaN, so that who still reads them is found out.
#ifdef NDEBUG
  bool poison_freed = false;
#else
  bool poison_freed = true;
#endif
  PrefixCache::Hash hash = &PrefixCache::ChainedHash;
};

// Counts of all that happened.
struct KvCacheStats {
  int64_t n_found = 0;    // tokens of prompts whose keys and values were there already
  int64_t n_missed = 0;   // and that were not
  int64_t n_evicted = 0;  // pages that were known, and taken for something else
  int64_t n_copied = 0;   // pages, on write
};

// What is computed for a sequence goes: Open; then, step by step, Reserve, the forward pass with
// table.pages() and layers(), Commit; at last Close. Not thread-safe. The backend must outlive it.
//
//   PageTable table = cache.Open(prompt);          // perhaps table.n_tokens() are there already
//   const auto rest = prompt.subspan(table.n_tokens());
//   if (!cache.Reserve(table, rest.size())) ...    // no pages: close another, or wait
//   transformer.Forward(...);                      // writes positions from n_tokens() on
//   cache.Commit(table, rest);
//   cache.Close(table);
class KvCache {
 public:
  // Takes the memory. Throws InputError if there is not enough.
  KvCache(Backend& backend, const ModelConfig& config, const KvCacheOptions& options);

  // Begins a sequence with the pages that are known of its prompt: whole pages from the beginning,
  // but never the last token, whose logits are still to be computed. `prompt` is not empty.
  PageTable Open(std::span<const TokenId> prompt);
  // Makes room for n_new tokens after the n_tokens() that there are, and makes what will be written
  // the sequence's own. Takes pages from the prefix cache if no other is free. False if there are
  // not enough: then the table, and what is known of prefixes, are as before.
  [[nodiscard]] bool Reserve(PageTable& table, int64_t n_new);
  // The keys and values of these tokens, which come next, are computed, or will be by what was
  // enqueued before anything that reads them. REQUIRES: Reserve made room, and there
  // was no Fork since.
  void Commit(PageTable& table, std::span<const TokenId> tokens);
  // A second sequence with the same tokens so far. Costs no memory until one of the two goes on.
  PageTable Fork(const PageTable& table);
  // Gives the pages back. The table is empty afterwards.
  void Close(PageTable& table);

  // Enqueues the copy of a page, in all layers, to bytes_per_page() of host memory
  // (Backend::AllocateHost), and the way back: SwapSpace's part.
  void CopyOut(PageId page, std::byte* to);
  void CopyIn(const std::byte* from, PageId page);

  // Gives back all pages that only the prefix cache refers to: what is in them is not to be found
  // again.
  void ForgetUnused();

  // One for each layer, for Transformer::Forward.
  std::span<const KvPages> layers() const { return storage_.layers(); }

  int64_t page_size() const { return storage_.page_size(); }
  int64_t bytes_per_page() const { return bytes_per_page_; }
  int64_t bytes_per_token() const { return bytes_per_page_ / page_size(); }
  int64_t n_pages() const { return pages_.n_pages(); }
  int64_t n_free() const { return pages_.n_free(); }
  // Pages that only the prefix cache refers to: as good as free.
  int64_t n_evictable() const { return n_evictable_; }
  int64_t n_known() const { return prefixes_.n_entries(); }
  int32_t n_references(PageId page) const { return pages_.n_references(page); }
  bool IsKnown(PageId page) const { return is_known_[page]; }
  const KvCacheStats& stats() const { return stats_; }

  // Aborts unless every reference to a page is one of these tables' or of the prefix cache, and
  // each page is either referred to or free. `open`: all tables that are not closed.
  void CheckIntegrity(std::span<const PageTable* const> open) const;

 private:
  PageId TakePage();           // REQUIRES: one is free or evictable
  bool Evict();                // false if no page is evictable
  void Share(PageId page);     // one more sequence uses it
  void GiveBack(PageId page);  // one less, or the prefix cache
  void CopyPage(PageId from, PageId to);
  void Poison(PageId page);

  Backend& backend_;
  int64_t bytes_per_page_;
  KvStorage storage_;
  PageAllocator pages_;
  PrefixCache prefixes_;
  std::vector<bool> is_known_;  // [n_pages]: the prefix cache has a reference to it
  int64_t n_evictable_ = 0;
  bool share_prefixes_;
  std::vector<float> nans_;  // of one page and layer, if freed pages are poisoned
  Weight poison_;
  KvCacheStats stats_;
};

}  // namespace aios
