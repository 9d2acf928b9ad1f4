#include "common/engine/kv_memory.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"

namespace aios {

KvMemory::KvMemory(Backend& backend, KvCache& cache, int64_t swap_bytes, TokensOf tokens_of)
    : cache_(cache), swap_(backend, cache, swap_bytes), tokens_of_(std::move(tokens_of)) {}

std::span<const TokenId> KvMemory::TokensOfSequence(const Sequence& sequence,
                                                    int64_t n_tokens) const {
  const std::span<const TokenId> known = tokens_of_(sequence.request.id);
  AIOS_CHECK(n_tokens <= static_cast<int64_t>(known.size()),
             "sequence {}: {} tokens are known, and {} asked for", sequence.request.id,
             known.size(), n_tokens);
  return known.first(n_tokens);
}

int64_t KvMemory::Open(const Sequence& sequence) {
  PageTable table = cache_.Open(TokensOfSequence(sequence, sequence.n_tokens()));
  const int64_t n_found = table.n_tokens();
  Place(sequence.request.id, std::move(table));
  return n_found;
}

void KvMemory::Place(SequenceId id, PageTable&& table) {
  const bool is_new = tables_.try_emplace(id, std::move(table)).second;
  AIOS_CHECK(is_new, "sequence {} was open", id);
}

bool KvMemory::Reserve(const Sequence& sequence, int64_t n_tokens) {
  PageTable& table = tables_.at(sequence.request.id);
  return cache_.Reserve(table, std::max<int64_t>(0, n_tokens - table.n_tokens()));
}

void KvMemory::Close(const Sequence& sequence) {
  if (auto table = tables_.extract(sequence.request.id)) cache_.Close(table.mapped());
  if (auto swapped = swapped_.extract(sequence.request.id)) swap_.Drop(swapped.mapped());
}

bool KvMemory::SwapOut(const Sequence& sequence) {
  const auto at = tables_.find(sequence.request.id);
  AIOS_CHECK_EQ(at->second.n_tokens(), sequence.n_computed);
  auto swapped = swap_.Out(at->second);
  if (!swapped.has_value()) return false;
  tables_.erase(at);
  swapped_.emplace(sequence.request.id, *std::move(swapped));
  return true;
}

bool KvMemory::SwapIn(const Sequence& sequence) {
  const auto at = swapped_.find(sequence.request.id);
  auto table = swap_.In(at->second, TokensOfSequence(sequence, sequence.n_computed));
  if (!table.has_value()) return false;
  swapped_.erase(at);
  Place(sequence.request.id, *std::move(table));
  return true;
}

PageTable* KvMemory::Find(SequenceId id) {
  const auto at = tables_.find(id);
  return at == tables_.end() ? nullptr : &at->second;
}

}  // namespace aios
