// Exercise: preemption that loses nothing.
//
// Sequences grow by a token a step, and nobody knows how long they become; so one day there is no
// page for the next token. Then one that has pages must give them back: it is preempted, waits, and
// goes on later. Its answer must be the one that it would have had alone.
//
// Who: the one that was admitted last. So the one that was admitted first is never in danger, gets
// to its end, and sets pages free: everything ends. The last may be the very sequence that asks.
//
// What it keeps: its tokens, the sampled ones too. They were shown, and sampling them again might
// give others. What it loses is pages, and with them keys and values. Those are
//
//   swapped out   copied to host memory as long as there is room (SwapOut); later copied back
//                 (SwapIn), and nothing is computed again; or
//   recomputed    forgotten (Release): n_computed is 0, and when it is admitted again all of its
//                 tokens, prompt and answer, are computed as if they were a prompt.
//
// Where it waits: before all others that wait, since it was admitted before any of them.
//
// By hand: pages of 4 tokens, 4 of them; A and B were admitted in this order, have 8 tokens each,
// all of them computed, and 2 pages each. Both sample their ninth. A asks for room for it: no page
// is free. B is the last. Say that host memory is full: SwapOut gives false, so Release it is,
// B.n_computed = 0, and B waits as the first. Of the two pages that are free now A gets one. B has
// 9 tokens, would need 3 pages, and waits until A is through. Then its 9 tokens are computed in one
// step, and the tenth is sampled.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

namespace aios::exercise {

struct Sequence {
  int32_t id = 0;
  std::vector<int32_t> tokens = {};  // the prompt, and the answer so far
  int64_t n_computed = 0;   // of them: their keys and values are in its pages, or swapped out
  bool is_swapped = false;  // its keys and values are in host memory
};

// The memory. The grader gives you one. A sequence is nowhere, in pages, or swapped out.
class Memory {
 public:
  virtual ~Memory() = default;
  // Pages for its first n_tokens in all; those that it has stay as they are. False if too few pages
  // are free: then nothing has changed. Not for one that is swapped out.
  virtual bool Reserve(const Sequence& sequence, int64_t n_tokens) = 0;
  // Its pages are free, what is in them is forgotten.
  virtual void Release(const Sequence& sequence) = 0;
  // Copies the keys and values of its first n_computed tokens to host memory; its pages are free.
  // False if there is no room for them: then nothing has changed.
  virtual bool SwapOut(const Sequence& sequence) = 0;
  // Copies them back, into pages for those tokens. False if too few pages are free: then nothing
  // has changed.
  virtual bool SwapIn(const Sequence& sequence) = 0;
};

// Each sequence that is not finished is in one of the two.
struct Queues {
  std::deque<Sequence*> waiting;   // who is next comes first
  std::deque<Sequence*> admitted;  // in the order in which they were
};

// The one that was admitted last gives its pages back and waits. REQUIRES: somebody is admitted.
void Preempt(Queues& queues, Memory& memory);

// Pages for all tokens of `sequence`, which is admitted: as long as there are too few, the one that
// was admitted last is preempted, and nobody without need. False if that was `sequence` itself: it
// waits now.
bool MakeRoom(Sequence& sequence, Queues& queues, Memory& memory);

// Admits the one that is next, for the first time or again, if there are pages for all tokens that
// it has (for one that is swapped out: for those that were computed; MakeRoom follows). False, and
// nothing has changed, if there are too few, or nobody waits. Nobody is preempted for it.
bool Admit(Queues& queues, Memory& memory);

}  // namespace aios::exercise
