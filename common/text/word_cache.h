// WordCache: the tokens of words seen lately. A text repeats its words, so that most of them cost
// one lookup here in place of a merge.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

#include "common/text/hash.h"
#include "common/text/tokenizer.h"

namespace aios {

// Direct-mapped: each word has one slot, and the last to come takes it. So it is bounded, never
// allocates after construction, and holds what is frequent. Belongs to one thread, whose tokenizers
// share it: an entry says whose it is.
class WordCache {
 public:
  static constexpr size_t kMaxWordBytes = 15;
  static constexpr size_t kMaxTokens = 3;

  // A word of at most kMaxWordBytes: its bytes, zeros, and its length in the last byte.
  struct Key {
    uint64_t low = 0;
    uint64_t high = 0;
    bool operator==(const Key& other) const {
      return ((low ^ other.low) | (high ^ other.high)) == 0;  // one branch
    }
  };

  struct alignas(32) Entry {  // two to a cache line
    Key key;
    uint32_t tokenizer : 30;  // its number in this process; 0: the entry is empty
    uint32_t n_tokens : 2;
    std::array<TokenId, kMaxTokens> tokens;
  };
  static_assert(sizeof(Entry) == 32);

  // The calling thread's.
  static WordCache& OfThisThread() {
    thread_local WordCache cache;
    return cache;
  }

  // `readable`: how many bytes from the word's first on may be read. With 16 of them, it takes two
  // loads and no loop. REQUIRES: word.size() <= kMaxWordBytes, and <= readable.
  static Key MakeKey(std::string_view word, size_t readable) {
    const size_t n = word.size();
    Key key;
    if (readable >= sizeof(key)) {
      std::memcpy(&key, word.data(), sizeof(key));
      // Zero what is behind the word, by shifts of less than 64 bits.
      if (n < 8) {
        key.low &= (uint64_t{1} << (n * 8)) - 1;
        key.high = 0;
      } else {
        key.high &= (uint64_t{1} << (n * 8 - 64)) - 1;
      }
    } else {
      std::memcpy(&key, word.data(), n);
    }
    key.high |= static_cast<uint64_t>(n) << 56;
    return key;
  }

  // The key's slot, whatever it holds.
  Entry& SlotOf(const Key& key) {
    const uint64_t hash = MixHash(key.low ^ seed_, key.high ^ kHashMultiplier);
    return entries_[hash % kSlots];
  }

  static bool Holds(const Entry& entry, const Key& key, uint32_t tokenizer) {
    return entry.key == key && entry.tokenizer == tokenizer;
  }

  // REQUIRES: at most kMaxTokens tokens.
  static void Fill(Entry& entry, const Key& key, uint32_t tokenizer,
                   std::span<const TokenId> tokens) {
    entry.key = key;
    entry.tokenizer = tokenizer;
    entry.n_tokens = static_cast<uint32_t>(tokens.size()) & kMaxTokens;
    std::copy(tokens.begin(), tokens.end(), entry.tokens.begin());
  }

 private:
  static constexpr size_t kSlots = 16384;  // 512 KiB: about what a core's own cache holds

  WordCache() : entries_(std::make_unique<Entry[]>(kSlots)), seed_(HashSeed()) {}

  std::unique_ptr<Entry[]> entries_;
  uint64_t seed_;
};

}  // namespace aios
