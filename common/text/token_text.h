// The leading-space rule of decoding, in one place for whole texts and for streams.
#pragma once

#include <string_view>

#include "common/text/tokenizer.h"

namespace aios {

// What the token adds to a text. `at_start`: whether the token is the first of the text or follows
// a special token; updated for the token after it.
inline std::string_view TokenText(const Tokenizer& tokenizer, TokenId id, bool& at_start) {
  std::string_view bytes = tokenizer.TokenBytes(id);
  if (tokenizer.IsSpecial(id)) {
    at_start = true;
    return bytes;
  }
  if (at_start && tokenizer.drops_leading_space() && bytes.starts_with(' ')) bytes.remove_prefix(1);
  at_start = false;
  return bytes;
}

}  // namespace aios
