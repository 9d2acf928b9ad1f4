// KvCache under random operations, against a plain model of what it promises: no pages, only the
// tokens of each sequence and the chains that were computed. The model says how many pages must be
// used, idle and free, which prefixes must be found, which are evicted, and when room must be
// refused; what the pages hold is read through the tables.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "common/backend/cpu_backend.h"
#include "common/mm/kv_cache.h"
#include "tests/common/mm/mm_testing.h"

namespace aios {
namespace {

struct Tracked {
  PageTable table;
  Tokens tokens;        // that are computed
  Tokens pending;       // of the prompt, not computed yet
  int64_t n_room = 0;   // pages reserved that hold nothing yet
  int64_t partial = 0;  // which page that is not full: forks have the same; 0: none
};

// What a cache of n_pages must do.
class PlainModel {
 public:
  PlainModel(int32_t n_pages, int32_t page_size, bool share)
      : n_pages_(n_pages), page_size_(page_size), share_(share) {}

  // Tokens of a prompt that must be found.
  size_t Found(const Tokens& prompt) const {
    size_t n = 0;
    while (n + page_size_ < prompt.size() && known_.contains(Prefix(prompt, n + page_size_))) {
      n += page_size_;
    }
    return n;
  }

  int64_t n_used() const {
    std::set<Tokens> full;  // a page each, whoever has them; without sharing, all their own
    std::set<int64_t> partial;
    int64_t n = 0;
    for (const Tracked* s : open) {
      for (size_t end = page_size_; share_ && end <= s->tokens.size(); end += page_size_) {
        full.insert(Prefix(s->tokens, end));
      }
      if (s->partial != 0) partial.insert(s->partial);
      n += s->n_room;
    }
    for (const auto& [id, users] : full_users_) n += users > 0 ? 1 : 0;
    return n + static_cast<int64_t>(full.size() + partial.size());
  }
  int64_t n_idle() const {
    return std::ranges::count_if(known_, [&](const auto& e) { return !InUse(e.first); });
  }
  int64_t n_known() const { return static_cast<int64_t>(known_.size()); }

  bool IsShared(const Tracked& s) const {
    return s.partial != 0 && std::ranges::count_if(open, [&](const Tracked* o) {
                               return o->partial == s.partial;
                             }) > 1;
  }

  // Whether there must be room; if so, takes it.
  bool Reserve(Tracked& s, int64_t n_new) {
    if (n_new == 0) return true;
    const int64_t n_has = s.tokens.size() / page_size_ + (s.partial != 0 ? 1 : 0) + s.n_room;
    const int64_t n_wants = (s.tokens.size() + n_new + page_size_ - 1) / page_size_;
    const int64_t n_missing = std::max<int64_t>(0, n_wants - n_has);
    const int64_t n_needed = n_missing + (IsShared(s) ? 1 : 0);
    const int64_t n_used = this->n_used();
    if (n_needed > n_pages_ - n_used) return false;
    for (int64_t n = n_needed - (n_pages_ - n_used - n_idle()); n > 0; --n) EvictOne();
    if (IsShared(s)) s.partial = ++last_partial_;
    s.n_room += n_missing;
    return true;
  }

  void Commit(Tracked& s, TokenId token) {
    if (s.tokens.size() % page_size_ == 0) {
      s.partial = ++last_partial_;
      --s.n_room;
    }
    s.tokens.push_back(token);
    if (s.tokens.size() % page_size_ != 0) return;
    if (share_) {
      known_.emplace(s.tokens, 0);
    } else {
      full_users_[s.partial] = 1;
      full_ids_[&s].push_back(s.partial);
    }
    s.partial = 0;
  }

  // The fork is in `open`.
  void Fork(const Tracked& from, Tracked& to) {
    to.tokens = from.tokens;
    to.partial = from.partial;
    if (share_) return;
    full_ids_[&to] = full_ids_[&from];
    for (const int64_t id : full_ids_[&to]) ++full_users_[id];
  }

  // The sequence is not in `open` any more.
  void Close(const Tracked& s) {
    for (size_t end = s.tokens.size() / page_size_ * page_size_; share_ && end > 0;
         end -= page_size_) {
      const Tokens prefix = Prefix(s.tokens, end);
      if (!InUse(prefix)) known_.at(prefix) = ++clock_;
    }
    for (const int64_t id : full_ids_[&s]) --full_users_[id];
    full_ids_.erase(&s);
  }

  std::vector<Tracked*> open;

