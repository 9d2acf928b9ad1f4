#include "common/base/error.h"

#include "common/base/utf8.h"

namespace aios {

namespace {

// Ends with "..." where the result would be much longer than `max_bytes`.
std::string EscapedUpTo(std::string_view text, size_t max_bytes) {
  std::string out;
  size_t at = 0;
  while (at < text.size()) {
    if (out.size() >= max_bytes) return out + "...";
    const Utf8Char c = DecodeUtf8(text.substr(at));
    const bool control = c.code_point < 0x20 || (c.code_point >= 0x7f && c.code_point < 0xa0);
    if (!c.valid || control) {
      for (size_t i = 0; i < c.length; ++i) {
        out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[at + i]));
      }
    } else {
      out.append(text.substr(at, c.length));
    }
    at += c.length;
  }
  return out;
}

}  // namespace

std::string Escaped(std::string_view text) { return EscapedUpTo(text, std::string::npos); }

std::string Quoted(std::string_view text) { return "'" + EscapedUpTo(text, 80) + "'"; }

}  // namespace aios
