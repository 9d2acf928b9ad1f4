// Of preemption's grader: each call of the reader's, held against plain counts.
#pragma once

#include <algorithm>
#include <map>

#include "preemption.h"
#include "preemption_memory.h"
#include "tools/exercises/grader.h"

namespace aios::exercise {

inline std::vector<int32_t> Ids(const std::deque<Sequence*>& queue) {
  std::vector<int32_t> ids;
  ids.reserve(queue.size());
  for (const Sequence* s : queue) ids.push_back(s == nullptr ? -1 : s->id);
  return ids;
}

// The reader's three functions, each held against what it should do.
class Checked {
 public:
  Checked(int64_t n_pages, int64_t page_size, int64_t n_host_tokens)
      : memory(n_pages, page_size, n_host_tokens) {}

  void Submit(Sequence& s) {
    queues.waiting.push_back(&s);
    all_.push_back(&s);
  }

  void Preempt() {
    const Before before(*this);
    const Sequence* last = before.queues.admitted.back();
    exercise::Preempt(queues, memory);
    Compare(Format("Preempt, sequence %d was admitted last", last->id), before, 1);
  }

  bool MakeRoom(Sequence& s) {
    const Before before(*this);
    // Who must go: from the last one on, until there are enough pages, or it is s itself.
    int64_t n_missing =
        memory.PagesFor(static_cast<int64_t>(s.tokens.size())) - memory.n_held(s) - memory.n_free();
    size_t n_preempted = 0;
    bool goes = false;
    while (n_missing > 0 && !goes) {
      ++n_preempted;
      const Sequence* last = queues.admitted[queues.admitted.size() - n_preempted];
      n_missing -= memory.n_held(*last);
      goes = last == &s;
    }
    const std::string call =
        Format("MakeRoom for %d tokens of sequence %d, %d pages free",
               Int(static_cast<int64_t>(s.tokens.size())), s.id, Int(memory.n_free()));
    const bool done = exercise::MakeRoom(s, queues, memory);
    Expect(n_preempted > 0 || done, call + ": there are enough, and it returned false",
           "ask for pages first; only if there are too few somebody must go: is this still the "
           "stub?");
    Expect(!goes || !done, call + ": it was admitted last, and it returned true",
           "the last may be the one that asks: then it waits, and gets nothing");
    Compare(call, before, n_preempted);
    Expect(goes || done, call + ": somebody else was preempted, and it returned false",
           "try again when one was preempted: now there may be enough");
    if (done) {
      ExpectEqual("its pages after " + call, memory.PagesFor(static_cast<int64_t>(s.tokens.size())),
                  memory.n_held(s),
                  {{memory.PagesFor(s.n_computed),
                    "room is needed for the token that is computed next, too: all of tokens"}},
                  "Reserve counts all tokens, those that have room already too");
    }
    return done;
  }

  bool Admit() {
    const Before before(*this);
    if (queues.waiting.empty()) {
      Expect(!exercise::Admit(queues, memory), "nobody waits, and Admit returned true",
             "look whether waiting is empty");
      Compare("Admit, nobody waits", before, 0);
      return false;
    }
    Sequence& next = *queues.waiting.front();
    const auto n_tokens = static_cast<int64_t>(next.tokens.size());
    const bool was_swapped = memory.IsSwapped(next);
    const int64_t n_needed = memory.PagesFor(was_swapped ? next.n_computed : n_tokens);
    const bool fits = n_needed <= memory.n_free();
    const std::string call =
        Format("Admit, the next is sequence %d%s of %d tokens, %d computed, %d pages free", next.id,
               was_swapped ? " (swapped out)" : "", Int(n_tokens), Int(next.n_computed),
               Int(memory.n_free()));
    const bool done = exercise::Admit(queues, memory);
    Expect(done || !fits, call + ": there are enough, and it returned false",
           "with pages for all its tokens it is admitted: is this still the stub?");
    Expect(!done || fits, call + ": there are too few, and it returned true",
           "what did Reserve, or SwapIn, return? Pages for all of its tokens, in one go");
    if (!fits) {
      Compare(call + ", too few", before, 0);
      return false;
    }
    Before after = before;
    after.queues.waiting.pop_front();
    after.queues.admitted.push_back(&next);
    CompareQueues(call, before, after.queues);
    CompareTokens(call);
    Expect(!next.is_swapped, call + ": is_swapped is still true",
           "its keys and values are in pages again");
    ExpectEqual("n_computed after " + call, before.n_computed.at(next.id), next.n_computed,
                {{0, "what was swapped in need not be computed again: n_computed stays"},
                 {n_tokens, "it has pages, but nothing in them yet: n_computed stays"}},
                "Admit computes nothing");
    ExpectEqual("its pages after " + call, n_needed, memory.n_held(next), {},
                "pages for all tokens that it has, prompt and answer");
    return true;
  }

