#include "common/text/detokenizer.h"

#include "common/base/utf8.h"
#include "common/text/token_text.h"

namespace aios {

std::string Detokenizer::Feed(TokenId id) {
  if (special_ == DecodeSpecial::kDrop && tokenizer_->IsSpecial(id)) return {};
  std::string text = std::move(held_);
  held_.clear();
  text += TokenText(*tokenizer_, id, at_start_);

  size_t at = 0;
  while (at < text.size()) {
    const Utf8Char c = DecodeUtf8(std::string_view(text).substr(at));
    if (c.truncated) break;
    at += c.length;
  }
  held_ = text.substr(at);
  text.resize(at);
  return ReplaceInvalidUtf8(text);
}

std::string Detokenizer::Flush() {
  std::string text = ReplaceInvalidUtf8(held_);
  held_.clear();
  at_start_ = true;
  return text;
}

}  // namespace aios
