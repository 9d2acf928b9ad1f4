// WaitingQueue: who is next.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "common/sched/fair_share.h"
#include "common/sched/sequence.h"

namespace aios {

enum class Policy : uint8_t {
  kFirstCome,
  kPriority,           // the smallest number first; it takes pages from larger ones
  kShortestRemaining,  // the fewest tokens still to compute first, the answer at its longest
  kFairShare,          // the user who was served least first (fair_share.h)
};
std::string_view Name(Policy policy);  // "first-come"
// Of --policy's values. Throws InputError, which names them.
Policy ParsePolicy(std::string_view name);

// Sequences in the order of a policy, those that are equal to it as they came. But who came more
// than `patience` seconds ago goes before all others, and of those, who came first (aging): the
// policy decides about the young, and nobody starves. What was preempted keeps its place: it came
// when it was submitted.
//
// Every call is O(log n). Not thread-safe; the sequences must outlive their stay, and must not
// change meanwhile.
class WaitingQueue {
 public:
  WaitingQueue(Policy policy, double patience);

  void Push(Sequence& sequence);
  void Remove(Sequence& sequence);
  // nullptr if there is none.
  Sequence* First(double now) const;
  // Whether it came more than `patience` seconds ago. Of two, the one that came first is overdue
  // first.
  bool IsOverdue(const Sequence& sequence, double now) const {
    return now - sequence.arrival > patience_;
  }
  // For kFairShare: the user is served so many tokens. Before Remove, if it is for a sequence here.
  void Serve(const std::string& user, int64_t n_tokens);

  int64_t size() const { return static_cast<int64_t>(by_arrival_.size()); }

 private:
  using Key = std::pair<int64_t, int64_t>;  // what the policy goes by, then the order of coming
  Key KeyOf(const Sequence& sequence) const;

  Policy policy_;
  double patience_;
  std::map<int64_t, Sequence*> by_arrival_;
  std::map<Key, Sequence*> by_policy_;  // not for kFairShare,
  FairShare fair_share_;                // which has this instead
};

}  // namespace aios
