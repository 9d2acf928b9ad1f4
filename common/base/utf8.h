// UTF-8 as RFC 3629 defines it: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace aios {

inline constexpr char32_t kReplacementChar = 0xFFFD;

// The character at the front of a text.
struct Utf8Char {
  char32_t code_point = 0;  // kReplacementChar if not valid
  uint8_t length =
      0;  // bytes to step over, at least 1; of an invalid sequence, its maximal valid prefix
          // (Unicode 15, section 3.9: one replacement character for each such prefix)
  bool valid = false;
  bool truncated =
      false;  // not valid, but more bytes could make it so: the text ends inside a character
};

// REQUIRES: text is not empty.
inline Utf8Char DecodeUtf8(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {.code_point = lead, .length = 1, .valid = true};

  // The lead byte gives the number of continuation bytes and the range of the first of them, which
  // excludes overlong forms (E0, F0), surrogates (ED) and what lies above U+10FFFF (F4).
  uint8_t n_continuation = 0;
  char32_t value = 0;
  uint8_t low = 0x80;
  uint8_t high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    n_continuation = 1;
    value = lead & 0x1F;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    n_continuation = 2;
    value = lead & 0x0F;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    n_continuation = 3;
    value = lead & 0x07;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {.code_point = kReplacementChar, .length = 1};
  }
  uint8_t length = 1;
  for (; length <= n_continuation; ++length) {
    if (length == text.size()) {
      return {.code_point = kReplacementChar, .length = length, .truncated = true};
    }
    if (byte(length) < low || byte(length) > high) {
      return {.code_point = kReplacementChar, .length = length};
    }
    value = (value << 6) | (byte(length) & 0x3F);
    low = 0x80;
    high = 0xBF;
  }
  return {.code_point = value, .length = length, .valid = true};
}

// The offset of the first byte that is not part of a valid character, or npos.
size_t FindInvalidUtf8(std::string_view text);

// Throws InputError, which names `what` and the offset, unless `text` is valid.
void CheckUtf8(std::string_view text, std::string_view what);

// REQUIRES: a Unicode scalar value.
void AppendUtf8(char32_t code_point, std::string& out);

// `text` with each invalid sequence replaced by U+FFFD.
std::string ReplaceInvalidUtf8(std::string_view text);

}  // namespace aios
