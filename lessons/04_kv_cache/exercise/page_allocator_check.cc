// Grades PageAllocator against a plain count for each page, after every call.
#include <algorithm>

#include "page_allocator.h"
#include "tools/exercises/grader.h"

namespace aios::exercise {
namespace {

// A PageAllocator, and what its counts should be.
class Checked {
 public:
  explicit Checked(int32_t n_pages) : yours_(n_pages), held_(n_pages) {
    Expect(n_pages == 0 || yours_.n_free() != 0, "n_free() is 0 at the start",
           "all pages are free at the start: is this still the stub?");
    Compare("at the start");
  }

  // The page, or -1.
  int32_t Allocate() {
    const std::optional<int32_t> page = yours_.Allocate();
    const int32_t n_free = NFree();
    if (n_free == 0) {
      Expect(!page.has_value(), Format("no page is free, and Allocate gave %d", page.value_or(0)),
             "somebody holds every page: the answer is nullopt");
      Compare("after Allocate without a free page");
      return -1;
    }
    Expect(page.has_value(), Format("%d pages are free, and Allocate gave nullopt", n_free),
           "a page that was released, or never given, can be given");
    Expect(*page >= 0 && *page < NPages(), Format("Allocate gave page %d of %d", *page, NPages()),
           "pages are counted from 0");
    Expect(held_[*page] == 0,
           Format("Allocate gave page %d, which is held %d times", *page, held_[*page]),
           "two sequences would write over one another: is a page in the list twice, or was it "
           "freed while somebody still held it?");
    held_[*page] = 1;
    Compare(Format("after Allocate gave page %d", *page));
    return *page;
  }

  void Share(int32_t page) { Change(page, +1); }
  void Release(int32_t page) { Change(page, -1); }

  int32_t n_held(int32_t page) const { return held_[page]; }

 private:
  int32_t NPages() const { return static_cast<int32_t>(held_.size()); }
  int32_t NFree() const { return static_cast<int32_t>(std::count(held_.begin(), held_.end(), 0)); }

  void Change(int32_t page, int by) {
    const std::string call = Format(by > 0 ? "Share(%d)" : "Release(%d)", page);
    const bool exists = page >= 0 && page < NPages();
    const bool may = exists && held_[page] > 0;
    const bool done = by > 0 ? yours_.Share(page) : yours_.Release(page);
    if (may) {
      held_[page] += by;
      Expect(done, call + " returned false, though the page is held",
             "false is for a page that nobody holds");
    } else {
      Expect(!done,
             call + (exists ? ": nobody holds the page, and it returned true"
                            : ": there is no such page, and it returned true"),
             !exists  ? "look at the range before you look into references_"
             : by > 0 ? "a free page cannot be shared: it may be somebody else's at once"
                      : "a double free: the page would be in the free list twice, and two "
                        "sequences would get it");
    }
    Compare("after " + call);
  }

  void Compare(const std::string& when) const {
    std::vector<int32_t> counts;
    for (int32_t page = 0; page < NPages(); ++page) counts.push_back(yours_.n_references(page));
    if (counts != held_) {
      Fail("references " + when + "\nshould be " + Text(held_) + "\nyours is  " + Text(counts),
           "Allocate makes it 1, Share adds one, Release takes one away");
    }
    Expect(yours_.n_references(-1) == 0 && yours_.n_references(NPages()) == 0,
           "n_references of a page that does not exist is not 0",
           "look at the range before you look into references_");
    const int32_t n_free = NFree();
    ExpectEqual(
        "n_free " + when, n_free, yours_.n_free(),
        {{n_free + 1, "is a page in the free list that somebody still holds?"},
         {n_free - 1, "who lets go last makes the page free: a page that nobody holds is lost"}},
        "n_free is how many pages nobody holds");
  }

  PageAllocator yours_;
  std::vector<int32_t> held_;  // [n_pages]
};

void CheckAllPages(int32_t n_pages) {
  BeginCase(Format("all of %d pages, then one more", n_pages));
  Checked allocator(n_pages);
  for (int32_t i = 0; i < n_pages; ++i) allocator.Allocate();
  allocator.Allocate();
  for (int32_t page = 0; page < n_pages; ++page) allocator.Release(page);
  for (int32_t i = 0; i < n_pages; ++i) allocator.Allocate();
  allocator.Allocate();
}

void CheckRandom(uint64_t seed, int32_t n_pages) {
  BeginCase(Format("2000 random calls on %d pages, seed %d", n_pages, static_cast<int>(seed)));
  Random random(seed);
  Checked allocator(n_pages);
  for (int i = 0; i < 2000; ++i) {
    const int32_t page = random.Int(0, n_pages - 1);
    switch (random.Int(0, 3)) {
      case 0:
        allocator.Allocate();
        break;
      case 1:
        if (allocator.n_held(page) < 5) allocator.Share(page);
        break;
      default:
        allocator.Release(page);
    }
  }
}

void CheckTime() {
  constexpr int32_t kPages = 50'000;
  BeginCase(Format("all of %d pages: a call takes no longer for it", kPages));
  const double yours = BestSeconds(3, [&] {
    PageAllocator allocator(kPages);
    for (int32_t i = 0; i < kPages; ++i) allocator.Allocate();
  });
  // To look for a free page from the first on, each time, is 1.25 billion looks; to take one from
  // the end of a list is a millisecond for all.
  Expect(yours < 0.05, Format("%d calls of Allocate took %.0f ms", kPages, yours * 1e3),
         "do you search, or take from the front of a vector? Take from the end of the list");
}

}  // namespace
}  // namespace aios::exercise

int main() {
  using namespace aios::exercise;
  {
    BeginCase("the header's example: 2 pages");
    Checked allocator(2);
    const int32_t a = allocator.Allocate();
    const int32_t b = allocator.Allocate();
    allocator.Allocate();
    allocator.Share(a);
    allocator.Release(a);
    allocator.Allocate();
    allocator.Release(a);
    allocator.Allocate();
    allocator.Release(b);
    allocator.Release(b);
  }
  {
    BeginCase("a page that three hold");
    Checked allocator(3);
    const int32_t page = allocator.Allocate();
    allocator.Share(page);
    allocator.Share(page);
    for (int i = 0; i < 3; ++i) allocator.Release(page);
    for (int i = 0; i < 4; ++i) allocator.Allocate();
  }
  {
    BeginCase("a page that was held twice, given again");
    Checked allocator(1);
    const int32_t page = allocator.Allocate();
    allocator.Share(page);
    allocator.Release(page);
    allocator.Release(page);
    allocator.Allocate();
    allocator.Release(page);
    allocator.Allocate();
  }
  {
    BeginCase("pages that were never given, and such as do not exist");
    Checked allocator(4);
    for (const int32_t page : {0, 3, -1, 4, -1000000, 1000000}) {
      allocator.Share(page);
      allocator.Release(page);
    }
    for (int i = 0; i < 5; ++i) allocator.Allocate();
  }
  for (const int32_t n_pages : {0, 1, 7, 64}) CheckAllPages(n_pages);
  for (const uint64_t seed : {1, 2, 3}) CheckRandom(seed, 5 * static_cast<int32_t>(seed));
  CheckTime();
  return Passed();
}
