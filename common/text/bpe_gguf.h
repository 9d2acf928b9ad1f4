// Byte-level BPE from the metadata of a GGUF file, keys tokenizer.ggml.*, model "gpt2".
#pragma once

#include <memory>

#include "common/loader/gguf.h"
#include "common/text/tokenizer.h"

namespace aios {

// Throws InputError if the metadata is malformed, UnsupportedError if it asks for a pre-tokenizer
// that is not known here. Without bos and chat_template: see LoadTokenizer.
std::unique_ptr<Tokenizer> BpeFromGguf(const GgufFile& gguf);

}  // namespace aios
