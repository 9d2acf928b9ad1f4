#include "common/mm/kv_cache.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "common/base/check.h"

namespace aios {
namespace {

// One page of one layer's keys or values: [n_kv_heads, page_size, head_dim].
MutableTensor PageOf(const MutableTensor& pages, PageId page) {
  const Shape& shape = pages.shape();
  const Shape one = {shape[1], shape[2], shape[3]};
  auto* data = pages.As<std::byte>() + page * BytesOf(pages.dtype(), one.n_elements());
  return {data, pages.dtype(), one, pages.device()};
}

}  // namespace

KvCache::KvCache(Backend& backend, const ModelConfig& config, const KvCacheOptions& options)
    : backend_(backend),
      bytes_per_page_(KvStorage::BytesPerPage(backend, config, options.page_size)),
      storage_(backend, config, options.n_pages, options.page_size),
      pages_(static_cast<int32_t>(options.n_pages)),
      prefixes_(options.hash),
      is_known_(options.n_pages),
      share_prefixes_(options.share_prefixes) {
  if (!options.poison_freed) return;
  nans_.assign(config.kv_dim() * options.page_size, std::numeric_limits<float>::quiet_NaN());
  poison_ = backend.PrepareMatrix({{Tensor(
      nans_.data(), DType::kF32, {config.n_kv_heads * options.page_size, config.head_dim})}});
}

PageTable KvCache::Open(std::span<const TokenId> prompt) {
  AIOS_CHECK(!prompt.empty());
  const auto page_size = static_cast<size_t>(this->page_size());
  PageTable table;
  table.page_size_ = this->page_size();
  table.prefix_ = PrefixCache::kRoot;
  for (size_t end = page_size; share_prefixes_ && end < prompt.size(); end += page_size) {
    const auto found = prefixes_.Find(table.prefix_, prompt.subspan(end - page_size, page_size));
    if (!found.has_value()) break;
    table.prefix_ = *found;
    table.pages_.push_back(prefixes_.PageOf(*found));
    Share(table.pages_.back());
  }
  table.n_tokens_ = table.capacity();
  stats_.n_found += table.n_tokens_;
  stats_.n_missed += static_cast<int64_t>(prompt.size()) - table.n_tokens_;
  return table;
}

bool KvCache::Reserve(PageTable& table, int64_t n_new) {
  AIOS_CHECK(n_new >= 0, "{} tokens", n_new);
  AIOS_CHECK(table.page_size_ == page_size(), "a table that Open did not make, or Close emptied");
  const int64_t n_wanted = PagesFor(table.n_tokens_ + n_new, page_size());
  const int64_t n_missing =
      std::max<int64_t>(0, n_wanted - static_cast<int64_t>(table.pages_.size()));
  // The page that is partly full would be written to: it must be this sequence's alone.
  const bool copies = n_new > 0 && table.n_tokens_ % page_size() != 0 &&
                      pages_.n_references(table.Find(table.n_tokens_).page) > 1;
  const int64_t n_needed = n_missing + (copies ? 1 : 0);
  if (n_needed > n_free() && n_needed > n_free() + n_evictable()) return false;

  if (copies) {
    PageId& last = table.pages_[table.n_tokens_ / page_size()];
    const PageId copy = TakePage();
    CopyPage(last, copy);
    GiveBack(last);
    last = copy;
    ++stats_.n_copied;
  }
  for (int64_t i = 0; i < n_missing; ++i) table.pages_.push_back(TakePage());
  return true;
}

void KvCache::Commit(PageTable& table, std::span<const TokenId> tokens) {
  AIOS_CHECK(table.n_tokens_ + static_cast<int64_t>(tokens.size()) <= table.capacity(),
             "{} tokens after {} of {}", tokens.size(), table.n_tokens_, table.capacity());
  for (const TokenId token : tokens) {
    PageId& page = table.pages_[table.n_tokens_++ / page_size()];
    // Else a fork since Reserve would have been written to as well.
    AIOS_CHECK(pages_.n_references(page) == 1, "page {} was written, but is shared", page);
    if (!share_prefixes_) continue;
    table.unfinished_.push_back(token);
    if (table.n_tokens_ % page_size() != 0) continue;

    // The page is full. If another sequence was there first, this one takes its page, which holds
    // the same. So a sequence refers to all known pages before those it refers to, and none of them
    // can be evicted under it.
    if (const auto known = prefixes_.Find(table.prefix_, table.unfinished_)) {
      table.prefix_ = *known;
      Share(prefixes_.PageOf(*known));
      GiveBack(std::exchange(page, prefixes_.PageOf(*known)));
    } else {
      table.prefix_ = prefixes_.Insert(table.prefix_, table.unfinished_, page);
      pages_.AddReference(page);
      is_known_[page] = true;
    }
    table.unfinished_.clear();
  }
}

PageTable KvCache::Fork(const PageTable& table) {
  PageTable fork(table);
  fork.pages_.resize(PagesFor(table.n_tokens_, page_size()));  // not those that are only reserved
  for (const PageId page : fork.pages_) Share(page);
  return fork;
}

void KvCache::Close(PageTable& table) {
  // Least recently used: a long sequence used its first page until now, not only when it was found.
  if (share_prefixes_) prefixes_.Touch(table.prefix_);
  for (const PageId page : table.pages_) GiveBack(page);
  table = PageTable();
}

PageId KvCache::TakePage() {
  if (pages_.n_free() == 0) {
    // Who uses a page uses all known pages before it: those that nobody uses are leaves, or become
    // leaves when what continues them is evicted.
    AIOS_CHECK(Evict(), "no page is free or evictable");
    ++stats_.n_evicted;
  }
  return *pages_.Allocate();
}

bool KvCache::Evict() {
  const auto evicted = prefixes_.Evict([&](PageId page) { return pages_.n_references(page) == 1; });
  if (!evicted.has_value()) return false;
  is_known_[*evicted] = false;
  --n_evictable_;
  GiveBack(*evicted);
  return true;
}

void KvCache::ForgetUnused() {
  while (Evict()) {
  }
}

void KvCache::Share(PageId page) {
  if (is_known_[page] && pages_.n_references(page) == 1) --n_evictable_;
  pages_.AddReference(page);
}

void KvCache::GiveBack(PageId page) {
  if (pages_.Release(page)) {
    if (!poison_.empty()) Poison(page);
  } else if (is_known_[page] && pages_.n_references(page) == 1) {
    ++n_evictable_;
  }
}

void KvCache::CopyPage(PageId from, PageId to) {
  for (const KvPages& layer : storage_.layers()) {
    backend_.Copy(PageOf(layer.k, from), PageOf(layer.k, to));
    backend_.Copy(PageOf(layer.v, from), PageOf(layer.v, to));
  }
}

void KvCache::CopyOut(PageId page, std::byte* to) {
  for (const KvPages& layer : storage_.layers()) {
    for (const MutableTensor& pages : {layer.k, layer.v}) {
      const Tensor from = PageOf(pages, page);
      backend_.Copy(from, MutableTensor(to, from.dtype(), from.shape(), Device::kCpu));
      to += from.n_bytes();
    }
  }
}

void KvCache::CopyIn(const std::byte* from, PageId page) {
  for (const KvPages& layer : storage_.layers()) {
    for (const MutableTensor& pages : {layer.k, layer.v}) {
      const MutableTensor to = PageOf(pages, page);
      backend_.Copy(Tensor(from, to.dtype(), to.shape(), Device::kCpu), to);
      from += to.n_bytes();
    }
  }
}

void KvCache::Poison(PageId page) {
  const Tensor& nans = poison_.parts().front();
  for (const KvPages& layer : storage_.layers()) {
    for (const MutableTensor& pages : {layer.k, layer.v}) {
      const MutableTensor to = PageOf(pages, page);
      backend_.Copy(Tensor(nans.data(), nans.dtype(), to.shape(), nans.device()), to);
    }
  }
}

void KvCache::CheckIntegrity(std::span<const PageTable* const> open) const {
  pages_.CheckIntegrity();
  prefixes_.CheckIntegrity();
  std::vector<int32_t> n_references(n_pages());
  for (const PageTable* table : open) {
    AIOS_CHECK(table->n_tokens() <= table->capacity());
    for (const PageId page : table->pages()) ++n_references[page];
  }
  for (const PageId page : prefixes_.Pages()) {
    AIOS_CHECK(is_known_[page], "page {}", page);
    ++n_references[page];
  }
  AIOS_CHECK_EQ(std::ranges::count(is_known_, true), prefixes_.n_entries());
  AIOS_CHECK_EQ(n_evictable_, std::ranges::count_if(prefixes_.Pages(), [&](PageId page) {
                  return pages_.n_references(page) == 1;
                }));
  for (PageId page = 0; page < n_pages(); ++page) {
    AIOS_CHECK(n_references[page] == pages_.n_references(page),
               "page {} has {} references, and {} are known of", page, pages_.n_references(page),
               n_references[page]);
  }
}

}  // namespace aios
