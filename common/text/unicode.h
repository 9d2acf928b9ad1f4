// What the tokenizers ask about a character, in one table lookup: its class in the pre-tokenizers'
// regular expressions, and whether normalization can touch it. The facts are utf8proc's (Unicode
// 15); its own lookups would cost several times as much.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace aios {

// Each character is in exactly one: \p{L}, \p{N}, \s (the property White_Space), and what is left.
enum class CharClass : uint8_t { kOther, kLetter, kNumber, kSpace, kEnd /* of the text */ };

// A character of a text that is known to be valid UTF-8.
struct ValidChar {
  char32_t code_point;
  uint32_t length;  // bytes
};

// REQUIRES: `text` points at the first byte of a valid character.
inline ValidChar DecodeValidUtf8(const char* text) {
  const auto byte = [&](int i) { return static_cast<uint32_t>(static_cast<uint8_t>(text[i])); };
  const auto tail = [&](int i) { return byte(i) & 0x3F; };
  const uint32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(lead & 0x1F) << 6 | tail(1), 2};
  if (lead < 0xF0) return {(lead & 0x0F) << 12 | tail(1) << 6 | tail(2), 3};
  return {(lead & 0x07) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3), 4};
}

// Immutable.
class UnicodeTable {
 public:
  static const UnicodeTable& Get();

  // REQUIRES: code_point < 0x110000, here and below.
  CharClass ClassOf(char32_t code_point) const {
    return static_cast<CharClass>(Entry(code_point) & kClassMask);
  }

  // Whether NFC leaves the character as it is wherever it stands: it is in composed form, it
  // composes with nothing before it, and it is no mark that could change places with another. What
  // follows it may still join it.
  bool IsNfcInert(char32_t code_point) const { return (Entry(code_point) & kNfcInert) != 0; }

 private:
  static constexpr uint8_t kClassMask = 3;
  static constexpr uint8_t kNfcInert = 4;
  static constexpr int kBlockSize = 256;
  using Block = std::array<uint8_t, kBlockSize>;

  UnicodeTable();
  uint8_t Entry(char32_t code_point) const {
    return blocks_[block_of_[code_point / kBlockSize]][code_point % kBlockSize];
  }

  std::array<uint16_t, 0x110000 / kBlockSize> block_of_;
  std::vector<Block> blocks_;  // each different block once
};

// The length of the longest prefix that is ASCII.
size_t AsciiPrefix(std::string_view text);

}  // namespace aios
