#include "lessons/05_batching/faults.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/engine/kv_memory.h"

namespace aios::lessons {
namespace {

// "A user's next prompt begins as the one before": the cache looks pages up by user, and does not
// compare tokens.
class StalePrefixMemory : public KvMemory {
 public:
  using KvMemory::KvMemory;

  int64_t Open(const Sequence& sequence) override {
    const auto tokens = TokensOfSequence(sequence, sequence.n_tokens());
    std::vector<TokenId>& prompt = last_prompt_[sequence.request.user];
    prompt.resize(std::min(prompt.size(), tokens.size()));
    PageTable table = prompt.empty() ? PageTable() : cache().Open(prompt);
    prompt.assign(tokens.begin(), tokens.end());
    if (table.n_tokens() == 0) {
      cache().Close(table);
      return KvMemory::Open(sequence);
    }
    const int64_t n_found = table.n_tokens();
    Place(sequence.request.id, std::move(table));
    return n_found;
  }

 private:
  std::map<std::string, std::vector<TokenId>> last_prompt_;
};

// A reference that is taken for a moment, and forgotten on one of the ways out: of those who leave,
// each fourth keeps its pages.
class LeakingMemory : public KvMemory {
 public:
  using KvMemory::KvMemory;

  void Close(const Sequence& sequence) override {
    const PageTable* table = Find(sequence.request.id);
    if (table != nullptr && ++n_closed_ % 4 == 0) leaked_.push_back(cache().Fork(*table));
    KvMemory::Close(sequence);
  }

 private:
  int64_t n_closed_ = 0;
  std::vector<PageTable> leaked_;
};

template <typename Memory>
void Use(EngineOptions& options) {
  options.make_memory = [](Backend& backend, KvCache& cache, int64_t swap_bytes,
                           KvMemory::TokensOf tokens_of) {
    return std::make_unique<Memory>(backend, cache, swap_bytes, std::move(tokens_of));
  };
}

}  // namespace

void Plant(Fault fault, EngineOptions& options) {
  switch (fault) {
    case Fault::kNone:
      return;
    case Fault::kStalePrefix:
      return Use<StalePrefixMemory>(options);
    case Fault::kLeakedPage:
      return Use<LeakingMemory>(options);
    case Fault::kStarvation:
      // The shortest first, and nobody's patience counts.
      options.scheduler.policy = Policy::kShortestRemaining;
      options.scheduler.patience = std::numeric_limits<double>::infinity();
      options.scheduler.max_seqs = std::min<int64_t>(options.scheduler.max_seqs, 2);
      return;
  }
}

}  // namespace aios::lessons
