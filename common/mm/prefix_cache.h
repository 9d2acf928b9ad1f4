// PrefixCache: pages of keys and values that are there already, found by the tokens they stand for.
//
// The keys and values of a token depend on all tokens before it, so a page can be used again only
// after the very same beginning. Pages therefore form a tree; a path from its root is a text:
//
//   root -+- [You are a help] -+- [ful assistant. W] --- [hy is the sky bl]
//         |                    +- [ful pirate. Arr,]
//         +- [Once upon a tim]
//
// (vLLM's automatic prefix caching; SGLang's RadixAttention, https://arxiv.org/abs/2312.07104.)
// In the operating system of the analogy: the page cache, which keeps what may be asked for again
// in memory that nobody needs just now.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/mm/page_allocator.h"
#include "common/text/tokenizer.h"

namespace aios {

// Knows full pages by what is in them. An entry is found by a hash of its parent's hash and its own
// tokens, and verified: it must be a child of that very parent, token by token. So a collision of
// hashes costs time, never a wrong page. Counts no references: KvCache does. Not thread-safe.
class PrefixCache {
 public:
  using EntryId = int64_t;  // never used twice
  static constexpr EntryId kRoot = 0;

  // Chains the hash of what comes before with the tokens of a page. A test passes one that
  // collides.
  using Hash = uint64_t (*)(uint64_t before, std::span<const TokenId> tokens);
  static uint64_t ChainedHash(uint64_t before, std::span<const TokenId> tokens);

  explicit PrefixCache(Hash hash = &ChainedHash) : hash_(hash) {}

  // The page that continues `parent` with these tokens, if it is known. It then counts as used.
  std::optional<EntryId> Find(EntryId parent, std::span<const TokenId> tokens);
  // Makes it known. REQUIRES: `parent` is there, and Find knows no such page.
  EntryId Insert(EntryId parent, std::span<const TokenId> tokens, PageId page);
  // A sequence that ended here used this entry and all before it until now. The last one counts as
  // used first, so that of two that nobody uses since, the later in the text goes first.
  void Touch(EntryId entry);
  bool Contains(EntryId entry) const { return entry == kRoot || entries_.contains(entry); }
  PageId PageOf(EntryId entry) const { return entries_.at(entry).page; }

  // Forgets the page that was not used for longest, of those that nothing continues and that
  // `may_evict`: so a page is never found without all before it. Nothing if there is none.
  std::optional<PageId> Evict(const std::function<bool(PageId)>& may_evict);

  int64_t n_entries() const { return static_cast<int64_t>(entries_.size()); }
  // The pages it knows, in no order.
  std::vector<PageId> Pages() const;
  // Aborts unless the tree, the hashes and the order of use agree. O(n_entries).
  void CheckIntegrity() const;

 private:
  struct Entry {
    EntryId parent;
    uint64_t hash;
    std::vector<TokenId> tokens;
    PageId page;
    int64_t n_children;
    int64_t last_used;
  };

  uint64_t HashOf(EntryId entry) const { return entry == kRoot ? 0 : entries_.at(entry).hash; }
  void Use(EntryId entry);

  Hash hash_;
  std::unordered_map<EntryId, Entry> entries_;
  std::unordered_multimap<uint64_t, EntryId> by_hash_;
  std::set<std::pair<int64_t, EntryId>> leaves_;  // (last_used, entry) of those without children
  EntryId next_entry_ = kRoot + 1;
  int64_t now_ = 0;  // counts uses
};

}  // namespace aios
