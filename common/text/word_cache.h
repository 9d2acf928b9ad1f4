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
// allocates after construction, and holds what is frequent. Belongs to one thread; the words of
// several tokenizers stand side by side.
class WordCache {
 public:
  static constexpr size_t kMaxWordBytes = 24;
  static constexpr size_t kMaxTokens = 8;

  // A word of at most kMaxWordBytes in three numbers, padded with zeros.
  struct Key {
    std::array<uint64_t, 3> words;
    uint32_t n_bytes;
    uint32_t tokenizer;  // its number in this process
  };

  struct alignas(64) Entry {  // one cache line
    std::array<uint64_t, 3> words;
    uint32_t tokenizer;  // 0: empty
    uint16_t n_bytes;
    uint16_t n_tokens;
    std::array<TokenId, kMaxTokens> tokens;
  };
  static_assert(sizeof(Entry) == 64);

  // The calling thread's.
  static WordCache& OfThisThread() {
    thread_local WordCache cache;
    return cache;
  }

  // `readable`: how many bytes from the word's first on may be read. With kMaxWordBytes of them, it
  // takes three loads and no loop. REQUIRES: word.size() <= kMaxWordBytes, and <= readable.
  static Key MakeKey(std::string_view word, size_t readable, uint32_t tokenizer) {
    Key key{.words = {}, .n_bytes = static_cast<uint32_t>(word.size()), .tokenizer = tokenizer};
    if (readable < kMaxWordBytes) {
      std::memcpy(key.words.data(), word.data(), word.size());
      return key;
    }
    std::memcpy(key.words.data(), word.data(), kMaxWordBytes);
    for (size_t i = 0; i < 3; ++i) {
      const size_t n = word.size() > i * 8 ? word.size() - i * 8 : 0;  // bytes of it in this number
      if (n < 8) key.words[i] &= (uint64_t{1} << (n * 8)) - 1;
    }
    return key;
  }

  // The key's slot, whatever it holds.
  Entry& SlotOf(const Key& key) {
    uint64_t hash = seed_ ^ key.n_bytes ^ (static_cast<uint64_t>(key.tokenizer) << 32);
    hash = MixHash(hash ^ key.words[0], kHashMultiplier);
    hash = MixHash(hash ^ key.words[1], key.words[2] ^ kHashMultiplier);
    return entries_[hash % kSlots];
  }

  static bool Holds(const Entry& entry, const Key& key) {
    return entry.words == key.words && entry.n_bytes == key.n_bytes &&
           entry.tokenizer == key.tokenizer;
  }

  // REQUIRES: at most kMaxTokens tokens.
  static void Fill(Entry& entry, const Key& key, std::span<const TokenId> tokens) {
    entry.words = key.words;
    entry.tokenizer = key.tokenizer;
    entry.n_bytes = static_cast<uint16_t>(key.n_bytes);
    entry.n_tokens = static_cast<uint16_t>(tokens.size());
    std::copy(tokens.begin(), tokens.end(), entry.tokens.begin());
  }

 private:
  static constexpr size_t kSlots = 8192;  // 512 KiB: about what a core's own cache holds

  WordCache() : entries_(std::make_unique<Entry[]>(kSlots)), seed_(HashSeed()) {}

  std::unique_ptr<Entry[]> entries_;
  uint64_t seed_;
};

}  // namespace aios
