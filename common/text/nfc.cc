#include "common/text/nfc.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "common/base/check.h"
#include "common/base/utf8.h"
#include "common/text/unicode.h"

namespace aios {
namespace {

constexpr auto kCompose = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);

int CombiningClass(utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; }

// Canonical ordering: in each run of marks, by combining class, and stable. utf8proc has this too,
// as a bubble sort, which a hostile run of a million marks would keep busy for hours.
void SortMarks(std::vector<utf8proc_int32_t>& chars) {
  const auto is_mark = [](utf8proc_int32_t c) { return CombiningClass(c) != 0; };
  for (auto at = chars.begin(); at != chars.end();) {
    at = std::find_if(at, chars.end(), is_mark);
    const auto end = std::find_if_not(at, chars.end(), is_mark);
    if (end - at > 1) {
      std::stable_sort(at, end, [](utf8proc_int32_t a, utf8proc_int32_t b) {
        return CombiningClass(a) < CombiningClass(b);
      });
    }
    at = end;
  }
}

// Appends the NFC of `text`, whatever it holds.
void AppendNormalized(std::string_view text, std::vector<utf8proc_int32_t>& chars,
                      std::string& out) {
  chars.clear();
  for (size_t at = 0; at < text.size();) {
    const ValidChar c = DecodeValidUtf8(text.data() + at);
    at += c.length;
    utf8proc_int32_t decomposed[32];  // the longest canonical decomposition has 4
    int last_boundclass = 0;
    const utf8proc_ssize_t n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c.code_point),
                                                       decomposed, 32, kCompose, &last_boundclass);
    AIOS_CHECK(n >= 0 && n <= 32, "U+{:X} decomposes into {}", static_cast<uint32_t>(c.code_point),
               n);
    chars.insert(chars.end(), decomposed, decomposed + n);
  }
  SortMarks(chars);
  const utf8proc_ssize_t n =
      utf8proc_normalize_utf32(chars.data(), static_cast<utf8proc_ssize_t>(chars.size()), kCompose);
  AIOS_CHECK(n >= 0);
  for (utf8proc_ssize_t i = 0; i < n; ++i) AppendUtf8(static_cast<char32_t>(chars[i]), out);
}

}  // namespace

// Only the surroundings of characters that are not inert can change: from the inert one before
// them, which they may join, to the next inert one.
std::string_view NormalizeNfc(std::string_view text, std::string& storage) {
  const UnicodeTable& unicode = UnicodeTable::Get();
  std::vector<utf8proc_int32_t> scratch;
  bool changed = false;
  size_t copied = 0;    // storage holds the NFC of text[0, copied), once something changed
  size_t previous = 0;  // the character before `at`
  size_t at = AsciiPrefix(text);
  if (at > 0) previous = at - 1;
  while (at < text.size()) {
    const ValidChar c = DecodeValidUtf8(text.data() + at);
    if (unicode.IsNfcInert(c.code_point)) {
      previous = at;
      at += c.length;
      continue;
    }
    size_t end = at;
    while (end < text.size()) {
      const ValidChar next = DecodeValidUtf8(text.data() + end);
      if (unicode.IsNfcInert(next.code_point)) break;
      end += next.length;
    }
    if (!changed) {
      storage.clear();
      storage.reserve(text.size() + 64);
      changed = true;
    }
    storage.append(text.substr(copied, previous - copied));
    AppendNormalized(text.substr(previous, end - previous), scratch, storage);
    copied = previous = at = end;
  }
  if (!changed) return text;
  storage.append(text.substr(copied));
  return storage;
}

}  // namespace aios
