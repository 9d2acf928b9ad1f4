// Exercise: who may begin, of those that wait.
//
// At every step of the model the scheduler looks whether another request can join. Three things are
// scarce: rows of the step, pages of the cache, and places (how many sequences may have pages at a
// time). Requests wait in the order of the policy. The first one is admitted if there is
//
//   a place for it;
//   a row: it gets as many of the step's rows as it has tokens, or what is left of them; the rest
//     of its tokens follows in later steps (that is chunked_prefill);
//   pages for all of its tokens, taken now: in the middle of its prompt it is of no use to anybody.
//     After that, a page must still be free for each sequence that was admitted before it, in this
//     call too: any of them may need a new page for its next token. (None is kept for the one that
//     is admitted. Who comes alone may have all pages; else it would wait forever.)
//
// Then the next one, with what is left, and so on. At the first one that does not fit it is over,
// even if one behind it would: else short requests would pass a long one for as long as they come.
//
// By hand: pages of 16 tokens, 10 of them free, 2 sequences running, 100 rows, 3 places; waiting
// are requests of 40, 50 and 10 tokens. The first takes 3 pages: 7 are left, and 2 must be; 60 rows
// are left. The second takes 4: 3 are left, and 3 must be; 10 rows are left. The third would take
// 1: 2 are left, and 4 must be. So two are admitted. Had the second one 90 tokens, it would take 6
// and leave 1: only the first is admitted, though the third, after it, would fit.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace aios::exercise {

struct WaitingRequest {
  int32_t id = 0;
  int64_t n_tokens = 0;  // to be computed: at least 1
};

// What is left, none of it negative.
struct Room {
  int64_t n_places = 0;
  int64_t n_rows = 0;  // of this step: those of the running sequences are taken already
  int64_t n_free_pages = 0;
  int64_t page_size = 0;  // tokens, at least 1; not always a power of two
  int64_t n_running = 0;  // sequences that were admitted before
};

// The ids of those that are admitted, in order. waiting: who is next comes first.
std::vector<int32_t> Admit(std::span<const WaitingRequest> waiting, Room room);

}  // namespace aios::exercise
