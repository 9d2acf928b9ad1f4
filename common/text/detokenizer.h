// Detokenizer: the text of a stream of tokens, as it comes.
//
// A token may end inside a character: a rocket emoji is four bytes and often three tokens. What is
// printed must not, so the detokenizer holds back the beginning of a character until the rest is
// there.
#pragma once

#include <string>
#include <string_view>

#include "common/text/tokenizer.h"

namespace aios {

enum class DecodeSpecial : uint8_t { kKeep, kDrop };

// For one stream, from its first token on. The texts that Feed and Flush return, one after another,
// are ReplaceInvalidUtf8(tokenizer.Decode(all the ids)), or that of the ids without the special
// ones. Not thread-safe; the tokenizer must outlive it.
//
//   Detokenizer detokenizer(tokenizer);
//   for (TokenId id : ids) std::cout << detokenizer.Feed(id);
//   std::cout << detokenizer.Flush();
class Detokenizer {
 public:
  explicit Detokenizer(const Tokenizer& tokenizer, DecodeSpecial special = DecodeSpecial::kKeep)
      : tokenizer_(&tokenizer), special_(special) {}

  // The characters that are complete now: valid UTF-8, perhaps empty. Bytes that can no longer
  // become a character are U+FFFD. REQUIRES: 0 <= id < vocab_size().
  std::string Feed(TokenId id);

  // The end of the stream: what is held back will not be completed, and becomes U+FFFD. The next
  // Feed begins a new stream.
  std::string Flush();

 private:
  const Tokenizer* tokenizer_;
  DecodeSpecial special_;
  bool at_start_ = true;  // of the text, or after a special token
  std::string held_;      // the beginning of a character, at most 3 bytes
};

}  // namespace aios
