#include "common/backend/batch.h"

#include <algorithm>

#include "common/base/check.h"

namespace aios {

void Batch::Clear() {
  for (auto* numbers : {&tokens, &positions, &seq_offsets, &kv_lengths, &page_table, &logit_rows}) {
    numbers->clear();
  }
  seq_offsets.push_back(0);
  sampling.clear();
  max_pages = 0;
}

void CheckBatch(const Batch& batch, const BatchLimits& limits, int64_t page_size, int64_t n_pages) {
  const auto n_tokens = static_cast<size_t>(batch.n_tokens());
  const auto n_seqs = static_cast<size_t>(batch.n_seqs());
  AIOS_CHECK(batch.n_tokens() >= 1 && batch.n_tokens() <= limits.n_tokens, "{} tokens, limit {}",
             n_tokens, limits.n_tokens);
  AIOS_CHECK(batch.n_seqs() >= 1 && batch.n_seqs() <= limits.n_seqs, "{} sequences, limit {}",
             n_seqs, limits.n_seqs);
  AIOS_CHECK(batch.n_logit_rows() <= limits.n_logit_rows, "{} rows of logits, limit {}",
             batch.n_logit_rows(), limits.n_logit_rows);
  AIOS_CHECK(batch.max_pages <= limits.max_pages, "{} pages a sequence, limit {}", batch.max_pages,
             limits.max_pages);
  AIOS_CHECK(batch.sampling.empty() || batch.sampling.size() == batch.logit_rows.size(),
             "{} samples of {} rows", batch.sampling.size(), batch.logit_rows.size());
  AIOS_CHECK_EQ(batch.positions.size(), n_tokens);
  AIOS_CHECK_EQ(batch.seq_offsets.size(), n_seqs + 1);
  AIOS_CHECK_EQ(batch.page_table.size(), n_seqs * static_cast<size_t>(batch.max_pages));
  AIOS_CHECK(batch.seq_offsets.front() == 0 && batch.seq_offsets.back() == batch.n_tokens());
  for (size_t s = 0; s < n_seqs; ++s) {
    const int32_t begin = batch.seq_offsets[s];
    const int32_t end = batch.seq_offsets[s + 1];
    const int32_t length = batch.kv_lengths[s];
    AIOS_CHECK(begin < end, "sequence {} has no rows", s);
    AIOS_CHECK(end - begin <= length, "sequence {}: {} rows of {} keys", s, end - begin, length);
    for (int32_t row = begin; row < end; ++row) {
      AIOS_CHECK_EQ(batch.positions[row], length - (end - row));
    }
    const int64_t n_used = PagesFor(length, page_size);
    AIOS_CHECK(n_used <= batch.max_pages, "sequence {}: {} pages of {}", s, n_used,
               batch.max_pages);
    for (int64_t i = 0; i < n_used; ++i) {
      const int32_t page = batch.page_table[s * batch.max_pages + i];
      AIOS_CHECK(page >= 0 && page < n_pages, "page {} of {}", page, n_pages);
    }
  }
  for (const int32_t row : batch.logit_rows) {
    AIOS_CHECK(row >= 0 && row < batch.n_tokens(), "row {} of {}", row, n_tokens);
  }
}

BatchView ViewOf(const Batch& batch) {
  BatchView view = {.tokens = batch.tokens.data(),
                    .positions = batch.positions.data(),
                    .seq_offsets = batch.seq_offsets.data(),
                    .kv_lengths = batch.kv_lengths.data(),
                    .page_table = batch.page_table.data(),
                    .logit_rows = batch.logit_rows.data(),
                    .n_tokens = batch.n_tokens(),
                    .n_seqs = batch.n_seqs(),
                    .n_logit_rows = batch.n_logit_rows(),
                    .samples = !batch.sampling.empty(),
                    .max_pages = batch.max_pages};
  for (int32_t s = 0; s < view.n_seqs; ++s) {
    if (batch.seq_offsets[s + 1] == s + 1) view.n_decoding = s + 1;
    view.max_rows = std::max(view.max_rows, batch.seq_offsets[s + 1] - batch.seq_offsets[s]);
    view.max_kv_length = std::max(view.max_kv_length, batch.kv_lengths[s]);
  }
  return view;
}

}  // namespace aios