  // Computes what is known of it, and samples.
  void Step(Sequence& s, int64_t* n_rows) {
    const auto n_tokens = static_cast<int64_t>(s.tokens.size());
    for (; s.n_computed < n_tokens; ++s.n_computed, ++*n_rows) {
      memory.At(s, s.n_computed) = KeyAndValue(s.tokens[s.n_computed], s.n_computed);
    }
    uint64_t hash = s.id;
    for (int64_t p = 0; p < n_tokens; ++p) {
      const uint64_t found = memory.At(s, p);
      Expect(found == KeyAndValue(s.tokens[p], p),
             Format("sequence %d: the keys and values of position %d are not in its pages", s.id,
                    Int(p)),
             "n_computed says that they were computed, but the pages were given back since: what "
             "is forgotten must be computed again");
      hash = Mix(hash, found);
    }
    s.tokens.push_back(static_cast<int32_t>(hash % 1000));
    tokens_[s.id] = s.tokens;
  }

  void Finish(Sequence& s) {
    memory.Release(s);
    queues.admitted.erase(std::find(queues.admitted.begin(), queues.admitted.end(), &s));
  }

  ToyMemory memory;
  Queues queues;

 private:
  struct Before {
    explicit Before(Checked& checked) : queues(checked.queues), n_host(checked.memory.n_host()) {
      for (const Sequence* s : checked.all_) {
        n_computed[s->id] = s->n_computed;
        swapped[s->id] = checked.memory.IsSwapped(*s);
        checked.tokens_[s->id] = s->tokens;
      }
    }
    Queues queues;
    int64_t n_host;
    std::map<int32_t, int64_t> n_computed;
    std::map<int32_t, bool> swapped;
  };

  // The last n_preempted of those admitted had to go, and nothing else has changed.
  void Compare(const std::string& call, const Before& before, size_t n_preempted) const {
    Before after = before;
    for (size_t i = 0; i < n_preempted; ++i) {
      Sequence* last = after.queues.admitted.back();
      after.queues.admitted.pop_back();
      after.queues.waiting.push_front(last);
    }
    CompareTokens(call);
    CompareQueues(call, before, after.queues);
    for (size_t i = 0; i < n_preempted; ++i) {
      // In the order in which they had to go.
      const Sequence& s = *after.queues.waiting[n_preempted - 1 - i];
      const int64_t n_computed = before.n_computed.at(s.id);
      // Of nothing it may be said that it is swapped out, or not.
      const bool can_swap =
          n_computed > 0 ? after.n_host + n_computed <= memory.n_host_tokens : memory.IsSwapped(s);
      if (can_swap) after.n_host += n_computed;
      const std::string who = Format("sequence %d after ", s.id) + call;
      Expect(memory.IsSwapped(s) == can_swap,
             who + (can_swap ? ": there is room in host memory, and it is not there"
                             : ": it is in host memory, where there was no room"),
             "SwapOut first: as long as there is room, nothing need be computed again");
      Expect(s.is_swapped == can_swap,
             "is_swapped of " + who + (can_swap ? " is false" : " is true"),
             can_swap ? "SwapOut returned true: remember it, so that Admit can copy it back"
                      : "SwapOut returned false: nothing was copied");
      ExpectEqual(
          "n_computed of " + who, can_swap ? n_computed : 0, s.n_computed,
          {{n_computed, "its pages are gone, and what was in them: forgotten is not computed"},
           {0, "its keys and values are kept in host memory: n_computed stays"}},
          can_swap ? "swapped out: n_computed stays" : "forgotten: n_computed is 0");
    }
    for (const Sequence* s : all_) {
      const auto& waiting = after.queues.waiting;
      const auto end = waiting.begin() + static_cast<int64_t>(n_preempted);
      if (std::find(waiting.begin(), end, s) != end) continue;
      Expect(s->n_computed == before.n_computed.at(s->id) &&
                 memory.IsSwapped(*s) == before.swapped.at(s->id),
             Format("sequence %d is not as it was, after ", s->id) + call,
             "only those that are preempted change");
    }
  }

