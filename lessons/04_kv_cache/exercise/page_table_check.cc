// Grades PageTable: writes a number for each position through it, as an engine writes keys, and
// reads all of them again. What a sequence should hold is kept as a plain list.
#include <algorithm>
#include <deque>

#include "page_table.h"
#include "tools/exercises/grader.h"

namespace aios::exercise {
namespace {

// Gives pages in an order that is not theirs, and keeps a number in each slot.
class Memory : public Pages {
 public:
  Memory(int32_t n_pages, int64_t page_size, uint64_t seed)
      : page_size_(page_size), held_(n_pages), slots_(n_pages * page_size, kNothing) {
    Random random(seed);
    for (int32_t page = 0; page < n_pages; ++page) {
      free_.insert(free_.begin() + random.Int(0, page), page);
    }
  }

  std::optional<int32_t> Allocate() override {
    if (free_.empty()) return std::nullopt;
    const int32_t page = free_.front();
    free_.pop_front();
    held_[page] = 1;
    std::fill_n(slots_.begin() + page * page_size_, page_size_, kNothing);
    return page;
  }

  void Share(int32_t page) override {
    MustBeHeld("Share", page);
    ++held_[page];
  }

  void Release(int32_t page) override {
    MustBeHeld("Release", page);
    if (--held_[page] == 0) free_.push_back(page);
  }

  int32_t n_references(int32_t page) const override {
    return page < 0 || page >= n_pages() ? 0 : held_[page];
  }

  void Copy(int32_t from, int32_t to, int64_t n_slots) override {
    MustBeHeld("Copy from", from);
    MustBeHeld("Copy to", to);
    ++n_copies;
    n_slots_copied += n_slots;
    Expect(n_slots >= 0 && n_slots <= page_size_,
           Format("Copy of %d slots, a page has %d", static_cast<int>(n_slots),
                  static_cast<int>(page_size_)),
           "n_slots is how many positions the last page has");
    std::copy_n(slots_.begin() + from * page_size_, n_slots, slots_.begin() + to * page_size_);
  }

  int32_t& At(Place place) {
    Expect(n_references(place.page) > 0,
           Format("Find gave page %d, which nobody holds", place.page),
           "the page is the table's number p / page_size: pages() are in no order");
    Expect(place.slot >= 0 && place.slot < page_size_,
           Format("Find gave slot %d of a page of %d", static_cast<int>(place.slot),
                  static_cast<int>(page_size_)),
           "the slot is the position within its page: what is left over of p / page_size");
    return slots_[place.page * page_size_ + place.slot];
  }

  int32_t n_pages() const { return static_cast<int32_t>(held_.size()); }
  int32_t n_free() const { return static_cast<int32_t>(free_.size()); }

  static constexpr int32_t kNothing = -1;
  int n_copies = 0;
  int64_t n_slots_copied = 0;

 private:
  void MustBeHeld(const char* what, int32_t page) const {
    Expect(n_references(page) > 0, Format("%s page %d, which nobody holds", what, page),
           "Fork shares every page; a table lets go of a page once, when it is no longer in it");
  }

  int64_t page_size_;
  std::vector<int32_t> held_;   // [n_pages]
  std::vector<int32_t> slots_;  // [n_pages, page_size]
  std::deque<int32_t> free_;    // the oldest first: a page that was let go too early stays as it is
};

// A table, and what it should hold.
struct Sequence {
  PageTable table;
  std::vector<int32_t> tokens;
};

class Checked {
 public:
  Checked(int32_t n_pages, int64_t page_size, uint64_t seed)
      : memory_(n_pages, page_size, seed), page_size_(page_size) {
    sequences_.push_back({PageTable(memory_, page_size), {}});
  }

