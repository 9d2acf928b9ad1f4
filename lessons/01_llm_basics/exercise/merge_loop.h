// Exercise: the merge loop of byte-level BPE, the tokenizer of GPT-2, Llama 3, Qwen and SmolLM2.
//
// A word begins as one token for each byte. A vocabulary has a list of merges: pairs of tokens that
// become one. While any two neighbours are such a pair: of all of them take the pair that was
// learned first (the lowest rank), and if it stands in several places, the leftmost; put the merged
// token in their place; look again. A merge may make a new pair, with its neighbours, that is a
// merge too.
//
// By hand: the merges are e r (rank 0) -> 4, l o (rank 1) -> 5, 5 w "low" (rank 2) -> 6, w 4 "wer"
// (rank 3) -> 7, with the tokens l = 0, o = 1, w = 2, e = 8, r = 9. "lower" is [0, 1, 2, 8, 9]:
//
//   l o w e r      pairs: l o (rank 1), e r (rank 0). The lowest is e r:
//   l o w er       pairs: l o (rank 1), w er (rank 3)
//   lo w er        pairs: lo w (rank 2), w er (rank 3)
//   low er         no pair is left: [6, 4]
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

namespace aios::exercise {

struct Merge {
  int rank;        // no two merges have the same; says nothing about ids
  int32_t merged;  // the id of the token that the two become
};

using Merges = std::map<std::pair<int32_t, int32_t>, Merge>;  // (left, right) -> Merge

// The tokens of a word. `tokens` are those of its bytes; there may be none.
std::vector<int32_t> MergeLoop(std::vector<int32_t> tokens, const Merges& merges);

}  // namespace aios::exercise
