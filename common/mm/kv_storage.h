// KvStorage: memory for the keys and values of all layers, as pages.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/backend/backend.h"
#include "common/model/config.h"

namespace aios {

// Owns one piece of a backend's memory, cut into each layer's pages. Which sequence has which page
// is the caller's affair: a page's number means the same in all layers. Move-only. The backend must
// outlive it.
class KvStorage {
 public:
  static constexpr int64_t kDefaultPageSize = 64;  // tokens

  // page_size: tokens of a page. Not initialized. Throws InputError if there is not
  // enough memory.
  KvStorage(Backend& backend, const ModelConfig& config, int64_t n_pages,
            int64_t page_size = kDefaultPageSize);

  // Bytes of one page, keys and values of all layers.
  static int64_t BytesPerPage(const Backend& backend, const ModelConfig& config, int64_t page_size);

  std::span<const KvPages> layers() const { return layers_; }
  int64_t n_pages() const { return n_pages_; }
  int64_t page_size() const { return page_size_; }

 private:
  Buffer memory_;
  std::vector<KvPages> layers_;
  int64_t n_pages_ = 0;
  int64_t page_size_ = 0;
};

}  // namespace aios
