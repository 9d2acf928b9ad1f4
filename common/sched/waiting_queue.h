// WaitingQueue: who is next.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>

#include "common/sched/sequence.h"

namespace aios {

enum class Policy : uint8_t {
  kFirstCome,
  kPriority,           // the smallest number first; it takes pages from larger ones
  kShortestRemaining,  // the fewest tokens still to compute first, the answer at its longest
  // The user who was served least first, in tokens computed. Who comes back after a while starts
  // level with those who are there. (Virtual token counter: Sheng et al. 2024,
  // https://arxiv.org/abs/2401.00588)
  kFairShare,
};
std::string_view Name(Policy policy);  // "first-come"
// Of --policy's values. Throws InputError, which names them.
Policy ParsePolicy(std::string_view name);

// Sequences in the order of a policy, but who has waited for longer than `patience` seconds first
// (aging): of those, the one that came first. Every call is O(log n + number of users). Not
// thread-safe; the sequences must outlive their stay.
class WaitingQueue {
 public:
  WaitingQueue(Policy policy, double patience);

  void Push(Sequence& sequence);
  void Remove(Sequence& sequence);
  // nullptr if there is none.
  Sequence* First(double now) const;
  // Whether it has waited too long: it came at sequence.waiting_since.
  bool IsOverdue(const Sequence& sequence, double now) const;
  // For kFairShare: so many of the user's tokens were computed.
  void Serve(const std::string& user, int64_t n_tokens);

  int64_t size() const { return static_cast<int64_t>(by_arrival_.size()); }
};

}  // namespace aios
