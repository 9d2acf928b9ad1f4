// The merges of a BPE vocabulary: which two neighbouring tokens become which one, and how urgently.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "common/base/check.h"
#include "common/text/hash.h"
#include "common/text/tokenizer.h"

namespace aios {

// A merge's rank (lower goes first) and its result in one number that compares by rank.
using Merge = uint64_t;
inline constexpr Merge kNoMerge = UINT64_MAX;
inline constexpr Merge MakeMerge(uint32_t rank, TokenId result) {
  return static_cast<uint64_t>(rank) << 32 | static_cast<uint32_t>(result);
}
inline constexpr uint32_t MergeRank(Merge merge) { return static_cast<uint32_t>(merge >> 32); }
inline constexpr TokenId MergeResult(Merge merge) { return static_cast<TokenId>(merge); }

// A flat hash table with linear probing, behind a filter of 16 bits for each merge: most pairs that
// are asked for are none, and the filter, which fits into a core's own cache, says so without
// touching the table. Thread-safe once it is filled.
class MergeTable {
 public:
  // Room for `capacity` merges.
  explicit MergeTable(size_t capacity)
      : mask_(std::bit_ceil(capacity + capacity / 2 + 2) - 1),
        slots_(mask_ + 1),
        filter_(std::bit_ceil(capacity + 1) / 4 + 1),
        filter_mask_(std::bit_ceil(capacity + 1) * 16 - 1),
        seed_(HashSeed()) {}

  // A later merge of the same pair takes the place of an earlier one.
  // REQUIRES: no more different pairs than the capacity.
  void Insert(TokenId left, TokenId right, Merge merge) {
    const uint64_t key = Key(left, right);
    const uint64_t hash = Hash(key);
    filter_[FilterBit(hash) / 64] |= uint64_t{1} << FilterBit(hash) % 64;
    size_t at = hash & mask_;
    while (slots_[at].key != kEmpty && slots_[at].key != key) at = (at + 1) & mask_;
    slots_[at] = {.key = key, .merge = merge};
  }

  // kNoMerge if the two do not merge.
  Merge Find(TokenId left, TokenId right) const {
    const uint64_t key = Key(left, right);
    const uint64_t hash = Hash(key);
    if ((filter_[FilterBit(hash) / 64] >> FilterBit(hash) % 64 & 1) == 0) return kNoMerge;
    size_t at = hash & mask_;
    while (slots_[at].key != key) {
      if (slots_[at].key == kEmpty) return kNoMerge;
      at = (at + 1) & mask_;
    }
    return slots_[at].merge;
  }

 private:
  static constexpr uint64_t kEmpty = UINT64_MAX;  // no pair: ids are not negative
  struct Slot {
    uint64_t key = kEmpty;
    Merge merge = kNoMerge;
  };

  static uint64_t Key(TokenId left, TokenId right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  uint64_t Hash(uint64_t key) const { return MixHash(key ^ seed_, kHashMultiplier); }
  size_t FilterBit(uint64_t hash) const { return hash >> 32 & filter_mask_; }

  size_t mask_;
  std::vector<Slot> slots_;  // at most two thirds full
  std::vector<uint64_t> filter_;
  size_t filter_mask_;
  uint64_t seed_;
};

}  // namespace aios
