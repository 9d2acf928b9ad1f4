#include "preemption.h"

namespace aios::exercise {

void Preempt(Queues& queues, Memory& memory) {
  // BEGIN SOLUTION
  Sequence& last = *queues.admitted.back();
  queues.admitted.pop_back();
  last.is_swapped = memory.SwapOut(last);
  if (!last.is_swapped) {
    memory.Release(last);
    last.n_computed = 0;
  }
  queues.waiting.push_front(&last);
  // END SOLUTION
}

bool MakeRoom(Sequence& sequence, Queues& queues, Memory& memory) {
  // BEGIN SOLUTION
  // STUB: return false;
  while (!memory.Reserve(sequence, static_cast<int64_t>(sequence.tokens.size()))) {
    const bool is_last = queues.admitted.back() == &sequence;
    Preempt(queues, memory);
    if (is_last) return false;
  }
  return true;
  // END SOLUTION
}

bool Admit(Queues& queues, Memory& memory) {
  // BEGIN SOLUTION
  // STUB: return false;
  if (queues.waiting.empty()) return false;
  Sequence& next = *queues.waiting.front();
  const bool has_pages = next.is_swapped
                             ? memory.SwapIn(next)
                             : memory.Reserve(next, static_cast<int64_t>(next.tokens.size()));
  if (!has_pages) return false;
  next.is_swapped = false;
  queues.waiting.pop_front();
  queues.admitted.push_back(&next);
  return true;
  // END SOLUTION
}

}  // namespace aios::exercise
