// Grades Admit. What is right is found another way than by letting in one after another: the
// longest beginning of the queue that fits as a whole.
#include <algorithm>

#include "admission.h"
#include "tools/exercises/grader.h"

namespace aios::exercise {
namespace {

using Queue = std::vector<WaitingRequest>;

// Whether the first n fit together. If they do, so do fewer.
bool Fit(const Queue& waiting, size_t n, const Room& room) {
  int64_t n_pages = 0;
  int64_t n_rows_before_the_last = 0;
  for (size_t i = 0; i < n; ++i) {
    n_pages += waiting[i].n_tokens / room.page_size;
    if (waiting[i].n_tokens % room.page_size != 0) ++n_pages;
    if (i + 1 < n) n_rows_before_the_last += waiting[i].n_tokens;
  }
  const auto size = static_cast<int64_t>(n);
  return size <= room.n_places && n_rows_before_the_last < room.n_rows &&
         n_pages + room.n_running + size - 1 <= room.n_free_pages;
}

std::vector<int32_t> Right(const Queue& waiting, const Room& room) {
  std::vector<int32_t> ids;
  for (size_t n = 1; n <= waiting.size() && Fit(waiting, n, room); ++n) {
    ids.push_back(waiting[n - 1].id);
  }
  return ids;
}

enum class Wrong : uint8_t {
  kPasses,
  kWholePrompts,
  kRowsStay,
  kNoRows,
  kPagesStay,
  kPagesOfTheRows,
  kRoundsDown,
  kOnePageMore,
  kKeepsNothing,
  kForgetsThoseOfThisCall,
  kKeepsOneForItself,
  kPlacesStay,
};

// One after another, with one thing wrong.
std::vector<int32_t> Mistaken(Wrong wrong, const Queue& waiting, const Room& room) {
  int64_t places = room.n_places;
  int64_t rows = room.n_rows;
  int64_t free = room.n_free_pages;
  int64_t kept = room.n_running;
  std::vector<int32_t> ids;
  for (const auto& [id, n_tokens] : waiting) {
    int64_t pages = (n_tokens + room.page_size - 1) / room.page_size;
    if (wrong == Wrong::kRoundsDown) pages = n_tokens / room.page_size;
    if (wrong == Wrong::kOnePageMore) pages = n_tokens / room.page_size + 1;
    if (wrong == Wrong::kPagesOfTheRows) {
      pages = (std::min(rows, n_tokens) + room.page_size - 1) / room.page_size;
    }
    int64_t must_stay = wrong == Wrong::kKeepsNothing ? 0 : kept;
    if (wrong == Wrong::kKeepsOneForItself) ++must_stay;
    const bool rows_fit = wrong == Wrong::kNoRows         ? true
                          : wrong == Wrong::kWholePrompts ? n_tokens <= rows
                                                          : rows > 0;
    if (places <= 0 || !rows_fit || free - pages < must_stay) {
      if (wrong == Wrong::kPasses) continue;
      break;
    }
    if (wrong != Wrong::kPlacesStay) --places;
    if (wrong != Wrong::kRowsStay) rows -= std::min(rows, n_tokens);
    if (wrong != Wrong::kPagesStay) free -= pages;
    if (wrong != Wrong::kForgetsThoseOfThisCall) ++kept;
    ids.push_back(id);
  }
  return ids;
}

void Check(const std::string& name, const Queue& waiting, const Room& room) {
  std::string queue;
  for (size_t i = 0; i < waiting.size() && i < 8; ++i) {
    queue += Format("%s%lld", i == 0 ? "" : ", ", static_cast<long long>(waiting[i].n_tokens));
  }
  if (waiting.size() > 8) queue += ", ...";
  BeginCase(Format(
      "%s: %lld places, %lld rows, %lld pages of %lld free, %lld running; waiting, "
      "tokens [%s]",
      name.c_str(), static_cast<long long>(room.n_places), static_cast<long long>(room.n_rows),
      static_cast<long long>(room.n_free_pages), static_cast<long long>(room.page_size),
      static_cast<long long>(room.n_running), queue.c_str()));
  const std::vector<int32_t> right = Right(waiting, room);
  const std::vector<int32_t> yours = Admit(waiting, room);
  if (right != yours && !waiting.empty() && waiting[0].n_tokens > INT32_MAX) {
    Fail("should be " + Text(right) + "\nyours is  " + Text(yours),
         "that does not fit an int: use int64_t");
  }
  const auto wrong = [&](Wrong what) { return Mistaken(what, waiting, room); };
  ExpectEqual(
      right, yours,
      {.hint = "work out what is left of places, rows and pages after each that is admitted",
       .mistakes = {
           {"one was passed by another behind it: at the first that does not fit it is over",
            wrong(Wrong::kPasses)},
           {"it need not get all its rows in this step: one row is enough to begin",
            wrong(Wrong::kWholePrompts)},
           {"no row is left for it: what was admitted before took its rows from the step",
            wrong(Wrong::kRowsStay)},
           {"no row is left for it: who cannot begin in this step is not admitted",
            wrong(Wrong::kNoRows)},
           {"pages for all of its tokens, not only for its rows of this step",
            wrong(Wrong::kPagesOfTheRows)},
           {"a page that is not full is a page too: round up", wrong(Wrong::kRoundsDown)},
           {"no page is kept for the one that is admitted: alone, it would wait forever",
            wrong(Wrong::kKeepsOneForItself)},
           {"tokens that fill their last page need no other: round up, do not add one",
            wrong(Wrong::kOnePageMore)},
           {"those admitted in this call need a page kept for them, too",
            wrong(Wrong::kForgetsThoseOfThisCall)},
           {"a page must stay free for each sequence that was admitted before",
            wrong(Wrong::kKeepsNothing)},
           {"the pages of those admitted before it are gone: free pages become fewer",
            wrong(Wrong::kPagesStay)},
           {"each takes a place", wrong(Wrong::kPlacesStay)},
       }});
}

// Requests 101, 102, ... of so many tokens.
Queue Waiting(const std::vector<int64_t>& n_tokens) {
  Queue waiting;
  waiting.reserve(n_tokens.size());
  for (const int64_t n : n_tokens) {
    waiting.push_back({.id = static_cast<int32_t>(101 + waiting.size()), .n_tokens = n});
  }
  return waiting;
}

void CheckRandom(uint64_t seed) {
  Random random(seed);
  std::vector<int64_t> n_tokens;
  for (int i = random.Int(0, 12); i > 0; --i) n_tokens.push_back(random.Int(1, 60));
  Queue waiting = Waiting(n_tokens);
  // Ids say nothing about the order.
  for (WaitingRequest& request : waiting) request.id = random.Int(0, 999) * 100 + request.id;
  Check(Format("random, seed %d", static_cast<int>(seed)), waiting,
        {.n_places = random.Int(0, 12),
         .n_rows = random.Int(0, 250),
         .n_free_pages = random.Int(0, 40),
         .page_size = std::vector<int64_t>{1, 5, 16, 17}[random.Int(0, 3)],
         .n_running = random.Int(0, 4)});
}

// Steps, in each of which those of the one before are through: nobody waits forever.
void CheckAllAreAdmitted() {
  BeginCase("a queue of 200, each with pages for it alone at worst, until all were admitted");
  Random random(5);
  std::vector<int64_t> n_tokens(200);
  for (int64_t& n : n_tokens) n = random.Int(1, 160);
  Queue waiting = Waiting(n_tokens);
  for (int step = 0; !waiting.empty(); ++step) {
    const std::vector<int32_t> ids =
        Admit(waiting,
              {.n_places = 16, .n_rows = 64, .n_free_pages = 20, .page_size = 8, .n_running = 0});
    Expect(!ids.empty(), Format("nobody is admitted in step %d, though all pages are free", step),
           "who comes alone may have every page: none is kept for the one that is admitted, or it "
           "waits forever");
    Expect(ids.size() <= waiting.size(), "more are admitted than wait", "each only once");
    waiting.erase(waiting.begin(), waiting.begin() + static_cast<int64_t>(ids.size()));
  }
}

}  // namespace
}  // namespace aios::exercise

