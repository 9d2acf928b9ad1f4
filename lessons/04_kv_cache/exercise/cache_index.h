// Exercise: where in memory a key is.
//
// The keys of one layer lie in one piece of memory: [n_pages, n_kv_heads, page_size, head_dim], the
// last dimension fastest, as everywhere in this course. So the keys of one head in one page stand
// beside one another, which is what attention reads: head after head, key after key.
//
// A sequence has a page table: position p is in slot p % page_size of page
// page_table[p / page_size]. (Values lie in a second piece of memory, in the same way.)
//
// By hand: 3 pages of 2 slots, 2 heads, head_dim 4. A head's keys in a page take 2 * 4 = 8 numbers,
// a page 2 * 8 = 16. Number 3 of page 1, head 1, slot 0 is at 1 * 16 + 1 * 8 + 0 * 4 + 3 = 27. With
// the page table [2, 0], position 3 is in page 0, slot 1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace aios::exercise {

struct CacheShape {
  int64_t n_pages = 0;
  int64_t n_kv_heads = 0;
  int64_t page_size = 0;
  int64_t head_dim = 0;
};

// The index of a number in the cache. Caches are larger than 2^31 numbers.
int64_t Offset(const CacheShape& shape, int64_t page, int64_t kv_head, int64_t slot, int64_t i);

// Puts the key of one token, [n_kv_heads, head_dim], to its position.
//   cache [n_pages, n_kv_heads, page_size, head_dim]
void Store(const CacheShape& shape, std::span<const int32_t> page_table, int64_t position,
           std::span<const float> key, std::span<float> cache);

// Collects the keys of one head at positions 0 to n_positions - 1: out [n_positions, head_dim]. The
// table may have more pages than they need.
void Gather(const CacheShape& shape, std::span<const int32_t> page_table, int64_t kv_head,
            int64_t n_positions, std::span<const float> cache, std::span<float> out);

}  // namespace aios::exercise
