#include "common/mm/page_maps.h"

#include <fmt/format.h>

#include <algorithm>

namespace aios {
namespace {

struct Run {
  int64_t begin;  // positions
  int64_t end;
  PageId first;
  PageId last;
  bool shared;
  bool known;
  int32_t n_references;

  bool Continues(const Run& next) const {
    return last + 1 == next.first && shared == next.shared && known == next.known &&
           n_references == next.n_references;
  }
};

std::string Line(const Run& run, int64_t n_tokens) {
  const int64_t n_taken = std::clamp(n_tokens - run.begin, int64_t{0}, run.end - run.begin);
  const bool writable = !run.shared && !run.known && n_taken < run.end - run.begin;
  return fmt::format(
      "{:>6}-{:<6} r{}{}{}  page {:<11} {:>6} of {:<6} {} reference{}\n", run.begin, run.end - 1,
      writable ? 'w' : '-', run.shared ? 's' : 'p', run.known ? 'k' : '-',
      run.first == run.last ? fmt::format("{}", run.first)
                            : fmt::format("{}-{}", run.first, run.last),
      n_taken, run.end - run.begin, run.n_references, run.n_references == 1 ? "" : "s");
}

}  // namespace

std::string PageMaps(const KvCache& cache, const PageTable& table) {
  std::string text;
  Run run = {};
  for (size_t i = 0; i < table.pages().size(); ++i) {
    const PageId page = table.pages()[i];
    const bool known = cache.IsKnown(page);
    const int64_t begin = static_cast<int64_t>(i) * table.page_size();
    const Run next = {.begin = begin,
                      .end = begin + table.page_size(),
                      .first = page,
                      .last = page,
                      .shared = cache.n_references(page) > (known ? 2 : 1),
                      .known = known,
                      .n_references = cache.n_references(page)};
    const bool is_full = next.end <= table.n_tokens();  // the one that is written stands alone
    if (i > 0 && is_full && run.Continues(next)) {
      run.end = next.end;
      run.last = page;
      continue;
    }
    if (i > 0) text += Line(run, table.n_tokens());
    run = next;
  }
  if (!table.pages().empty()) text += Line(run, table.n_tokens());
  return text;
}

}  // namespace aios
