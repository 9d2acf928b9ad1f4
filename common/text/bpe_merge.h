// Byte-pair encoding proper: a word's bytes become tokens by merging neighbours.
//
// Among all neighbours that the table can merge, the pair of the lowest rank goes first (of equal
// ones the leftmost), until none is left.
#pragma once

#include <cstddef>
#include <vector>

#include "common/text/merge_table.h"

namespace aios {

// Merges tokens[0, n) in place and returns how many are left. A short word is scanned for its best
// pair at each step, which is quickest; a long one goes through a heap, so that the time is
// O(n log n) whatever the merges.
size_t MergeTokens(const MergeTable& merges, TokenId* tokens, size_t n);

// One merge of a word: the pair that stood at place `at`, counted in the tokens left by then.
struct MergeStep {
  size_t at;
  TokenId left;
  TokenId right;
  TokenId result;
  uint32_t rank;
};

// The same merges, in the order in which they happen: the definition, word for word, in O(n^2). For
// showing; nothing that encodes calls it.
std::vector<MergeStep> TraceMerges(const MergeTable& merges, std::vector<TokenId> tokens);

}  // namespace aios
