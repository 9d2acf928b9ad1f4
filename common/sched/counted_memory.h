// CountedMemory: pages that are only counted, for schedulers without a model.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "common/sched/sequence_memory.h"
#include "common/sched/workload.h"

namespace aios {

struct SimulatedMemory {
  int64_t n_pages = 0;
  int64_t page_size = 64;    // tokens
  int64_t n_swap_pages = 0;  // in host memory
};

// Prompts of a prefix group share the whole pages of what they have in common. The KV cache is
// modeled, with two differences: a shared page counts once from the moment on that it is reserved,
// also while two sequences compute it both; and it is forgotten with the last one that has it.
//
// Aborts when it is misused: opened twice, closed when not open. Not thread-safe; a workload and
// the sequences that are open must outlive it.
class CountedMemory : public SequenceMemory {
 public:
  // A sequence's id is its request's index in the workload. Who is not in it shares nothing.
  explicit CountedMemory(const SimulatedMemory& memory,
                         std::span<const WorkloadRequest> workload = {});

  int64_t page_size() const override { return memory_.page_size; }
  int64_t n_pages() const override { return memory_.n_pages; }
  int64_t n_free() const override { return n_free_; }
  int64_t n_swap_free() const { return n_swap_free_; }

  int64_t Open(const Sequence& sequence) override;
  bool Reserve(const Sequence& sequence, int64_t n_tokens) override;
  void Close(const Sequence& sequence) override;
  bool SwapOut(const Sequence& sequence) override;
  bool SwapIn(const Sequence& sequence) override;

 private:
  // Those of a prefix group that are in pages.
  struct Group {
    std::vector<const Sequence*> members = {};
    std::vector<int32_t> n_references = {};  // of each page that may be shared, by position
  };

  const WorkloadRequest* RequestOf(const Sequence& sequence) const;
  Group* GroupOf(const Sequence& sequence);  // nullptr: it shares nothing
  int64_t Shareable(const Sequence& sequence) const;
  bool Grow(const Sequence& sequence, int64_t n_tokens);
  void Enter(const Sequence& sequence);
  void Leave(const Sequence& sequence);

  SimulatedMemory memory_;
  std::span<const WorkloadRequest> workload_;
  int64_t n_free_;
  int64_t n_swap_free_;
  std::unordered_map<SequenceId, int64_t> in_pages_;  // how many
  std::unordered_map<SequenceId, int64_t> swapped_;   // how many
  std::unordered_map<int32_t, Group> groups_;         // that have members
};

}  // namespace aios
