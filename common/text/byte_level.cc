#include "common/text/byte_level.h"

#include <array>
#include <cstdint>

#include "common/base/utf8.h"

namespace aios {
namespace {

constexpr char32_t kFirstStandIn = 0x100;  // for the first byte that does not stand for itself
constexpr int kLetters = 0x100 + 68;       // one past the last letter

// Bytes that are printable in Latin-1 stand for themselves; the others are numbered in turn.
constexpr bool StandsForItself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Alphabet {
  std::array<char32_t, 256> letter_of{};
  std::array<int16_t, kLetters> byte_of{};
};

constexpr Alphabet kAlphabet = [] {
  Alphabet alphabet;
  alphabet.byte_of.fill(-1);
  char32_t next = kFirstStandIn;
  for (int byte = 0; byte < 256; ++byte) {
    const char32_t letter = StandsForItself(byte) ? static_cast<char32_t>(byte) : next++;
    alphabet.letter_of[byte] = letter;
    alphabet.byte_of[letter] = static_cast<int16_t>(byte);
  }
  return alphabet;
}();

}  // namespace

bool AppendByteLevel(std::string_view letters, std::string& bytes) {
  while (!letters.empty()) {
    const Utf8Char c = DecodeUtf8(letters);
    if (!c.valid || c.code_point >= kLetters || kAlphabet.byte_of[c.code_point] < 0) return false;
    bytes += static_cast<char>(kAlphabet.byte_of[c.code_point]);
    letters.remove_prefix(c.length);
  }
  return true;
}

std::string ToByteLevel(std::string_view bytes) {
  std::string letters;
  for (const char byte : bytes)
    AppendUtf8(kAlphabet.letter_of[static_cast<uint8_t>(byte)], letters);
  return letters;
}

}  // namespace aios
