#include "common/text/pretokenizer.h"

#include <array>

#include "common/base/check.h"
#include "common/text/unicode.h"

namespace aios {
namespace {

constexpr std::array<CharClass, 128> kAsciiClass = [] {
  std::array<CharClass, 128> table{};
  for (int c = 0; c < 128; ++c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    table[c] = letter                                   ? CharClass::kLetter
               : (c >= '0' && c <= '9')                 ? CharClass::kNumber
               : (c == ' ' || (c >= '\t' && c <= '\r')) ? CharClass::kSpace
                                                        : CharClass::kOther;
  }
  return table;
}();

struct ClassedChar {
  CharClass char_class;
  uint32_t length;  // bytes
};

ClassedChar Peek(const char* at, const char* end) {
  if (at == end) return {CharClass::kEnd, 0};
  const auto byte = static_cast<uint8_t>(*at);
  if (byte < 0x80) return {kAsciiClass[byte], 1};
  const ValidChar c = DecodeValidUtf8(at);
  return {UnicodeTable::Get().ClassOf(c.code_point), c.length};
}

// The end of the run of characters of one class that begins at `at`.
const char* SkipRun(const char* at, const char* end, CharClass char_class) {
  while (true) {
    while (at != end && static_cast<uint8_t>(*at) < 0x80) {  // as a rule, there is nothing else
      if (kAsciiClass[static_cast<uint8_t>(*at)] != char_class) return at;
      ++at;
    }
    const ClassedChar c = Peek(at, end);
    if (c.char_class != char_class) return at;
    at += c.length;
  }
}

bool IsNewline(char c) { return c == '\r' || c == '\n'; }

// The bytes of 's 't 're 've 'm 'll 'd at the front of the text, or 0.
// REQUIRES: the text begins with an apostrophe.
template <bool kIgnoreCase>
int ContractionLength(const char* at, const char* end) {
  const auto letter = [&](int i) {
    const char c = i < end - at ? at[i] : '\0';
    return kIgnoreCase ? static_cast<char>(c | 0x20) : c;  // of an ASCII letter, the lower case
  };
  const char first = letter(1);
  const char second = letter(2);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  if ((first == 'r' || first == 'v') && second == 'e') return 3;
  if (first == 'l' && second == 'l') return 3;
  // The one letter beyond ASCII that folds to one of these: U+017F, the long s.
  if (kIgnoreCase && std::string_view(at, end).substr(1, 2) == "\u017F") return 3;
  return 0;
}

// \s+(?!\S)|\s+ : all the white space if nothing follows, else all but its last character, which
// is left to lead the next word; but at least one character.
const char* WhiteSpaceEnd(const char* begin, const char* last, const char* run_end,
                          bool nothing_follows) {
  return nothing_follows || last == begin ? run_end : last;
}

template <bool kNumbersAlone>
const char* Gpt2WordEnd(const char* begin, const char* end) {
  if (*begin == '\'') {
    if (const int length = ContractionLength<false>(begin, end)) return begin + length;
  }
  const ClassedChar first = Peek(begin, end);
  if (kNumbersAlone && first.char_class == CharClass::kNumber) return begin + first.length;
  if (first.char_class != CharClass::kSpace) return SkipRun(begin, end, first.char_class);

  // A number character stands alone, so the piece of text before it ends there.
  const auto ends_here = [](CharClass next) {
    return next == CharClass::kEnd || (kNumbersAlone && next == CharClass::kNumber);
  };
  if (*begin == ' ') {
    const CharClass next = Peek(begin + 1, end).char_class;
    if (next != CharClass::kSpace && !ends_here(next)) return SkipRun(begin + 1, end, next);
  }
  const char* last = begin;
  const char* at = begin + first.length;
  ClassedChar c = Peek(at, end);
  while (c.char_class == CharClass::kSpace) {
    last = at;
    at += c.length;
    c = Peek(at, end);
  }
  return WhiteSpaceEnd(begin, last, at, ends_here(c.char_class));
}

template <int kMaxNumbers>
const char* Llama3WordEnd(const char* begin, const char* end) {
  if (*begin == '\'') {
    if (const int length = ContractionLength<true>(begin, end)) return begin + length;
  }
  const ClassedChar first = Peek(begin, end);
  const char* at = begin + first.length;
  if (first.char_class == CharClass::kLetter) return SkipRun(at, end, CharClass::kLetter);
  if (first.char_class == CharClass::kNumber) {
    for (int n = 1; n < kMaxNumbers; ++n) {
      const ClassedChar c = Peek(at, end);
      if (c.char_class != CharClass::kNumber) break;
      at += c.length;
    }
    return at;
  }

  // [^\r\n\p{L}\p{N}]?\p{L}+
  const CharClass second = Peek(at, end).char_class;
  if (second == CharClass::kLetter && !IsNewline(*begin)) {
    return SkipRun(at, end, CharClass::kLetter);
  }
  //  ?[^\s\p{L}\p{N}]+[\r\n]*
  if (first.char_class == CharClass::kOther || (*begin == ' ' && second == CharClass::kOther)) {
    at = SkipRun(at, end, CharClass::kOther);
    while (at < end && IsNewline(*at)) ++at;
    return at;
  }
  // \s*[\r\n]+ : white space up to its last newline.
  const char* last = begin;
  const char* after_newline = IsNewline(*begin) ? at : nullptr;
  ClassedChar c = Peek(at, end);
  while (c.char_class == CharClass::kSpace) {
    last = at;
    at += c.length;
    if (IsNewline(*last)) after_newline = at;
    c = Peek(at, end);
  }
  if (after_newline != nullptr) return after_newline;
  return WhiteSpaceEnd(begin, last, at, c.char_class == CharClass::kEnd);
}

}  // namespace

WordScanner ScannerOf(PreTokenizer pre_tokenizer) {
  switch (pre_tokenizer) {
    case PreTokenizer::kGpt2:
      return Gpt2WordEnd<false>;
    case PreTokenizer::kSmolLm:
      return Gpt2WordEnd<true>;
    case PreTokenizer::kLlama3:
      return Llama3WordEnd<3>;
    case PreTokenizer::kQwen2:
      return Llama3WordEnd<1>;
  }
  AIOS_CHECK(false, "pre-tokenizer {}", static_cast<int>(pre_tokenizer));
  return nullptr;
}

}  // namespace aios
