// Unicode normalization form C: "e" + U+0301 becomes U+00E9, so that texts that look the same have
// the same tokens.
//
// By the tables of Unicode 15. Hugging Face's tokenizers normalize by those of Unicode 9, to which
// 98 marks of today are unknown; a text with one of these beside another mark has other tokens
// there.
#pragma once

#include <string>
#include <string_view>

namespace aios {

// `text` in NFC. Where it already is, which is found without doing the work, `storage` is not
// touched and the result is `text` itself; else it is a view of `storage`.
// REQUIRES: valid UTF-8. O(n log n), whatever the text.
std::string_view NormalizeNfc(std::string_view text, std::string& storage);

}  // namespace aios
