// SequenceMemory: what the scheduler asks of memory.
//
// The engine's is the KV cache (common/engine/kv_memory.h); a simulation's only counts. So the
// scheduler decides the same whether there is a model or not.
#pragma once

#include <cstdint>

#include "common/sched/sequence.h"

namespace aios {

// Pages for the keys and values of sequences. A sequence is in one of three places:
//
//   nowhere -- Open --> in pages -- SwapOut --> in host memory -- SwapIn --> in pages
//
// and Close takes it back to nowhere from either. Not thread-safe.
class SequenceMemory {
 public:
  virtual ~SequenceMemory() = default;

  virtual int64_t page_size() const = 0;  // tokens
  virtual int64_t n_pages() const = 0;    // all that there are
  virtual int64_t n_free() const = 0;     // that a sequence could get now

  // Begins with what is known of its first tokens, in whole pages: how many tokens that is. Less
  // than sequence.n_tokens(): the last one is always computed.
  virtual int64_t Open(const Sequence& sequence) = 0;
  // Makes room for its first n_tokens in all. False if there are too few pages: then nothing has
  // changed. True without any effect if there is room already.
  virtual bool Reserve(const Sequence& sequence, int64_t n_tokens) = 0;
  virtual void Close(const Sequence& sequence) = 0;
  // Keeps the first sequence.n_computed tokens in host memory, and gives the pages back. False if
  // there is no room for them: then nothing has changed.
  virtual bool SwapOut(const Sequence& sequence) = 0;
  // The way back, with room for those tokens. False if there are too few pages: nothing has
  // changed.
  virtual bool SwapIn(const Sequence& sequence) = 0;
};

// Pages for the first n_tokens of a sequence.
inline int64_t PagesFor(const SequenceMemory& memory, int64_t n_tokens) {
  return (n_tokens + memory.page_size() - 1) / memory.page_size();
}

}  // namespace aios
