// The strings of a vocabulary: all of them in one piece of memory, and a flat hash table from
// string to id.
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/text/hash.h"
#include "common/text/tokenizer.h"

namespace aios {

inline constexpr TokenId kNoToken = -1;

// Strings numbered from 0 in the order in which they are added. Views stay valid until the next
// Add.
class StringPool {
 public:
  void Reserve(size_t n_strings, size_t n_bytes) {
    begin_.reserve(n_strings + 1);
    bytes_.reserve(n_bytes);
  }
  // Append to bytes(), then call EndString.
  std::string& bytes() { return bytes_; }
  void EndString() { begin_.push_back(bytes_.size()); }

  size_t size() const { return begin_.size() - 1; }
  std::string_view operator[](TokenId id) const {
    return std::string_view(bytes_).substr(begin_[id], begin_[id + 1] - begin_[id]);
  }

 private:
  std::string bytes_;
  std::vector<size_t> begin_ = {0};
};

// From string to id, for the strings of a pool. Holds ids and hashes, not strings.
class StringIndex {
 public:
  StringIndex() : StringIndex(0) {}
  explicit StringIndex(size_t capacity)
      : mask_(std::bit_ceil(capacity * 2 + 2) - 1), slots_(mask_ + 1), seed_(HashSeed()) {}

  // kNoToken if there is none.
  TokenId Find(const StringPool& pool, std::string_view text) const {
    return slots_[Locate(pool, text, HashBytes(text, seed_))].id;
  }

  // Adds pool[id] unless its text is there. The id that the text has now.
  // REQUIRES: no more different strings than the capacity.
  TokenId Insert(const StringPool& pool, TokenId id) {
    const uint64_t hash = HashBytes(pool[id], seed_);
    Slot& slot = slots_[Locate(pool, pool[id], hash)];
    if (slot.id == kNoToken) slot = {.hash = static_cast<uint32_t>(hash >> 32), .id = id};
    return slot.id;
  }

 private:
  struct Slot {
    uint32_t hash = 0;
    TokenId id = kNoToken;
  };

  size_t Locate(const StringPool& pool, std::string_view text, uint64_t hash) const {
    size_t at = hash & mask_;
    while (slots_[at].id != kNoToken &&
           (slots_[at].hash != static_cast<uint32_t>(hash >> 32) || pool[slots_[at].id] != text)) {
      at = (at + 1) & mask_;
    }
    return at;
  }

  size_t mask_;
  std::vector<Slot> slots_;
  uint64_t seed_;
};

}  // namespace aios