  // Appends n tokens to sequence s. Whether there was room.
  bool Append(size_t s, int64_t n) {
    Sequence& sequence = sequences_[s];
    const auto length = static_cast<int64_t>(sequence.tokens.size());
    const std::vector<int32_t> pages = sequence.table.pages();
    const int64_t n_used = length % page_size_;
    const bool must_copy = n > 0 && n_used > 0 && memory_.n_references(pages.back()) > 1;
    const int64_t n_new = PagesFor(length + n) - PagesFor(length) + (must_copy ? 1 : 0);
    const int32_t n_free = memory_.n_free();
    const int n_copies = memory_.n_copies;
    memory_.n_slots_copied = 0;

    const bool done = sequence.table.Append(n);
    const std::string call = Format("Append(%d) to sequence %zu of %d positions",
                                    static_cast<int>(n), s, static_cast<int>(length));
    if (n_new > n_free) {
      Expect(!done,
             Format("%s: %d pages are needed, %d were free, and it returned true", call.c_str(),
                    static_cast<int>(n_new), n_free),
             "when Allocate gives nullopt, the answer is false");
      Expect(sequence.table.n_positions() == length && sequence.table.pages() == pages,
             call + " returned false, and the table has changed",
             "take all pages first, and change the table only when you have them");
      Expect(memory_.n_free() == n_free,
             Format("%s returned false: %d pages were free before, %d are now", call.c_str(),
                    n_free, memory_.n_free()),
             "what was taken on the way must be given back");
      CheckAll();
      return false;
    }
    Expect(done,
           Format("%s: %d pages are needed, %d are free, and it returned false", call.c_str(),
                  static_cast<int>(n_new), n_free),
           "a page is needed for each page_size positions, begun or full: is this still the stub?");
    ExpectEqual("n_positions after " + call, length + n, sequence.table.n_positions(), {},
                "it grows by n");
    ExpectEqual(
        "copies by " + call, must_copy ? 1 : 0, memory_.n_copies - n_copies,
        {{must_copy ? 0 : 1,
          must_copy     ? "the last page has another holder and is not full: copy on write"
          : n_used == 0 ? "the last page is full: nothing will be written there, nothing to copy"
                        : "nobody else holds the last page, or nothing is written: no copy"}},
        "one page at most is copied: the last");
    ExpectEqual("slots copied by " + call, must_copy ? n_used : 0, memory_.n_slots_copied,
                {{page_size_, "copy the slots that have something, not the whole page"}},
                "the last page has n_positions % page_size of them");
    const std::vector<int32_t>& now = sequence.table.pages();
    if (must_copy) {
      Expect(
          std::count(now.begin(), now.end(), pages.back()) == 0,
          Format("%s: page %d was copied, and is still in the table", call.c_str(), pages.back()),
          "the copy takes its place");
    }
    ExpectEqual("pages in the table after " + call, PagesFor(length + n),
                static_cast<int64_t>(now.size()),
                {{PagesFor(length) + PagesFor(n), "use up the last page before you take another"}},
                "a page for each page_size positions, the last one perhaps not full");

    for (int64_t p = length; p < length + n; ++p) {
      const int32_t token = next_token_++;
      sequence.tokens.push_back(token);
      memory_.At(sequence.table.Find(p)) = token;
    }
    CheckAll();
    ExpectEqual("free pages after " + call, n_free - n_new, memory_.n_free(), {},
                "let go of the page that was copied, and of no other");
    return true;
  }

  size_t Fork(size_t s) {
    const int32_t n_free = memory_.n_free();
    sequences_.push_back({sequences_[s].table.Fork(), sequences_[s].tokens});
    const PageTable& fork = sequences_.back().table;
    ExpectEqual("n_positions of the fork", sequences_[s].table.n_positions(), fork.n_positions(),
                {}, "the second table has the same positions");
    ExpectEqual(sequences_[s].table.pages(), fork.pages(),
                {.hint = "the second table has the same pages: nothing is copied yet"});
    ExpectEqual("free pages after Fork", n_free, memory_.n_free(), {}, "Fork takes no page");
    CheckAll();
    return sequences_.size() - 1;
  }

  void Clear(size_t s) {
    sequences_[s].table.Clear();
    sequences_[s].tokens.clear();
    Expect(sequences_[s].table.n_positions() == 0 && sequences_[s].table.pages().empty(),
           "after Clear there are still positions or pages", "Clear leaves an empty table");
    CheckAll();
  }

  void ClearAll() {
    for (size_t s = 0; s < sequences_.size(); ++s) Clear(s);
    ExpectEqual("free pages at the end", memory_.n_pages(), memory_.n_free(), {},
                "a page is lost: each table lets go of each of its pages");
  }

  size_t n_sequences() const { return sequences_.size(); }

 private:
  int64_t PagesFor(int64_t n) const { return (n + page_size_ - 1) / page_size_; }

