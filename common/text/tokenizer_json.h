// Byte-level BPE from tokenizer.json, the file of Hugging Face's tokenizers.
#pragma once

#include <memory>
#include <string_view>

#include "common/text/tokenizer.h"

namespace aios {

// `text` is the file's content, `source` names it in errors. Throws InputError if it is malformed;
// UnsupportedError, which names the feature, if the file asks for something that would change the
// tokens and is not done here. Sets bos if the file's template puts a token before the text.
std::unique_ptr<Tokenizer> BpeFromTokenizerJson(std::string_view text, std::string_view source);

}  // namespace aios