  void CompareQueues(const std::string& call, const Before& before, const Queues& right) const {
    const bool waits_with_pages =
        std::any_of(queues.waiting.begin(), queues.waiting.end(),
                    [&](const Sequence* s) { return memory.n_held(*s) > 0; });
    const std::vector<int32_t> admitted = Ids(queues.admitted);
    const std::vector<int32_t> waiting = Ids(queues.waiting);
    const std::vector<int32_t> right_admitted = Ids(right.admitted);
    const std::vector<int32_t> right_waiting = Ids(right.waiting);
    constexpr std::string_view kNoPages =
        "who waits has no pages: SwapOut gives them back if it returns true; else Release";
    if (admitted == right_admitted && waiting == right_waiting) {
      Expect(!waits_with_pages, "somebody who waits has pages, after " + call, kNoPages);
      return;
    }
    std::string_view hint =
        WhatIsWrong(Ids(before.queues.admitted), right_admitted, admitted, waiting);
    if (hint == kWithoutNeed && waits_with_pages) hint = kNoPages;
    Fail(call + "\nshould be admitted " + Text(right_admitted) + ", waiting " +
             Text(right_waiting) + "\nyours is  admitted " + Text(admitted) + ", waiting " +
             Text(waiting),
         hint);
  }

  static constexpr std::string_view kWithoutNeed =
      "nobody is preempted without need: look for pages after each";
  // The queues are not as they should be: a hint.
  static std::string_view WhatIsWrong(const std::vector<int32_t>& before,
                                      const std::vector<int32_t>& right_admitted,
                                      const std::vector<int32_t>& admitted,
                                      const std::vector<int32_t>& waiting) {
    const auto sorted = [](std::vector<int32_t> ids) {
      std::sort(ids.begin(), ids.end());
      return ids;
    };
    std::vector<int32_t> both = admitted;
    both.insert(both.end(), waiting.begin(), waiting.end());
    both = sorted(both);
    if (std::adjacent_find(both.begin(), both.end()) != both.end()) {
      return "one is in both queues: take it out of the one when it gets into the other";
    }
    std::vector<int32_t> preempted;
    for (const int32_t id : waiting) {
      if (std::find(before.begin(), before.end(), id) != before.end()) preempted.push_back(id);
    }
    const auto n = static_cast<int64_t>(preempted.size());
    const std::vector<int32_t> last(before.end() - n, before.end());
    constexpr std::string_view kLastGoes =
        "the one that was admitted last goes, were it the one that asks: so the first always gets "
        "on, and everything ends";
    if (sorted(preempted) != sorted(last)) return kLastGoes;
    if (!std::equal(preempted.begin(), preempted.end(), waiting.begin())) {
      return "who is preempted waits before all others: it was admitted before any of them";
    }
    if (preempted != last) return kLastGoes;
    if (admitted.size() < right_admitted.size()) {
      return kWithoutNeed;
    }
    if (admitted.size() > right_admitted.size()) {
      return "there are still too few pages: one more must go";
    }
    return "admitted is in the order in which they were: the last one to come stands last";
  }

  void CompareTokens(const std::string& call) const {
    for (const Sequence* s : all_) {
      const std::vector<int32_t>& before = tokens_.at(s->id);
      Expect(s->tokens == before,
             Format("sequence %d had %zu tokens, and has %zu, after ", s->id, before.size(),
                    s->tokens.size()) +
                 call,
             "its tokens stay, those of the answer too: somebody has read them");
    }
  }

  std::vector<Sequence*> all_;
  std::map<int32_t, std::vector<int32_t>> tokens_;
};

}  // namespace aios::exercise