  // Every position of every sequence holds what was put there, and each page its holders.
  void CheckAll() {
    std::vector<int32_t> holders(memory_.n_pages());
    for (size_t s = 0; s < sequences_.size(); ++s) {
      const auto& [table, tokens] = sequences_[s];
      for (const int32_t page : table.pages()) {
        Expect(page >= 0 && page < memory_.n_pages(), Format("page %d is in a table", page),
               "a table has pages that Allocate gave");
        ++holders[page];
      }
      std::vector<int32_t> found;
      for (size_t p = 0; p < tokens.size(); ++p) {
        found.push_back(memory_.At(table.Find(static_cast<int64_t>(p))));
      }
      if (found == tokens) continue;
      const size_t at =
          std::mismatch(found.begin(), found.end(), tokens.begin()).first - found.begin();
      const Place place = table.Find(static_cast<int64_t>(at));
      const bool not_copied = found[at] == Memory::kNothing;
      Fail(Format("sequence %zu, pages of %d, table %s: position %zu is page %d, slot %d\n"
                  "there should be token %d, there is %d",
                  s, static_cast<int>(page_size_), Text(table.pages()).c_str(), at, place.page,
                  static_cast<int>(place.slot), tokens[at], found[at]),
           not_copied ? "nothing was ever written there: Find leads elsewhere than before, or the "
                        "copy had too few slots"
                      : "somebody has written over it: two positions in one place, or a page that "
                        "another sequence holds");
    }
    for (int32_t page = 0; page < memory_.n_pages(); ++page) {
      ExpectEqual(Format("holders of page %d", page), holders[page], memory_.n_references(page),
                  {{holders[page] - 1, "Fork: the second table holds each page too: Share"},
                   {holders[page] + 1,
                    "a page is held that is in no table: let go of it when it leaves one"}},
                  "as many as there are tables that have it");
    }
  }

  Memory memory_;
  int64_t page_size_;
  std::deque<Sequence> sequences_;
  int32_t next_token_ = 100;
};

void CheckGrowing(int64_t page_size) {
  BeginCase(Format("one sequence, pages of %d, appended to in pieces of 1, 2, 3, ...",
                   static_cast<int>(page_size)));
  Checked checked(64, page_size, page_size);
  for (int64_t n = 0; n < 10; ++n) checked.Append(0, n);
  checked.ClearAll();
}

void CheckForks(int64_t page_size, int64_t length) {
  BeginCase(Format("pages of %d: %d positions, forked twice, all three go on",
                   static_cast<int>(page_size), static_cast<int>(length)));
  Checked checked(64, page_size, 7 + page_size);
  checked.Append(0, length);
  checked.Fork(0);
  checked.Fork(1);
  for (const int64_t n : {0, 1, 1, 5}) {
    for (const size_t s : {1, 0, 2}) checked.Append(s, n);
  }
  checked.Clear(1);
  checked.Append(0, 3);
  checked.ClearAll();
}

void CheckRandom(uint64_t seed, int64_t page_size) {
  BeginCase(Format("500 random calls, pages of %d, seed %d", static_cast<int>(page_size),
                   static_cast<int>(seed)));
  Random random(seed);
  Checked checked(24, page_size, seed);
  for (int i = 0; i < 500; ++i) {
    const auto s = static_cast<size_t>(random.Int(0, static_cast<int>(checked.n_sequences()) - 1));
    const int what = random.Int(0, 9);
    if (what < 7) {
      checked.Append(s, random.Int(0, static_cast<int>(2 * page_size)));
    } else if (what < 9 || checked.n_sequences() > 12) {
      checked.Clear(s);
    } else {
      checked.Fork(s);
    }
  }
  checked.ClearAll();
}

}  // namespace
}  // namespace aios::exercise

int main() {
  using namespace aios::exercise;
  {
    BeginCase("the header's example: pages of 4");
    Checked checked(8, 4, 1);
    checked.Append(0, 6);
    const size_t second = checked.Fork(0);
    checked.Append(second, 1);
    checked.Append(0, 1);
    checked.ClearAll();
  }
  for (const int64_t page_size : {1, 2, 16, 17}) CheckGrowing(page_size);
  {
    BeginCase("positions one at a time: a page is taken when the last one is full");
    Checked checked(8, 3, 4);
    for (int i = 0; i < 20; ++i) checked.Append(0, 1);
    checked.ClearAll();
  }
  {
    BeginCase("more than there are pages for");
    Checked checked(4, 4, 2);
    checked.Append(0, 10);
    checked.Append(0, 7);
    checked.Append(0, 6);
    checked.Append(0, 1);
    checked.ClearAll();
  }
  {
    BeginCase("a page for the copy, but none for what follows");
    Checked checked(3, 4, 3);
    checked.Append(0, 6);
    const size_t second = checked.Fork(0);
    checked.Append(second, 3);
    checked.Append(second, 2);
    checked.Append(0, 1);
    checked.ClearAll();
  }
  for (const int64_t page_size : {1, 4, 17}) {
    for (const int64_t length : {1, 4, 17, 20, 34}) CheckForks(page_size, length);
  }
  for (const int seed : {1, 2, 3, 4})
    CheckRandom(seed, std::vector<int64_t>{1, 3, 16, 17}[seed - 1]);
  return Passed();
}
