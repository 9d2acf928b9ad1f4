#include "common/text/tokenizer.h"

#include "common/text/token_text.h"

namespace aios {

std::string Tokenizer::Decode(std::span<const TokenId> ids) const {
  std::string text;
  bool at_start = true;
  for (const TokenId id : ids) text += TokenText(*this, id, at_start);
  return text;
}

}  // namespace aios
