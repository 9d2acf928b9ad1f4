#include "common/text/unicode.h"

#include <utf8proc.h>

#include <cstring>

namespace aios {
namespace {

bool IsWhiteSpace(char32_t c) {
  switch (c) {
    case 0x85:  // next line
    case 0xA0:  // no-break space
    case 0x1680:
    case 0x2028:  // line separator
    case 0x2029:  // paragraph separator
    case 0x202F:
    case 0x205F:
    case 0x3000:
      return true;
    default:
      return (c >= 0x09 && c <= 0x0D) || c == ' ' || (c >= 0x2000 && c <= 0x200A);
  }
}

CharClass ClassFromUtf8proc(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return CharClass::kLetter;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return CharClass::kNumber;
    default:
      return IsWhiteSpace(c) ? CharClass::kSpace : CharClass::kOther;
  }
}

bool IsNfcInertByUtf8proc(char32_t c) {
  // Hangul vowels and final consonants join the syllable before them by arithmetic, not by table.
  if ((c >= 0x1161 && c <= 0x1175) || (c >= 0x11A8 && c <= 0x11C2)) return false;
  const utf8proc_property_t& property = *utf8proc_get_property(static_cast<utf8proc_int32_t>(c));
  if (property.combining_class != 0) return false;
  // From 0x8000 up, the index says "second of a pair that composes"; 0xFFFF says "in no pair".
  if (property.comb_index >= 0x8000 && property.comb_index != 0xFFFF) return false;
  const bool decomposes =
      property.decomp_seqindex != UINT16_MAX && property.decomp_type == 0;  // 0: canonically
  if (!decomposes) return true;
  // A composed character stays as it is, unless its decomposition is a singleton (the Angstrom
  // sign) or it is excluded from composition.
  utf8proc_int32_t decomposed[8];
  int last_boundclass = 0;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  const utf8proc_ssize_t n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), decomposed,
                                                     8, options, &last_boundclass);
  return n > 0 && n <= 8 && utf8proc_normalize_utf32(decomposed, n, options) == 1 &&
         decomposed[0] == static_cast<utf8proc_int32_t>(c);
}

}  // namespace

UnicodeTable::UnicodeTable() {
  // From U+40000 up there is nothing but a few signs without class or decomposition (plane 14) and
  // private use. A quarter of the work is saved by not asking.
  constexpr char32_t kEndOfInterest = 0x40000;
  blocks_.reserve(256);
  for (size_t i = 0; i < block_of_.size(); ++i) {
    Block block;
    for (int j = 0; j < kBlockSize; ++j) {
      const char32_t c = static_cast<char32_t>(i * kBlockSize + j);
      const bool interesting = c < kEndOfInterest;
      const CharClass char_class = interesting ? ClassFromUtf8proc(c) : CharClass::kOther;
      const bool inert = !interesting || IsNfcInertByUtf8proc(c);
      block[j] = static_cast<uint8_t>(static_cast<uint8_t>(char_class) | (inert ? kNfcInert : 0));
    }
    size_t found = 0;
    if (i * kBlockSize >= kEndOfInterest) {
      found = block_of_[i - 1];  // all alike, from the first of them on
      if (blocks_[found] != block) found = blocks_.size();
    } else {
      while (found < blocks_.size() && blocks_[found] != block) ++found;
    }
    if (found == blocks_.size()) blocks_.push_back(block);
    block_of_[i] = static_cast<uint16_t>(found);
  }
}

const UnicodeTable& UnicodeTable::Get() {
  static const UnicodeTable table;
  return table;
}

size_t AsciiPrefix(std::string_view text) {
  size_t at = 0;
  for (uint64_t word; at + sizeof(word) <= text.size(); at += sizeof(word)) {
    std::memcpy(&word, text.data() + at, sizeof(word));
    if ((word & 0x8080808080808080) != 0) break;
  }
  while (at < text.size() && static_cast<uint8_t>(text[at]) < 0x80) ++at;
  return at;
}

}  // namespace aios