 private:
  static Tokens Prefix(const Tokens& tokens, size_t n) {
    return {tokens.begin(), tokens.begin() + static_cast<int64_t>(n)};
  }
  bool InUse(const Tokens& prefix) const {
    return std::ranges::any_of(open, [&](const Tracked* s) {
      return s->tokens.size() >= prefix.size() &&
             std::equal(prefix.begin(), prefix.end(), s->tokens.begin());
    });
  }
  void EvictOne() {
    auto oldest = known_.end();
    for (auto it = known_.begin(); it != known_.end(); ++it) {
      if (InUse(it->first)) continue;
      if (oldest == known_.end() || it->second < oldest->second) oldest = it;
    }
    known_.erase(oldest);
  }

  int64_t n_pages_;
  size_t page_size_;
  bool share_;
  std::map<Tokens, int64_t> known_;  // full chains that were computed: when they became idle
  int64_t clock_ = 0;
  int64_t last_partial_ = 0;
  // Without sharing: the full pages of each sequence, which forks have together.
  std::map<const Tracked*, std::vector<int64_t>> full_ids_;
  std::map<int64_t, int64_t> full_users_;
};

struct Setup {
  std::string name;
  int32_t page_size;
  int32_t n_pages;
  bool share = true;
  bool collide = false;
  int n_operations = 10'000;
};
void PrintTo(const Setup& setup, std::ostream* out) { *out << setup.name; }

uint64_t AlwaysSeven(uint64_t, std::span<const TokenId>) { return 7; }

class KvCachePropertyTest : public testing::TestWithParam<Setup> {
 protected:
  KvCachePropertyTest()
      : backend_(MakeCpuBackend(1)),
        cache_(*backend_, TinyConfig(),
               {.page_size = GetParam().page_size,
                .n_pages = GetParam().n_pages,
                .share_prefixes = GetParam().share,
                .poison_freed = true,
                .hash = GetParam().collide ? &AlwaysSeven : &PrefixCache::ChainedHash}),
        model_(GetParam().n_pages, GetParam().page_size, GetParam().share) {}

  size_t Random(size_t n) { return random_() % n; }
  Tracked& Any() { return *sequences_[Random(sequences_.size())]; }

  void Open() {
    auto s = std::make_unique<Tracked>();
    // Few tokens, and often a beginning that somebody had before.
    Tokens prompt;
    if (!prompts_.empty() && Random(4) > 0) {
      const Tokens& old = prompts_[Random(prompts_.size())];
      prompt.assign(old.begin(), old.begin() + static_cast<int64_t>(Random(old.size() + 1)));
    }
    for (size_t n = Random(2 * GetParam().page_size + 2); n > 0; --n) {
      prompt.push_back(static_cast<TokenId>(Random(3)));
    }
    if (prompt.empty()) prompt.push_back(0);
    s->table = cache_.Open(prompt);
    const size_t n_found = model_.Found(prompt);
    ASSERT_EQ(s->table.n_tokens(), static_cast<int64_t>(n_found));
    n_found_ += static_cast<int64_t>(n_found);
    n_hits_ += n_found > 0 ? 1 : 0;
    s->tokens.assign(prompt.begin(), prompt.begin() + static_cast<int64_t>(n_found));
    s->pending.assign(prompt.rbegin(), prompt.rend() - static_cast<int64_t>(n_found));
    model_.open.push_back(s.get());
    sequences_.push_back(std::move(s));
  }

  bool Reserve(Tracked& s, int64_t n_new) {
    const int64_t n_free = cache_.n_free();
    const int64_t n_known = cache_.n_known();
    const std::vector<PageId> pages(s.table.pages().begin(), s.table.pages().end());
    const bool want = model_.Reserve(s, n_new);
    const bool got = cache_.Reserve(s.table, n_new);
    EXPECT_EQ(got, want);
    if (!got) {  // nothing has changed
      ++n_refused_;
      EXPECT_TRUE(std::ranges::equal(s.table.pages(), pages));
      EXPECT_EQ(cache_.n_free(), n_free);
      EXPECT_EQ(cache_.n_known(), n_known);
    }
    return got;
  }

