// How a text becomes tokens, with every step kept: the slow twin of bpe.cc's encoding.
#include "common/base/utf8.h"
#include "common/text/bpe.h"
#include "common/text/nfc.h"

namespace aios {

std::vector<WordTrace> BpeTokenizer::Trace(std::string_view text) const {
  CheckUtf8(text, "the text");
  std::vector<WordTrace> words;
  const auto add_token = [&](const TextPart& part) {
    words.push_back({.word = std::string(part.text),
                     .bytes = {},
                     .merges = {},
                     .ids = {part.token->id},
                     .looked_up = true});
  };
  for (const TextPart& part : added_tokens_.Split(text, SpecialTokens::kAsText)) {
    if (part.token != nullptr) {
      add_token(part);
      continue;
    }
    std::string storage;
    const std::string_view normalized = nfc_ ? NormalizeNfc(part.text, storage) : part.text;
    for (const TextPart& inner :
         normalized_added_tokens_.Split(normalized, SpecialTokens::kAsText)) {
      if (inner.token != nullptr) {
        add_token(inner);
      } else {
        TraceWords(inner.text, words);
      }
    }
  }
  return words;
}

void BpeTokenizer::TraceWords(std::string_view text, std::vector<WordTrace>& words) const {
  const char* const end = text.data() + text.size();
  for (const char* at = text.data(); at != end;) {
    WordTrace& word = words.emplace_back();
    word.word = std::string(at, word_end_(at, end));
    at += word.word.size();
    for (const char c : word.word) {
      const TokenId token = token_of_byte_[static_cast<uint8_t>(c)];
      if (token != kNoToken) word.bytes.push_back(token);
    }
    if (ignore_merges_) {
      if (const TokenId token = token_of_bytes_.Find(bytes_, word.word); token != kNoToken) {
        word.ids = {token};
        word.looked_up = true;
        continue;
      }
    }
    word.merges = TraceMerges(merges_, word.bytes);
    word.ids = word.bytes;
    for (const MergeStep& step : word.merges) {
      word.ids[step.at] = step.result;
      word.ids.erase(word.ids.begin() + static_cast<std::ptrdiff_t>(step.at) + 1);
    }
  }
}

}  // namespace aios
