// Added tokens: those that the text is searched for before BPE sees it, such as "<|im_end|>".
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/text/tokenizer.h"

namespace aios {

struct AddedToken {
  TokenId id = 0;
  std::string text;
  bool special = true;       // a control token: found only if the caller says so
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space after it
  bool single_word = false;  // not inside a word
  bool normalized = false;   // looked for in the normalized text
};

// A stretch of text, and the token that stands for it, if any.
struct TextPart {
  std::string_view text;
  const AddedToken* token = nullptr;
};

// Immutable, so thread-safe.
class AddedTokenMatcher {
 public:
  AddedTokenMatcher() = default;
  // Of several with the same text, the first counts. REQUIRES: none is empty or longer than
  // kMaxBytes.
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  static constexpr size_t kMaxBytes = 256;

  // Whether there is a token that a text could be cut at.
  bool Finds(SpecialTokens special) const {
    return special == SpecialTokens::kRecognize ? !tokens_.empty() : has_plain_;
  }

  // Cuts the text at the tokens in it, from left to right; of those that begin at the same place,
  // at the longest. With kAsText, a special token is found too, but left as text.
  // Time: the text's length times, at worst, the longest token's.
  std::vector<TextPart> Split(std::string_view text, SpecialTokens special) const;

 private:
  // The longest token at the front of the text, or nullptr.
  const AddedToken* LongestAt(std::string_view text) const;

  bool has_plain_ = false;                        // one that is not special
  std::vector<AddedToken> tokens_;                // by text
  std::array<uint32_t, 257> begin_of_byte_ = {};  // those that begin with b: [b], [b + 1]
};

}  // namespace aios
