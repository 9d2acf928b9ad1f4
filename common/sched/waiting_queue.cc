#include "common/sched/waiting_queue.h"

#include "common/base/check.h"
#include "common/base/error.h"

namespace aios {
namespace {

constexpr Policy kPolicies[] = {Policy::kFirstCome, Policy::kPriority, Policy::kShortestRemaining,
                                Policy::kFairShare};

}  // namespace

std::string_view Name(Policy policy) {
  switch (policy) {
    case Policy::kFirstCome:
      return "first-come";
    case Policy::kPriority:
      return "priority";
    case Policy::kShortestRemaining:
      return "shortest-remaining";
    case Policy::kFairShare:
      return "fair-share";
  }
  return "?";
}

Policy ParsePolicy(std::string_view name) {
  for (const Policy policy : kPolicies) {
    if (name == Name(policy)) return policy;
  }
  throw InputError(
      "policy {}: there is no such; take first-come, priority, shortest-remaining or fair-share",
      Quoted(name));
}

WaitingQueue::WaitingQueue(Policy policy, double patience) : policy_(policy), patience_(patience) {}

void WaitingQueue::Push(Sequence& sequence) {
  const bool is_new = by_arrival_.emplace(sequence.order, &sequence).second;
  AIOS_CHECK(is_new, "sequence {} waits already", sequence.request.id);
  if (policy_ == Policy::kFairShare) {
    fair_share_.Push(sequence);
  } else {
    by_policy_.emplace(KeyOf(sequence), &sequence);
  }
}

void WaitingQueue::Remove(Sequence& sequence) {
  AIOS_CHECK(by_arrival_.erase(sequence.order) == 1, "sequence {} does not wait",
             sequence.request.id);
  if (policy_ == Policy::kFairShare) {
    fair_share_.Remove(sequence);
  } else {
    by_policy_.erase(KeyOf(sequence));
  }
}

Sequence* WaitingQueue::First(double now) const {
  if (by_arrival_.empty()) return nullptr;
  Sequence* oldest = by_arrival_.begin()->second;
  if (IsOverdue(*oldest, now)) return oldest;
  return policy_ == Policy::kFairShare ? fair_share_.First() : by_policy_.begin()->second;
}

void WaitingQueue::Serve(const std::string& user, int64_t n_tokens) {
  if (policy_ == Policy::kFairShare) fair_share_.Serve(user, n_tokens);
}

WaitingQueue::Key WaitingQueue::KeyOf(const Sequence& sequence) const {
  switch (policy_) {
    case Policy::kPriority:
      return {sequence.request.priority, sequence.order};
    case Policy::kShortestRemaining:
      return {sequence.max_tokens() - sequence.n_computed, sequence.order};
    default:
      return {0, sequence.order};
  }
}

}  // namespace aios
