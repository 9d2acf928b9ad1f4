// Pre-tokenizers: where a text is cut into words before byte-level BPE looks at each of them alone.
//
// A model's training fixed them as regular expressions; all of those in use are variants of two.
// These scanners do the same as those expressions, exactly, and some twenty times as fast (the
// tests compare them with PCRE2). They tell apart only letters, numbers, white space and the rest.
#pragma once

#include <cstdint>
#include <string_view>

namespace aios {

enum class PreTokenizer : uint8_t {
  kGpt2,    // GPT-2: kGpt2Regex
  kSmolLm,  // SmolLM, StarCoder: each number character alone, then kGpt2Regex between them
  kLlama3,  // Llama 3: kLlama3Regex, numbers in groups of three
  kQwen2,   // Qwen 2, 2.5, 3: kQwen2Regex, each number character alone
};

inline constexpr std::string_view kGpt2Regex =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kLlama3Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kQwen2Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";

// Finds the end of the word at the front of [begin, end). Every character is part of a word.
// REQUIRES: begin < end, and the text is valid UTF-8. Linear over a whole text.
using WordScanner = const char* (*)(const char* begin, const char* end);

WordScanner ScannerOf(PreTokenizer pre_tokenizer);

}  // namespace aios
