#include "common/mm/prefix_cache.h"

#include <algorithm>

#include "common/base/check.h"

namespace aios {

// FNV-1a over the 32-bit tokens, with a final mix: cheap, and what it gets wrong is verified away.
uint64_t PrefixCache::ChainedHash(uint64_t before, std::span<const TokenId> tokens) {
  uint64_t hash = before ^ 0xCBF29CE484222325;
  for (const TokenId token : tokens) {
    hash = (hash ^ static_cast<uint32_t>(token)) * 0x100000001B3;
  }
  return hash ^ (hash >> 32);
}

std::optional<PrefixCache::EntryId> PrefixCache::Find(EntryId parent,
                                                      std::span<const TokenId> tokens) {
  if (!Contains(parent)) return std::nullopt;
  const auto [begin, end] = by_hash_.equal_range(hash_(HashOf(parent), tokens));
  for (auto it = begin; it != end; ++it) {
    const Entry& entry = entries_.at(it->second);
    if (entry.parent == parent && std::ranges::equal(entry.tokens, tokens)) {
      Use(it->second);
      return it->second;
    }
  }
  return std::nullopt;
}

PrefixCache::EntryId PrefixCache::Insert(EntryId parent, std::span<const TokenId> tokens,
                                         PageId page) {
  AIOS_CHECK(Contains(parent), "entry {}", parent);
  const EntryId id = next_entry_++;
  const uint64_t hash = hash_(HashOf(parent), tokens);
  if (parent != kRoot) {
    Entry& entry = entries_.at(parent);
    if (entry.n_children++ == 0) leaves_.erase({entry.last_used, parent});
  }
  entries_.emplace(id, Entry{.parent = parent,
                             .hash = hash,
                             .tokens = {tokens.begin(), tokens.end()},
                             .page = page,
                             .n_children = 0,
                             .last_used = ++now_});
  by_hash_.emplace(hash, id);
  leaves_.emplace(now_, id);
  return id;
}

void PrefixCache::Use(EntryId id) {
  Entry& entry = entries_.at(id);
  const bool is_leaf = leaves_.erase({entry.last_used, id}) == 1;
  entry.last_used = ++now_;
  if (is_leaf) leaves_.emplace(now_, id);
}

void PrefixCache::Touch(EntryId id) {
  for (; id != kRoot; id = entries_.at(id).parent) Use(id);
}

std::optional<PageId> PrefixCache::Evict(const std::function<bool(PageId)>& may_evict) {
  for (const auto& leaf : leaves_) {
    const EntryId id = leaf.second;  // a copy: the leaf is erased before the entry
    const Entry& entry = entries_.at(id);
    if (!may_evict(entry.page)) continue;
    const PageId page = entry.page;
    const EntryId parent = entry.parent;
    const auto [begin, end] = by_hash_.equal_range(entry.hash);
    by_hash_.erase(std::find_if(begin, end, [&](const auto& known) { return known.second == id; }));
    leaves_.erase({entry.last_used, id});
    entries_.erase(id);
    if (parent != kRoot) {
      Entry& before = entries_.at(parent);
      if (--before.n_children == 0) leaves_.emplace(before.last_used, parent);
    }
    return page;
  }
  return std::nullopt;
}

std::vector<PageId> PrefixCache::Pages() const {
  std::vector<PageId> pages;
  pages.reserve(entries_.size());
  for (const auto& [id, entry] : entries_) pages.push_back(entry.page);
  return pages;
}

void PrefixCache::CheckIntegrity() const {
  AIOS_CHECK_EQ(by_hash_.size(), entries_.size());
  std::unordered_map<EntryId, int64_t> n_children;
  for (const auto& [id, entry] : entries_) {
    AIOS_CHECK(Contains(entry.parent), "entry {} has lost its parent {}", id, entry.parent);
    AIOS_CHECK_EQ(entry.hash, hash_(HashOf(entry.parent), entry.tokens));
    ++n_children[entry.parent];
  }
  size_t n_leaves = 0;
  for (const auto& [id, entry] : entries_) {
    const auto it = n_children.find(id);
    AIOS_CHECK_EQ(entry.n_children, it == n_children.end() ? 0 : it->second);
    const bool is_leaf = leaves_.contains({entry.last_used, id});
    AIOS_CHECK(is_leaf == (entry.n_children == 0), "entry {}", id);
    n_leaves += is_leaf ? 1 : 0;
  }
  AIOS_CHECK_EQ(n_leaves, leaves_.size());
}

}  // namespace aios
