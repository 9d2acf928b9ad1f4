#include "common/engine/recompute.h"

#include <algorithm>
#include <numeric>

#include "common/base/check.h"

namespace aios {

BatchLimits Recompute::LimitsFor(int64_t max_context) {
  constexpr int64_t kPageSize = KvStorage::kDefaultPageSize;
  return {.n_tokens = static_cast<int32_t>(std::min(max_context, kMaxChunk)),
          .n_seqs = 1,
          .n_logit_rows = static_cast<int32_t>(kMaxLogitRows),
          .max_pages = static_cast<int32_t>(PagesFor(max_context, kPageSize))};
}

Recompute::Recompute(Backend& backend, const Model& model, int64_t max_context)
    : backend_(backend),
      vocab_size_(model.config().vocab_size),
      limits_(LimitsFor(max_context)),
      transformer_(backend, model.config(), model.weights(), limits_, KvStorage::kDefaultPageSize),
      kv_(backend, model.config(), limits_.max_pages) {}

std::vector<float> Recompute::operator()(std::span<const TokenId> sequence) {
  return Forward(sequence, 1);
}

std::vector<float> Recompute::Forward(std::span<const TokenId> sequence, int64_t n_last) {
  const auto length = static_cast<int64_t>(sequence.size());
  AIOS_CHECK(n_last >= 1 && n_last <= length, "{} of {} rows", n_last, length);
  std::vector<float> logits(n_last * vocab_size_);
  float* out = logits.data();
  for (int64_t begin = 0, end = 0; begin < length; begin = end) {
    end = std::min(begin + limits_.n_tokens, length);
    // Of the rows that want logits, as many as a step may have.
    const int64_t first_wanted = std::max(begin, length - n_last);
    if (end - first_wanted > kMaxLogitRows) end = first_wanted + kMaxLogitRows;

    Batch batch = {.tokens = {sequence.begin() + begin, sequence.begin() + end},
                   .positions = std::vector<int32_t>(end - begin),
                   .seq_offsets = {0, static_cast<int32_t>(end - begin)},
                   .kv_lengths = {static_cast<int32_t>(end)},
                   .page_table = std::vector<int32_t>(limits_.max_pages),
                   .max_pages = limits_.max_pages};
    std::iota(batch.positions.begin(), batch.positions.end(), static_cast<int32_t>(begin));
    std::iota(batch.page_table.begin(), batch.page_table.end(), 0);
    for (int64_t row = first_wanted; row < end; ++row) {
      batch.logit_rows.push_back(static_cast<int32_t>(row - begin));
    }
    const MutableTensor step = transformer_.Forward(batch, kv_.layers());
    if (batch.logit_rows.empty()) continue;
    backend_.Download(step, out);
    out += step.n_elements();
  }
  return logits;
}

}  // namespace aios
