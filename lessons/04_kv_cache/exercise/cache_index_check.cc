// Grades Offset, Store and Gather. The cache that they are held against is four loops that count.
#include <algorithm>
#include <functional>

#include "cache_index.h"
#include "tools/exercises/grader.h"

namespace aios::exercise {
namespace {

std::string Sizes(const CacheShape& s) {
  return Format("[%d pages, %d heads, %d slots, %d]", static_cast<int>(s.n_pages),
                static_cast<int>(s.n_kv_heads), static_cast<int>(s.page_size),
                static_cast<int>(s.head_dim));
}

size_t Size(const CacheShape& s) { return s.n_pages * s.n_kv_heads * s.page_size * s.head_dim; }

void CheckOffset(const CacheShape& s) {
  BeginCase("Offset, " + Sizes(s));
  int64_t right = 0;
  for (int64_t page = 0; page < s.n_pages; ++page) {
    for (int64_t head = 0; head < s.n_kv_heads; ++head) {
      for (int64_t slot = 0; slot < s.page_size; ++slot) {
        for (int64_t i = 0; i < s.head_dim; ++i, ++right) {
          const int64_t slots_first =
              ((page * s.page_size + slot) * s.n_kv_heads + head) * s.head_dim + i;
          const int64_t columns =
              ((page * s.n_kv_heads + head) * s.head_dim + i) * s.page_size + slot;
          const int64_t heads_first =
              ((head * s.n_pages + page) * s.page_size + slot) * s.head_dim + i;
          ExpectEqual(
              Format("Offset of page %d, head %d, slot %d, i %d", static_cast<int>(page),
                     static_cast<int>(head), static_cast<int>(slot), static_cast<int>(i)),
              right, Offset(s, page, head, slot, i),
              {{0, "every offset is 0: is this still the stub?"},
               {slots_first,
                "within a page, heads come before slots: [n_kv_heads, page_size, ...]"},
               {columns, "head_dim is the last dimension: a key's numbers stand side by side"},
               {heads_first, "pages come first, so that a page is one piece of memory"}},
              "count by hand, as in the header: what lies between two neighbours of each "
              "dimension?");
        }
      }
    }
  }
}

void CheckLargeOffset() {
  const CacheShape s = {.n_pages = 100'000, .n_kv_heads = 8, .page_size = 64, .head_dim = 128};
  BeginCase("Offset in a cache of 6.5 billion numbers");
  const int64_t right = 99'999LL * 65'536 + 7 * 8192 + 63 * 128 + 127;
  ExpectEqual("Offset of page 99999, head 7, slot 63, i 127", right, Offset(s, 99'999, 7, 63, 127),
              {{static_cast<int32_t>(right), "that does not fit an int: use int64_t"}},
              "page * 65536 + head * 8192 + slot * 128 + i");
}

// A table of pages in no order, with one more than n_positions need.
std::vector<int32_t> RandomTable(const CacheShape& s, int64_t n_positions, Random& random) {
  std::vector<int32_t> pages;
  for (int32_t page = 0; page < s.n_pages; ++page) {
    pages.insert(pages.begin() + random.Int(0, page), page);
  }
  const auto n = static_cast<size_t>((n_positions + s.page_size - 1) / s.page_size + 1);
  pages.resize(std::min(n, pages.size()));
  return pages;
}

// Numbers [page][head][slot][i], without an offset to work out.
struct Plain {
  explicit Plain(const CacheShape& s, std::span<const float> numbers) : shape(s) {
    size_t at = 0;
    for (int64_t row = 0; row < s.n_pages * s.n_kv_heads * s.page_size; ++row) {
      rows.emplace_back(numbers.begin() + at, numbers.begin() + at + s.head_dim);
      at += s.head_dim;
    }
  }
  std::vector<float>& Row(int64_t page, int64_t head, int64_t slot) {
    const int64_t row = (page * shape.n_kv_heads + head) * shape.page_size + slot;
    return rows[row];
  }
  CacheShape shape;
  std::vector<std::vector<float>> rows;
};

// Keys by a way of finding position p, right or wrong.
using Find = std::function<std::vector<float>(int64_t p)>;
std::vector<float> Collect(int64_t n_positions, const Find& find) {
  std::vector<float> keys;
  for (int64_t p = 0; p < n_positions; ++p) {
    const std::vector<float> key = find(p);
    keys.insert(keys.end(), key.begin(), key.end());
  }
  return keys;
}

void CheckGather(const CacheShape& s, int64_t n_positions, Random& random) {
  const std::vector<int32_t> table = RandomTable(s, n_positions, random);
  BeginCase(Format("Gather of %d positions, page table %s, ", static_cast<int>(n_positions),
                   Text(std::span<const int32_t>(table)).c_str()) +
            Sizes(s));
  const std::vector<float> numbers = random.Floats(Size(s));
  Plain plain(s, numbers);
  for (int64_t head = 0; head < s.n_kv_heads; ++head) {
    const Fenced<float> cache(numbers);
    Fenced<float> out(Untouched(n_positions * s.head_dim));
    Gather(s, table, head, n_positions, {cache.data(), numbers.size()}, out.span());
    out.CheckBefore();
    const auto wrong = [&](const std::function<std::vector<float>(int64_t, int64_t)>& row) {
      return Collect(n_positions, [&](int64_t p) { return row(p / s.page_size, p % s.page_size); });
    };
    ExpectNear(wrong([&](int64_t at, int64_t slot) { return plain.Row(table[at], head, slot); }),
               out.span(),
               {.hint = "print page and slot of each position: are they those of the table?",
                .mistakes = {
                    {"the page is what the table says, not p / page_size itself",
                     wrong([&](int64_t at, int64_t slot) { return plain.Row(at, head, slot); })},
                    {"always the first page: which of the table's pages has position p?",
                     wrong([&](int64_t, int64_t slot) { return plain.Row(table[0], head, slot); })},
                    {"always head 0: kv_head says which", wrong([&](int64_t at, int64_t slot) {
                       return plain.Row(table[at], 0, slot);
                     })},
                }});
  }
}

void CheckStore(const CacheShape& s, int64_t n_positions, Random& random) {
  const std::vector<int32_t> table = RandomTable(s, n_positions, random);
  BeginCase(Format("Store of %d positions, page table %s, ", static_cast<int>(n_positions),
                   Text(std::span<const int32_t>(table)).c_str()) +
            Sizes(s));
  Plain plain(s, random.Floats(Size(s)));
  const auto flat = [&] {
    std::vector<float> numbers;
    for (const std::vector<float>& row : plain.rows) {
      numbers.insert(numbers.end(), row.begin(), row.end());
    }
    return numbers;
  };
  Fenced<float> cache(flat());
  // Not in order: a step may store any positions.
  for (int64_t p = n_positions - 1; p >= 0; --p) {
    const std::vector<float> key = random.Floats(s.n_kv_heads * s.head_dim);
    const Fenced<float> fenced(key);
    const std::vector<float> before = flat();
    Store(s, table, p, {fenced.data(), key.size()}, cache.span());
    cache.CheckBefore();
    std::vector<float> only_first = before;
    for (int64_t head = 0; head < s.n_kv_heads; ++head) {
      plain.Row(table[p / s.page_size], head, p % s.page_size)
          .assign(key.begin() + head * s.head_dim, key.begin() + (head + 1) * s.head_dim);
      if (head == 0) only_first = flat();
    }
    ExpectNear(
        flat(), cache.span(),
        {.hint = "the key of one token goes to n_kv_heads places, head_dim numbers each; "
                 "nothing else may change",
         .mistakes = {{"nothing was stored: is this still the stub?", before},
                      {"the key has n_kv_heads heads: only the first was stored", only_first}}});
  }
}

}  // namespace
}  // namespace aios::exercise

int main() {
  using namespace aios::exercise;
  // All sizes unequal: exchanged dimensions do not go unnoticed.
  CheckOffset({.n_pages = 3, .n_kv_heads = 2, .page_size = 2, .head_dim = 4});
  CheckOffset({.n_pages = 2, .n_kv_heads = 3, .page_size = 5, .head_dim = 7});
  CheckOffset({.n_pages = 4, .n_kv_heads = 5, .page_size = 3, .head_dim = 2});
  CheckOffset({.n_pages = 3, .n_kv_heads = 1, .page_size = 17, .head_dim = 6});
  CheckLargeOffset();

  Random random(4);
  for (const int64_t page_size : {2, 1, 16, 17}) {
    const CacheShape s = {.n_pages = 5, .n_kv_heads = 3, .page_size = page_size, .head_dim = 6};
    for (const int64_t n :
         {int64_t{1}, page_size, page_size + 1, 3 * page_size, 4 * page_size - 1}) {
      CheckGather(s, n, random);
      CheckStore(s, n, random);
    }
  }
  return Passed();
}
