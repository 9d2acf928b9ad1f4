// SentencePiece, the tokenizer of Llama 2 and Mistral, by Google's library.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/loader/gguf.h"
#include "common/text/tokenizer.h"

namespace aios {

// From the bytes of a tokenizer.model. `source` names the file in errors. Throws InputError if the
// library refuses them. bos is the vocabulary's.
std::unique_ptr<Tokenizer> SentencePieceFromModel(std::string_view bytes, std::string_view source);

// From the metadata of a GGUF file, keys tokenizer.ggml.*, model "llama". Without bos and
// chat_template: see LoadTokenizer.
std::unique_ptr<Tokenizer> SentencePieceFromGguf(const GgufFile& gguf);

// A piece as the vocabulary has it: with U+2581 for a space, or <0x0A> for a byte.
struct SentencePiece {
  std::string text;
  float score;  // of two pieces that could be merged, the one with the higher score is
  bool is_byte;
};

// Nullopt if the tokenizer is none of the two above. REQUIRES: 0 <= id < vocab_size().
std::optional<SentencePiece> PieceOf(const Tokenizer& tokenizer, TokenId id);

}  // namespace aios
