// Of preemption's grader: a memory that forgets what is in pages that were given back.
#pragma once

#include <map>

#include "preemption.h"
#include "tools/exercises/grader.h"

namespace aios::exercise {

inline int Int(int64_t n) { return static_cast<int>(n); }

inline uint64_t Mix(uint64_t a, uint64_t b) { return Random(a * 0x9e3779b97f4a7c15 + b).Next(); }
// What a model keeps of a token: never 0.
inline uint64_t KeyAndValue(int32_t token, int64_t position) { return Mix(token, position) | 1; }

// Pages, with a number in each slot: gone when the page is given back.
class ToyMemory : public Memory {
 public:
  ToyMemory(int64_t n_pages, int64_t page_size, int64_t n_host_tokens)
      : n_pages(n_pages), page_size(page_size), n_host_tokens(n_host_tokens) {}

  bool Reserve(const Sequence& s, int64_t n_tokens) override {
    Expect(!IsSwapped(s), Format("Reserve for sequence %d, which is swapped out", s.id),
           "who is swapped out comes back by SwapIn; and who had to go gets no pages");
    const int64_t n_more = PagesFor(n_tokens) - n_held(s);
    if (n_more > n_free()) return false;
    if (n_more > 0) slots_[s.id].resize(PagesFor(n_tokens) * page_size);
    return true;
  }

  void Release(const Sequence& s) override {
    Expect(!IsSwapped(s), Format("Release of sequence %d, which is swapped out", s.id),
           "SwapOut gave its pages back: what it copied is kept, not released");
    slots_.erase(s.id);
  }

  bool SwapOut(const Sequence& s) override {
    Expect(!IsSwapped(s), Format("SwapOut of sequence %d, which is swapped out", s.id), "once");
    Expect(n_held(s) >= PagesFor(s.n_computed),
           Format("SwapOut of sequence %d: %d tokens are computed, it has %d pages", s.id,
                  Int(s.n_computed), Int(n_held(s))),
           "copy first, and give back pages by it: after Release there is nothing to copy");
    if (n_host() + s.n_computed > n_host_tokens) return false;
    host_[s.id].assign(slots_[s.id].begin(), slots_[s.id].begin() + s.n_computed);
    slots_.erase(s.id);
    return true;
  }

  bool SwapIn(const Sequence& s) override {
    Expect(IsSwapped(s), Format("SwapIn of sequence %d, which is not swapped out", s.id),
           "who was never swapped out, or whose SwapOut gave false, gets pages by Reserve");
    const auto n_tokens = static_cast<int64_t>(host_[s.id].size());
    if (PagesFor(n_tokens) > n_free()) return false;
    slots_[s.id] = host_[s.id];
    slots_[s.id].resize(PagesFor(n_tokens) * page_size);
    host_.erase(s.id);
    return true;
  }

  // The number at a position: 0 if nothing was ever written there.
  uint64_t& At(const Sequence& s, int64_t position) {
    Expect(position < n_held(s) * page_size,
           Format("sequence %d has %d pages, and no room for position %d", s.id, Int(n_held(s)),
                  Int(position)),
           "pages for all tokens that it has, those of the answer too");
    return slots_[s.id][position];
  }

  int64_t PagesFor(int64_t n_tokens) const { return (n_tokens + page_size - 1) / page_size; }
  int64_t n_held(const Sequence& s) const {
    const auto found = slots_.find(s.id);
    return found == slots_.end() ? 0 : static_cast<int64_t>(found->second.size()) / page_size;
  }
  int64_t n_free() const {
    int64_t n = n_pages;
    for (const auto& [id, slots] : slots_) n -= static_cast<int64_t>(slots.size()) / page_size;
    return n;
  }
  int64_t n_host() const {
    int64_t n = 0;
    for (const auto& [id, values] : host_) n += static_cast<int64_t>(values.size());
    return n;
  }
  bool IsSwapped(const Sequence& s) const { return host_.count(s.id) > 0; }

  const int64_t n_pages;
  const int64_t page_size;
  const int64_t n_host_tokens;

 private:
  std::map<int32_t, std::vector<uint64_t>> slots_;
  std::map<int32_t, std::vector<uint64_t>> host_;
};

}  // namespace aios::exercise
