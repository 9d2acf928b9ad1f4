#include "common/engine/stop_strings.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"

namespace aios {

StopStrings::StopStrings(std::vector<std::string> strings) : strings_(std::move(strings)) {
  for (const std::string& string : strings_) {
    if (string.empty())
      throw InputError("a stop string is empty: it would stop before the first letter");
  }
}

std::string StopStrings::Feed(std::string_view text) {
  if (hit_) return {};
  held_ += text;

  // Where the first stop string to be complete ends, and begins. Not the first to begin: whether a
  // longer one around it comes too would depend on how much text this piece happens to bring.
  std::pair<size_t, size_t> first(std::string::npos, 0);
  for (const std::string& stop : strings_) {
    const size_t begin = held_.find(stop);
    if (begin != std::string::npos) first = std::min(first, {begin + stop.size(), begin});
  }
  if (first.first != std::string::npos) {
    hit_ = true;
    return std::exchange(held_, {}).substr(0, first.second);
  }

  // The longest end of the text that some stop string begins with stays.
  size_t n_held = 0;
  for (const std::string& stop : strings_) {
    for (size_t n = std::min(stop.size() - 1, held_.size()); n > n_held; --n) {
      if (held_.ends_with(std::string_view(stop).substr(0, n))) n_held = n;
    }
  }
  std::string shown = held_.substr(0, held_.size() - n_held);
  held_.erase(0, shown.size());
  return shown;
}

std::string StopStrings::Finish() { return std::exchange(held_, {}); }

}  // namespace aios
