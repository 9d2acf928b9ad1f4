#include "common/text/bpe_merge.h"

#include <algorithm>
#include <cstring>

namespace aios {
namespace {

// Where the scan of O(n^2) steps is overtaken by the heap.
constexpr size_t kMaxScanned = 96;

size_t MergeByScan(const MergeTable& merges, TokenId* tokens, size_t n) {
  Merge pair[kMaxScanned];  // pair[i]: what tokens[i] and tokens[i + 1] merge into
  for (size_t i = 0; i + 1 < n; ++i) pair[i] = merges.Find(tokens[i], tokens[i + 1]);
  while (n > 1) {
    const size_t best = std::min_element(pair, pair + n - 1) - pair;  // the leftmost if equal
    if (pair[best] == kNoMerge) break;
    tokens[best] = MergeResult(pair[best]);
    std::memmove(tokens + best + 1, tokens + best + 2, (n - best - 2) * sizeof(*tokens));
    if (best + 2 < n)
      std::memmove(pair + best + 1, pair + best + 2, (n - best - 3) * sizeof(*pair));
    --n;
    if (best > 0) pair[best - 1] = merges.Find(tokens[best - 1], tokens[best]);
    if (best + 1 < n) pair[best] = merges.Find(tokens[best], tokens[best + 1]);
  }
  return n;
}

// A doubly linked list of the tokens that are left, and a heap of the pairs to merge. A pair that
// was in the heap when one of its tokens was merged away is recognized when it comes up, by no
// longer being what the table says of that place.
size_t MergeByHeap(const MergeTable& merges, TokenId* tokens, size_t n) {
  AIOS_CHECK(n < UINT32_MAX, "a word of {} bytes", n);
  constexpr uint32_t kNone = UINT32_MAX;
  struct Node {
    uint32_t previous;
    uint32_t next;
    Merge pair;  // with the next
  };
  struct Candidate {
    Merge pair;
    uint32_t at;
    // std::push_heap keeps the largest in front; ours is the lowest rank, then the leftmost.
    bool operator<(const Candidate& other) const {
      return pair != other.pair ? pair > other.pair : at > other.at;
    }
  };
  std::vector<Node> nodes(n);
  std::vector<Candidate> heap;
  for (uint32_t i = 0; i < n; ++i) {
    const bool last = i + 1 == n;
    const Merge pair = last ? kNoMerge : merges.Find(tokens[i], tokens[i + 1]);
    nodes[i] = {.previous = i == 0 ? kNone : i - 1, .next = last ? kNone : i + 1, .pair = pair};
    if (pair != kNoMerge) heap.push_back({.pair = pair, .at = i});
  }
  std::make_heap(heap.begin(), heap.end());

  const auto update = [&](uint32_t at) {
    const uint32_t next = nodes[at].next;
    const Merge pair = next == kNone ? kNoMerge : merges.Find(tokens[at], tokens[next]);
    nodes[at].pair = pair;
    if (pair == kNoMerge) return;
    heap.push_back({.pair = pair, .at = at});
    std::push_heap(heap.begin(), heap.end());
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const Candidate best = heap.back();
    heap.pop_back();
    Node& node = nodes[best.at];
    if (node.pair != best.pair) continue;
    tokens[best.at] = MergeResult(best.pair);
    Node& merged_away = nodes[node.next];
    merged_away.pair = kNoMerge;  // so that its candidates are stale
    node.next = merged_away.next;
    if (node.next != kNone) nodes[node.next].previous = best.at;
    update(best.at);
    if (node.previous != kNone) update(node.previous);
  }

  size_t n_left = 0;  // never past `at`, so that the tokens can move down in place
  for (uint32_t at = 0; at != kNone; at = nodes[at].next) tokens[n_left++] = tokens[at];
  return n_left;
}

}  // namespace

size_t MergeTokens(const MergeTable& merges, TokenId* tokens, size_t n) {
  if (n <= 1) return n;
  return n <= kMaxScanned ? MergeByScan(merges, tokens, n) : MergeByHeap(merges, tokens, n);
}

std::vector<MergeStep> TraceMerges(const MergeTable& merges, std::vector<TokenId> tokens) {
  std::vector<MergeStep> steps;
  while (true) {
    Merge best = kNoMerge;
    size_t at = 0;
    for (size_t i = 0; i + 1 < tokens.size(); ++i) {
      const Merge merge = merges.Find(tokens[i], tokens[i + 1]);
      if (merge >= best) continue;
      best = merge;
      at = i;
    }
    if (best == kNoMerge) return steps;
    steps.push_back({.at = at,
                     .left = tokens[at],
                     .right = tokens[at + 1],
                     .result = MergeResult(best),
                     .rank = MergeRank(best)});
    tokens[at] = MergeResult(best);
    tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

}  // namespace aios
