#include "cache_index.h"

namespace aios::exercise {

int64_t Offset(const CacheShape& shape, int64_t page, int64_t kv_head, int64_t slot, int64_t i) {
  // BEGIN SOLUTION
  // STUB: return 0;
  return ((page * shape.n_kv_heads + kv_head) * shape.page_size + slot) * shape.head_dim + i;
  // END SOLUTION
}

void Store(const CacheShape& shape, std::span<const int32_t> page_table, int64_t position,
           std::span<const float> key, std::span<float> cache) {
  // BEGIN SOLUTION
  const int64_t page = page_table[position / shape.page_size];
  const int64_t slot = position % shape.page_size;
  for (int64_t head = 0; head < shape.n_kv_heads; ++head) {
    for (int64_t i = 0; i < shape.head_dim; ++i) {
      cache[Offset(shape, page, head, slot, i)] = key[head * shape.head_dim + i];
    }
  }
  // END SOLUTION
}

void Gather(const CacheShape& shape, std::span<const int32_t> page_table, int64_t kv_head,
            int64_t n_positions, std::span<const float> cache, std::span<float> out) {
  // BEGIN SOLUTION
  for (int64_t p = 0; p < n_positions; ++p) {
    const int64_t from = page_table[p / shape.page_size];
    for (int64_t i = 0; i < shape.head_dim; ++i) {
      out[p * shape.head_dim + i] = cache[Offset(shape, from, kv_head, p % shape.page_size, i)];
    }
  }
  // END SOLUTION
}

}  // namespace aios::exercise
