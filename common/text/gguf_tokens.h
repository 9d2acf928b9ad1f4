// What the tokenizers of GGUF files have in common.
#pragma once

#include <cstdint>
#include <vector>

#include "common/loader/gguf.h"

namespace aios {

// tokenizer.ggml.token_type. The numbers are SentencePiece's, in which they began.
enum class GgufTokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,  // not special, but found in any text before it is split
  kUnused = 5,
  kByte = 6,
};

struct GgufTokens {
  std::vector<std::string_view> texts;
  std::vector<GgufTokenType> types;  // as many; all normal if the file does not say
};

// Throws InputError if there are no tokens, or as many types.
GgufTokens ReadGgufTokens(const GgufFile& gguf);

}  // namespace aios
