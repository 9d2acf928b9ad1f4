#include "common/text/added_tokens.h"

#include <utf8proc.h>

#include <algorithm>

#include "common/base/check.h"
#include "common/text/unicode.h"

namespace aios {
namespace {

ValidChar LastChar(std::string_view text) {
  size_t at = text.size() - 1;
  while ((static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;  // over continuation bytes
  return DecodeValidUtf8(text.data() + at);
}

bool IsSpace(char32_t c) { return UnicodeTable::Get().ClassOf(c) == CharClass::kSpace; }

size_t LeadingSpace(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const ValidChar c = DecodeValidUtf8(text.data() + at);
    if (!IsSpace(c.code_point)) break;
    at += c.length;
  }
  return at;
}

size_t WithoutTrailingSpace(std::string_view text) {
  while (!text.empty()) {
    const ValidChar c = LastChar(text);
    if (!IsSpace(c.code_point)) break;
    text.remove_suffix(c.length);
  }
  return text.size();
}

// \w as Unicode defines it for regular expressions: alphabetic, marks, decimal numbers, connectors,
// joiners.
bool IsWordChar(char32_t c) {
  if (c == 0x200C || c == 0x200D) return true;
  const bool circled_letter = (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
                              (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
  if (circled_letter) return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return false;
  }
}

bool StandsAlone(std::string_view text, size_t begin, size_t end) {
  if (begin > 0 && IsWordChar(LastChar(text.substr(0, begin)).code_point)) return false;
  return end == text.size() || !IsWordChar(DecodeValidUtf8(text.data() + end).code_point);
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::stable_sort(tokens_.begin(), tokens_.end(),
                   [](const AddedToken& a, const AddedToken& b) { return a.text < b.text; });
  const auto same_text = [](const AddedToken& a, const AddedToken& b) { return a.text == b.text; };
  tokens_.erase(std::unique(tokens_.begin(), tokens_.end(), same_text), tokens_.end());
  for (const AddedToken& token : tokens_) {
    AIOS_CHECK(!token.text.empty() && token.text.size() <= kMaxBytes);
    ++begin_of_byte_[static_cast<uint8_t>(token.text[0]) + 1];
    has_plain_ |= !token.special;
  }
  for (size_t b = 0; b < 256; ++b) begin_of_byte_[b + 1] += begin_of_byte_[b];
}

// The tokens that begin with the first i bytes of the text are neighbours in the sorted list, the
// one of just these bytes first. Each further byte narrows the range.
const AddedToken* AddedTokenMatcher::LongestAt(std::string_view text) const {
  const auto first_byte = static_cast<uint8_t>(text[0]);
  const AddedToken* begin = tokens_.data() + begin_of_byte_[first_byte];
  const AddedToken* end = tokens_.data() + begin_of_byte_[first_byte + 1];
  const AddedToken* longest = nullptr;
  for (size_t i = 1; begin != end; ++i) {
    if (begin->text.size() == i) longest = begin++;
    if (i == text.size()) break;
    const auto byte_at = [i](const AddedToken& token) {
      return static_cast<uint8_t>(token.text[i]);
    };
    const auto byte = static_cast<uint8_t>(text[i]);
    begin = std::partition_point(begin, end, [&](const auto& t) { return byte_at(t) < byte; });
    end = std::partition_point(begin, end, [&](const auto& t) { return byte_at(t) == byte; });
  }
  return longest;
}

std::vector<TextPart> AddedTokenMatcher::Split(std::string_view text, SpecialTokens special) const {
  std::vector<TextPart> parts;
  size_t done = 0;  // text[0, done) is in the parts
  size_t at = 0;
  while (at < text.size()) {
    const auto byte = static_cast<uint8_t>(text[at]);
    if (begin_of_byte_[byte] == begin_of_byte_[byte + 1]) {  // no token begins so
      ++at;
      continue;
    }
    const AddedToken* token = LongestAt(text.substr(at));
    if (token == nullptr) {
      ++at;
      continue;
    }
    size_t begin = at;
    size_t end = at + token->text.size();
    at = end;
    if (token->special && special == SpecialTokens::kAsText) continue;
    if (token->single_word && !StandsAlone(text, begin, end)) continue;
    // What the token before took on its right stays with it. (The white space at `done` ends what
    // it took, so that it is not walked again.)
    begin = std::max(begin, done);
    end = std::max(end, done);
    if (token->lstrip) begin = done + WithoutTrailingSpace(text.substr(done, begin - done));
    if (token->rstrip) end += LeadingSpace(text.substr(end));
    if (begin > done) parts.push_back({.text = text.substr(done, begin - done)});
    parts.push_back({.text = text.substr(begin, end - begin), .token = token});
    done = end;
  }
  if (done < text.size()) parts.push_back({.text = text.substr(done)});
  return parts;
}

}  // namespace aios
