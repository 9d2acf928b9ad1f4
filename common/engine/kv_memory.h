// KvMemory: the scheduler's memory (common/sched/sequence_memory.h) is the KV cache.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <unordered_map>

#include "common/backend/backend.h"
#include "common/mm/kv_cache.h"
#include "common/mm/page_table.h"
#include "common/mm/swap_space.h"
#include "common/sched/sequence_memory.h"
#include "common/text/tokenizer.h"

namespace aios {

// Knows where each sequence's keys and values are: a page table, or pages of the swap space. Not
// thread-safe. Backend and cache must outlive it. (Virtual, so that lesson 05 can plant faults.)
class KvMemory : public SequenceMemory {
 public:
  // The tokens of a sequence that the host knows: prompt, and answer so far.
  using TokensOf = std::function<std::span<const TokenId>(SequenceId)>;

  // swap_bytes: of host memory; 0: nothing is swapped.
  KvMemory(Backend& backend, KvCache& cache, int64_t swap_bytes, TokensOf tokens_of);

  int64_t page_size() const override { return cache_.page_size(); }
  int64_t n_pages() const override { return cache_.n_pages(); }
  int64_t n_free() const override { return cache_.n_free() + cache_.n_evictable(); }

  int64_t Open(const Sequence& sequence) override;
  bool Reserve(const Sequence& sequence, int64_t n_tokens) override;
  void Close(const Sequence& sequence) override;
  bool SwapOut(const Sequence& sequence) override;
  bool SwapIn(const Sequence& sequence) override;

  // The table of a sequence that is in pages; nullptr if it is not.
  PageTable* Find(SequenceId id);
  const PageTable* Find(SequenceId id) const { return const_cast<KvMemory*>(this)->Find(id); }
  const SwapSpace& swap() const { return swap_; }

 protected:
  // The tokens whose keys and values are computed when the sequence is opened, or was when it was
  // swapped out.
  std::span<const TokenId> TokensOfSequence(const Sequence& sequence, int64_t n_tokens) const;
  KvCache& cache() { return cache_; }
  void Place(SequenceId id, PageTable&& table);

 private:
  KvCache& cache_;
  SwapSpace swap_;
  TokensOf tokens_of_;
  std::unordered_map<SequenceId, PageTable> tables_;
  std::unordered_map<SequenceId, SwapSpace::Swapped> swapped_;
};

}  // namespace aios
