#include "common/mm/swap_space.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "common/base/check.h"

namespace aios {

SwapSpace::SwapSpace(Backend& backend, KvCache& cache, int64_t n_bytes)
    : cache_(cache),
      pages_(static_cast<int32_t>(std::min<int64_t>(n_bytes / cache.bytes_per_page(), INT32_MAX))) {
  if (n_pages() > 0) {
    memory_ = backend.AllocateHost(n_pages() * cache.bytes_per_page(), "swapped keys and values");
  }
}

std::optional<SwapSpace::Swapped> SwapSpace::Out(PageTable& table) {
  const int64_t n_wanted = PagesFor(table.n_tokens(), cache_.page_size());
  if (n_wanted > n_free()) return std::nullopt;
  Swapped swapped;
  for (int64_t i = 0; i < n_wanted; ++i) {
    swapped.pages.push_back(*pages_.Allocate());
    cache_.CopyOut(table.pages()[i], At(swapped.pages.back()));
  }
  cache_.Close(table);
  return swapped;
}

std::optional<PageTable> SwapSpace::In(Swapped& swapped, std::span<const TokenId> tokens) {
  AIOS_CHECK_EQ(PagesFor(static_cast<int64_t>(tokens.size()), cache_.page_size()),
                static_cast<int64_t>(swapped.pages.size()));
  PageTable table = cache_.Open(tokens);
  const auto rest = tokens.subspan(table.n_tokens());
  if (!cache_.Reserve(table, static_cast<int64_t>(rest.size()))) {
    cache_.Close(table);
    return std::nullopt;
  }
  // What Open found are whole pages.
  for (size_t i = table.n_tokens() / cache_.page_size(); i < swapped.pages.size(); ++i) {
    cache_.CopyIn(At(swapped.pages[i]), table.pages()[i]);
  }
  cache_.Commit(table, rest);
  Drop(swapped);
  return table;
}

void SwapSpace::Drop(Swapped& swapped) {
  for (const PageId page : swapped.pages) pages_.Release(page);
  swapped.pages.clear();
}

}  // namespace aios
