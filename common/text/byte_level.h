// The byte-level alphabet of GPT-2, in which vocabularies are written: a printable character for
// each byte, so that any bytes make a readable string. 0x20, the space, is written U+0120.
#pragma once

#include <string>
#include <string_view>

namespace aios {

// Appends the bytes that `letters` stand for. False if a character is not of the alphabet; what was
// appended by then is left.
bool AppendByteLevel(std::string_view letters, std::string& bytes);

// The letters for `bytes`.
std::string ToByteLevel(std::string_view bytes);

}  // namespace aios
