#include "common/base/utf8.h"

#include "common/base/check.h"
#include "common/base/error.h"

namespace aios {

size_t FindInvalidUtf8(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const Utf8Char c = DecodeUtf8(text.substr(at));
    if (!c.valid) return at;
    at += c.length;
  }
  return std::string_view::npos;
}

void CheckUtf8(std::string_view text, std::string_view what) {
  const size_t at = FindInvalidUtf8(text);
  if (at == std::string_view::npos) return;
  throw InputError("{} is not valid UTF-8: byte {} (0x{:02x}) cannot stand there", what, at,
                   static_cast<unsigned char>(text[at]));
}

void AppendUtf8(char32_t code_point, std::string& out) {
  AIOS_CHECK(code_point < 0x110000 && (code_point < 0xD800 || code_point > 0xDFFF), "U+{:X}",
             static_cast<uint32_t>(code_point));
  const auto tail = [&](int shift) {
    out += static_cast<char>(0x80 | ((code_point >> shift) & 0x3F));
  };
  if (code_point < 0x80) {
    out += static_cast<char>(code_point);
  } else if (code_point < 0x800) {
    out += static_cast<char>(0xC0 | (code_point >> 6));
    tail(0);
  } else if (code_point < 0x10000) {
    out += static_cast<char>(0xE0 | (code_point >> 12));
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xF0 | (code_point >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

std::string ReplaceInvalidUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  size_t at = 0;
  while (at < text.size()) {
    const Utf8Char c = DecodeUtf8(text.substr(at));
    if (c.valid) {
      out.append(text.substr(at, c.length));
    } else {
      AppendUtf8(kReplacementChar, out);
    }
    at += c.length;
  }
  return out;
}

}  // namespace aios
