#include "merge_loop.h"

namespace aios::exercise {

std::vector<int32_t> MergeLoop(std::vector<int32_t> tokens, const Merges& merges) {
  // BEGIN SOLUTION
  while (true) {
    const Merge* best = nullptr;
    size_t at = 0;
    for (size_t i = 0; i + 1 < tokens.size(); ++i) {
      const auto found = merges.find({tokens[i], tokens[i + 1]});
      if (found == merges.end()) continue;
      if (best == nullptr || found->second.rank < best->rank) {
        best = &found->second;
        at = i;
      }
    }
    if (best == nullptr) break;
    tokens[at] = best->merged;
    tokens.erase(tokens.begin() + static_cast<ptrdiff_t>(at) + 1);
  }
  // END SOLUTION
  return tokens;
}

}  // namespace aios::exercise
