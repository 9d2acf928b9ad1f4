// Grades MergeLoop with merges learned from random words, as a tokenizer's are, and then given ids
// in another order.
#include <algorithm>

#include "merge_loop.h"
#include "tools/exercises/grader.h"

namespace aios::exercise {
namespace {

enum class Way { kRight, kFirstPair, kRightmost, kLowestId, kHighestRank, kOneMerge, kOnePass };

std::vector<int32_t> Encode(std::vector<int32_t> tokens, const Merges& merges, Way way) {
  const auto find = [&](size_t i) { return merges.find({tokens[i], tokens[i + 1]}); };
  const auto merge_at = [&](size_t i) {
    tokens[i] = find(i)->second.merged;
    tokens.erase(tokens.begin() + static_cast<ptrdiff_t>(i) + 1);
  };
  if (way == Way::kOnePass) {
    for (size_t i = 0; i + 1 < tokens.size(); ++i) {
      if (find(i) != merges.end()) merge_at(i);
    }
    return tokens;
  }
  for (;;) {
    size_t best = tokens.size();
    for (size_t i = 0; i + 1 < tokens.size(); ++i) {
      const auto found = find(i);
      if (found == merges.end()) continue;
      bool better = best == tokens.size();
      if (!better) {
        const Merge& a = found->second;
        const Merge& b = find(best)->second;
        better = way == Way::kRight || way == Way::kOneMerge ? a.rank < b.rank
                 : way == Way::kRightmost                    ? a.rank <= b.rank
                 : way == Way::kLowestId                     ? a.merged < b.merged
                 : way == Way::kHighestRank                  ? a.rank > b.rank
                                                             : false;
      }
      if (better) best = i;
    }
    if (best == tokens.size()) return tokens;
    merge_at(best);
    if (way == Way::kOneMerge) return tokens;
  }
}

void Check(const std::string& name, const std::vector<int32_t>& word, const Merges& merges) {
  BeginCase(name + " " + Text(word));
  const std::vector<int32_t> yours = MergeLoop(word, merges);
  const auto encode = [&](Way way) { return Encode(word, merges, way); };
  const std::vector<int32_t> right = encode(Way::kRight);
  if (yours == word && right != word && word.size() > 2) {
    Fail("should be " + Text(right) + "\nyours is  " + Text(yours),
         "nothing was merged: is this still the stub?");
  }
  ExpectEqual(
      right, yours,
      {.hint = "go through the header's example step by step, and print the tokens after each",
       .mistakes = {{"merge again until no pair is left, not once", encode(Way::kOneMerge)},
                    {"take the pair with the lowest rank, not the first from the left",
                     encode(Way::kFirstPair)},
                    {"one pass is not enough: a merge makes new pairs, with both neighbours",
                     encode(Way::kOnePass)},
                    {"if a pair stands in several places, the leftmost comes first",
                     encode(Way::kRightmost)},
                    {"the rank decides, not the id of the merged token", encode(Way::kLowestId)},
                    {"the lowest rank comes first, not the highest", encode(Way::kHighestRank)}}});
}

}  // namespace
}  // namespace aios::exercise

int main() {
  using namespace aios::exercise;
  const Merges by_hand = {{{8, 9}, {0, 4}}, {{0, 1}, {1, 5}}, {{5, 2}, {2, 6}}, {{2, 4}, {3, 7}}};
  Check("the header's example, lower:", {0, 1, 2, 8, 9}, by_hand);
  Check("the header's merges, no token:", {}, by_hand);
  Check("the header's merges, one token:", {8}, by_hand);
  Check("the header's merges, two tokens:", {8, 9}, by_hand);
  Check("the header's merges, nothing to merge:", {9, 8, 1, 0}, by_hand);
  Check("a a -> 1:", {0, 0, 0}, {{{0, 0}, {0, 1}}});
  Check("a a -> 1, 1 1 -> 2:", {0, 0, 0, 0, 0, 0, 0}, {{{0, 0}, {0, 1}}, {{1, 1}, {1, 2}}});
  Check("b c (rank 0) -> 3, a b (rank 1) -> 4:", {0, 1, 2}, {{{1, 2}, {0, 3}}, {{0, 1}, {1, 4}}});
  Check("a b (rank 0) -> 9, b c (rank 1) -> 8:", {0, 1, 2}, {{{0, 1}, {0, 9}}, {{1, 2}, {1, 8}}});

  // Six letters, 40 merges: each of two tokens that exist by then.
  Random random(6);
  for (int round = 0; round < 20; ++round) {
    std::vector<int32_t> known = {0, 1, 2, 3, 4, 5};
    std::vector<int32_t> ids(40);
    for (int i = 0; i < 40; ++i) ids[i] = 100 + i;
    for (int i = 39; i > 0; --i) std::swap(ids[i], ids[random.Int(0, i)]);
    Merges merges;
    for (int rank = 0; rank < 40; ++rank) {
      const int n_known = static_cast<int>(known.size());
      const std::pair pair = {known[random.Int(0, n_known - 1)], known[random.Int(0, n_known - 1)]};
      if (!merges.emplace(pair, Merge{rank, ids[rank]}).second) continue;
      known.push_back(ids[rank]);
    }
    std::vector<int32_t> word(random.Int(1, 60));
    for (int32_t& letter : word) letter = random.Int(0, 5);
    Check("random merges:", word, merges);
  }
  return Passed();
}
