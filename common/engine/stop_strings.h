// StopStrings: ends a streamed text before the first of some strings to be complete.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace aios {

// A stop string may arrive in pieces, so text that could be its beginning is held back until it is
// known. Not thread-safe.
//
//   StopStrings stop({"\n\n"});
//   stop.Feed("One.\n")   -> "One."     the newline may be the first of two
//   stop.Feed("\nTwo")    -> ""         it was: stop.hit()
class StopStrings {
 public:
  // Throws InputError if one is empty.
  explicit StopStrings(std::vector<std::string> strings);

  // Takes more text; returns what can be shown now. After a hit, nothing more.
  std::string Feed(std::string_view text);
  // The text ends here: returns what was held back.
  std::string Finish();
  // Whether a stop string has come.
  bool hit() const { return hit_; }

 private:
  std::vector<std::string> strings_;
  std::string held_;
  bool hit_ = false;
};

}  // namespace aios
