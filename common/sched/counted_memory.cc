#include "common/sched/counted_memory.h"

#include <algorithm>

#include "common/base/check.h"

namespace aios {

CountedMemory::CountedMemory(const SimulatedMemory& memory,
                             std::span<const WorkloadRequest> workload)
    : memory_(memory),
      workload_(workload),
      n_free_(memory.n_pages),
      n_swap_free_(memory.n_swap_pages) {
  AIOS_CHECK(memory.n_pages >= 0 && memory.page_size >= 1 && memory.n_swap_pages >= 0);
}

int64_t CountedMemory::Open(const Sequence& sequence) {
  int64_t n_known = 0;  // whole pages of what is shared
  if (const Group* group = GroupOf(sequence)) {
    for (const Sequence* member : group->members) {
      n_known = std::max(n_known, std::min(member->n_computed / page_size(), Shareable(*member)));
    }
    // The last token is computed in any case.
    n_known = std::min({n_known, Shareable(sequence), (sequence.n_tokens() - 1) / page_size()});
  }
  Enter(sequence);
  const bool has_room = Grow(sequence, n_known * page_size());
  AIOS_CHECK(has_room, "sequence {}: pages that are known take no room", sequence.request.id);
  return n_known * page_size();
}

bool CountedMemory::Reserve(const Sequence& sequence, int64_t n_tokens) {
  return Grow(sequence, n_tokens);
}

bool CountedMemory::Grow(const Sequence& sequence, int64_t n_tokens) {
  const auto at = in_pages_.find(sequence.request.id);
  AIOS_CHECK(at != in_pages_.end(), "sequence {} has no pages", sequence.request.id);
  int64_t& n_has = at->second;
  const int64_t n_wanted = PagesFor(*this, n_tokens);
  if (n_wanted <= n_has) return true;

  Group* group = GroupOf(sequence);
  const int64_t n_shareable = std::min(n_wanted, Shareable(sequence));
  int64_t n_new = n_wanted - n_has;
  for (int64_t page = n_has; page < n_shareable; ++page) {
    if (group->n_references[page] > 0) --n_new;
  }
  if (n_new > n_free_) return false;
  for (int64_t page = n_has; page < n_shareable; ++page) ++group->n_references[page];
  n_free_ -= n_new;
  n_has = n_wanted;
  return true;
}

void CountedMemory::Close(const Sequence& sequence) {
  if (const auto at = swapped_.find(sequence.request.id); at != swapped_.end()) {
    n_swap_free_ += at->second;
    swapped_.erase(at);
  } else {
    Leave(sequence);
  }
}

bool CountedMemory::SwapOut(const Sequence& sequence) {
  const int64_t n_kept = PagesFor(*this, sequence.n_computed);
  if (n_kept > n_swap_free_) return false;
  Leave(sequence);
  n_swap_free_ -= n_kept;
  swapped_[sequence.request.id] = n_kept;
  return true;
}

bool CountedMemory::SwapIn(const Sequence& sequence) {
  const auto at = swapped_.find(sequence.request.id);
  AIOS_CHECK(at != swapped_.end(), "sequence {} is not swapped out", sequence.request.id);
  Enter(sequence);
  if (!Grow(sequence, sequence.n_computed)) {
    Leave(sequence);
    return false;
  }
  n_swap_free_ += at->second;
  swapped_.erase(at);
  return true;
}

const WorkloadRequest* CountedMemory::RequestOf(const Sequence& sequence) const {
  const SequenceId id = sequence.request.id;
  return id < workload_.size() ? &workload_[id] : nullptr;
}

CountedMemory::Group* CountedMemory::GroupOf(const Sequence& sequence) {
  const WorkloadRequest* request = RequestOf(sequence);
  return request == nullptr || request->prefix_group == 0 ? nullptr
                                                          : &groups_[request->prefix_group];
}

// Whole pages of what its group has in common.
int64_t CountedMemory::Shareable(const Sequence& sequence) const {
  const WorkloadRequest* request = RequestOf(sequence);
  return request == nullptr || request->prefix_group == 0 ? 0 : request->n_shared / page_size();
}

void CountedMemory::Enter(const Sequence& sequence) {
  const bool is_new = in_pages_.emplace(sequence.request.id, 0).second;
  AIOS_CHECK(is_new, "sequence {} has pages already", sequence.request.id);
  if (Group* group = GroupOf(sequence)) {
    group->members.push_back(&sequence);
    const auto n_shareable = static_cast<size_t>(Shareable(sequence));
    group->n_references.resize(std::max(group->n_references.size(), n_shareable));
  }
}

void CountedMemory::Leave(const Sequence& sequence) {
  const auto at = in_pages_.find(sequence.request.id);
  AIOS_CHECK(at != in_pages_.end(), "sequence {} has no pages", sequence.request.id);
  const int64_t n_has = at->second;
  in_pages_.erase(at);
  const int64_t n_shareable = std::min(n_has, Shareable(sequence));
  n_free_ += n_has - n_shareable;
  Group* group = GroupOf(sequence);
  if (group == nullptr) return;
  for (int64_t page = 0; page < n_shareable; ++page) {
    if (--group->n_references[page] == 0) ++n_free_;
  }
  std::erase(group->members, &sequence);
  if (group->members.empty()) groups_.erase(RequestOf(sequence)->prefix_group);
}

}  // namespace aios
