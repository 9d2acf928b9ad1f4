#include "chunked_prefill.h"

#include <algorithm>

namespace aios::exercise {

std::vector<Rows> FillStep(std::span<const Sequence> sequences, int64_t budget,
                           int64_t prefill_chunk) {
  // BEGIN SOLUTION
  // STUB: return {};
  std::vector<Rows> step;
  for (const Sequence& s : sequences) {
    if (s.n_tokens - s.n_computed != 1) continue;
    step.push_back({.id = s.id, .begin = s.n_computed, .n_rows = 1, .samples = true});
    --budget;
  }
  int64_t n_left = std::min(budget, prefill_chunk);
  for (const Sequence& s : sequences) {
    const int64_t n_missing = s.n_tokens - s.n_computed;
    const int64_t n_rows = std::min(n_missing, n_left);
    if (n_missing == 1 || n_rows == 0) continue;
    step.push_back(
        {.id = s.id, .begin = s.n_computed, .n_rows = n_rows, .samples = n_rows == n_missing});
    n_left -= n_rows;
  }
  return step;
  // END SOLUTION
}

}  // namespace aios::exercise
