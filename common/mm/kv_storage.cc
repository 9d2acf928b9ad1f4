#include "common/mm/kv_storage.h"

#include <cstddef>

#include "common/base/check.h"

namespace aios {

int64_t KvStorage::BytesPerPage(const Backend& backend, const ModelConfig& config,
                                int64_t page_size) {
  return 2 * config.n_layers * BytesOf(backend.activation_dtype(), page_size * config.kv_dim());
}

KvStorage::KvStorage(Backend& backend, const ModelConfig& config, int64_t n_pages,
                     int64_t page_size)
    : memory_(backend.Allocate(n_pages * BytesPerPage(backend, config, page_size), "KV cache")),
      n_pages_(n_pages),
      page_size_(page_size) {
  AIOS_CHECK(page_size >= 1 && n_pages >= 0, "{} pages of {}", n_pages, page_size);
  const Shape shape = {n_pages, config.n_kv_heads, page_size, config.head_dim};
  auto* next = static_cast<std::byte*>(memory_.data());
  const auto cut = [&] {
    const MutableTensor pages(next, backend.activation_dtype(), shape, backend.device());
    next += pages.n_bytes();
    return pages;
  };
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    layers_.push_back({.k = cut(), .v = cut()});
  }
}

}  // namespace aios