  void Append(Tracked& s) {
    const size_t n = Random(2 * GetParam().page_size + 1);
    if (!Reserve(s, static_cast<int64_t>(n))) return;
    Tokens tokens = s.tokens;
    for (size_t i = 0; i < n; ++i) {
      const bool has_pending = i < s.pending.size();
      tokens.push_back(has_pending ? s.pending[s.pending.size() - 1 - i]
                                   : static_cast<TokenId>(Random(3)));
      const auto position = static_cast<int64_t>(tokens.size()) - 1;
      WriteMark(cache_, s.table, position, MarkOf(tokens, position));
    }
    s.pending.resize(s.pending.size() - std::min(n, s.pending.size()));
    cache_.Commit(s.table, std::span(tokens).subspan(s.tokens.size()));
    for (size_t i = s.tokens.size(); i < tokens.size(); ++i) model_.Commit(s, tokens[i]);
  }

  void Fork(Tracked& from) {
    auto s = std::make_unique<Tracked>();
    s->table = cache_.Fork(from.table);
    model_.Fork(from, *s);
    s->pending = from.pending;
    model_.open.push_back(s.get());
    sequences_.push_back(std::move(s));
  }

  void Close(size_t i) {
    Tracked& s = *sequences_[i];
    prompts_.push_back(s.tokens);
    if (prompts_.size() > 8) prompts_.pop_front();
    cache_.Close(s.table);
    std::erase(model_.open, &s);
    model_.Close(s);
    sequences_.erase(sequences_.begin() + static_cast<int64_t>(i));
  }

  void Check() {
    std::vector<const PageTable*> tables;
    for (const auto& s : sequences_) tables.push_back(&s->table);
    cache_.CheckIntegrity(tables);
    ASSERT_EQ(cache_.n_free(), GetParam().n_pages - model_.n_used() - model_.n_idle());
    ASSERT_EQ(cache_.n_evictable(), model_.n_idle());
    ASSERT_EQ(cache_.n_known(), model_.n_known());
    ASSERT_EQ(cache_.stats().n_found, n_found_);
    for (const auto& s : sequences_) {
      ASSERT_EQ(s->table.n_tokens(), static_cast<int64_t>(s->tokens.size()));
      for (int64_t p = 0; p < s->table.n_tokens(); ++p) {
        ASSERT_TRUE(HoldsMark(cache_, s->table, p, MarkOf(s->tokens, p))) << "position " << p;
      }
    }
  }

  std::unique_ptr<Backend> backend_;
  KvCache cache_;
  PlainModel model_;
  std::mt19937 random_{1};
  std::vector<std::unique_ptr<Tracked>> sequences_;
  std::deque<Tokens> prompts_;  // what sequences had that are closed
  int64_t n_found_ = 0;
  int64_t n_hits_ = 0;
  int64_t n_refused_ = 0;
};

TEST_P(KvCachePropertyTest, DoesWhatThePlainModelDoes) {
  for (int i = 0; i < GetParam().n_operations; ++i) {
    const size_t what = Random(10);
    if (sequences_.empty() || (what == 0 && sequences_.size() < 6)) {
      Open();
    } else if (what == 1 && sequences_.size() < 6) {
      Fork(Any());
    } else if (what <= 3) {
      Close(Random(sequences_.size()));
    } else if (what == 4) {
      (void)Reserve(Any(), static_cast<int64_t>(Random(3 * GetParam().page_size)));
    } else {
      Append(Any());
    }
    Check();
    if (HasFailure()) FAIL() << "operation " << i;
  }
  // That each thing has happened, often.
  const KvCacheStats& stats = cache_.stats();
  const int64_t often = GetParam().n_operations / 200;
  EXPECT_GT(n_refused_, often);
  // A page of one token is never half full, and so never copied.
  EXPECT_GE(stats.n_copied, GetParam().page_size > 1 ? often : 0);
  if (GetParam().share) {
    EXPECT_GT(n_hits_, often);
    EXPECT_GT(stats.n_evicted, often);
  }
  // In the end nothing is lost.
  while (!sequences_.empty()) Close(0);
  Check();
  EXPECT_EQ(cache_.n_free() + cache_.n_known(), cache_.n_pages());
}

INSTANTIATE_TEST_SUITE_P(
    Setups, KvCachePropertyTest,
    testing::Values(
        Setup{.name = "pages_of_4", .page_size = 4, .n_pages = 16, .n_operations = 100'000},
        Setup{.name = "pages_of_1", .page_size = 1, .n_pages = 30},
        Setup{.name = "pages_of_5", .page_size = 5, .n_pages = 9},
        Setup{.name = "contiguous", .page_size = 24, .n_pages = 4},
        Setup{.name = "hashes_collide", .page_size = 3, .n_pages = 20, .collide = true},
        Setup{.name = "not_shared", .page_size = 4, .n_pages = 16, .share = false}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace aios
