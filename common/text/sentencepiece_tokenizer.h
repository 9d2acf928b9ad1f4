// SentencePiece, the tokenizer of Llama 2 and Mistral, by Google's library.
#pragma once

#include <memory>
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

}  // namespace aios