int main() {
  using namespace aios::exercise;
  const Room wide = {
      .n_places = 100, .n_rows = 1000, .n_free_pages = 100, .page_size = 10, .n_running = 0};
  const auto with = [&](auto change) {
    Room room = wide;
    change(room);
    return room;
  };
  BeginCase("one waits, and there is room for a hundred");
  Expect(!Admit(Waiting({5}), wide).empty(), "nobody is admitted", "is this still the stub?");
  Check("nobody waits", {}, wide);
  Check("room for all", Waiting({5, 17, 30, 1}), wide);

  Check("no place", Waiting({5, 5}), with([](Room& r) { r.n_places = 0; }));
  Check("two places", Waiting({5, 5, 5}), with([](Room& r) { r.n_places = 2; }));

  Check("no row", Waiting({5, 5}), with([](Room& r) { r.n_rows = 0; }));
  Check("more tokens than rows", Waiting({50, 5}), with([](Room& r) { r.n_rows = 20; }));
  Check("rows for two and a bit", Waiting({10, 10, 10, 5}), with([](Room& r) { r.n_rows = 21; }));
  Check("rows for just two", Waiting({10, 10, 10}), with([](Room& r) { r.n_rows = 20; }));

  Check("no page", Waiting({5, 5}), with([](Room& r) { r.n_free_pages = 0; }));
  Check("more tokens than rows, and than pages", Waiting({50, 5}), with([](Room& r) {
          r.n_rows = 20;
          r.n_free_pages = 4;
        }));
  Check("full pages", Waiting({30, 20}), with([](Room& r) { r.n_free_pages = 7; }));
  Check("alone, with every page", Waiting({100}), with([](Room& r) { r.n_free_pages = 10; }));
  Check("alone, a page too few", Waiting({101}), with([](Room& r) { r.n_free_pages = 10; }));
  Check("pages for one of two", Waiting({30, 30}), with([](Room& r) { r.n_free_pages = 5; }));
  Check("many run, few pages", Waiting({10, 10}), with([](Room& r) {
          r.n_free_pages = 5;
          r.n_running = 5;
        }));
  Check("a page kept for each", Waiting({10, 10, 10, 10}), with([](Room& r) {
          r.n_free_pages = 7;
          r.n_running = 2;
        }));
  Check("a long one, then short ones", Waiting({20, 400, 10, 10}),
        with([](Room& r) { r.n_free_pages = 20; }));

  const Room room = {
      .n_places = 3, .n_rows = 100, .n_free_pages = 10, .page_size = 16, .n_running = 2};
  Check("the header's example", Waiting({40, 50, 10}), room);
  Check("the header's example, the second one longer", Waiting({40, 90, 10}), room);
  Check("numbers that fit no int", Waiting({6'000'000'000, 5'000'000'000, 1}),
        {.n_places = 9,
         .n_rows = 20'000'000'000,
         .n_free_pages = 11'000'000'001,
         .page_size = 1,
         .n_running = 0});
  for (uint64_t seed = 1; seed <= 500; ++seed) CheckRandom(seed);
  CheckAllAreAdmitted();
  return Passed();
}
