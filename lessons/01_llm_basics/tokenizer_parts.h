// The parts of `--show tokenizer`: each prints its part and fills in its figures.
#pragma once

#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

#include "common/base/json.h"
#include "common/text/bpe.h"
#include "common/text/tokenizer.h"

namespace aios {

// A text that a person named. Throws InputError if it cannot be read, is empty, is larger than
// `max_bytes` (which is found out without reading it), or is no text: not UTF-8, or with a zero
// byte in it. `purpose`: "to show", "to train from".
std::string ReadPlainText(const std::filesystem::path& path, size_t max_bytes,
                          std::string_view purpose);
// The same of a text that is already here.
void CheckPlainText(std::string_view text, std::string_view source);

// A token for people: its bytes in the byte-level alphabet, as vocabularies are written.
std::string LettersOf(const Tokenizer& tokenizer, TokenId id);

// The words, the merges of a few of them step by step with their trees, the ids and the round trip.
// `svg`: a file for the trees; empty: none.
Json ShowMerges(const BpeTokenizer& tokenizer, const std::string& text, const std::string& svg,
                std::FILE* out);

// What is unexpected at first: short texts whose tokens are not what a reader would guess.
Json ShowSurprises(const Tokenizer& tokenizer, std::FILE* out);

// A vocabulary trained from `training_text`, what it gains, and `text` in it, beside the model's.
Json ShowTraining(const std::string& training_text, const std::string& source, int vocab_size,
                  const std::string& text, const Tokenizer& model, std::FILE* out);

// `text` through a SentencePiece vocabulary: its pieces and their scores.
Json ShowSentencePiece(const Tokenizer& tokenizer, const std::string& text, std::FILE* out);

// Bytes a token for the same meaning in several languages. `svg`: a file; empty: none.
Json ShowLanguages(const Tokenizer& tokenizer, const std::string& svg, std::FILE* out);

// Writes a picture. Throws InputError if it cannot.
void WriteSvg(const std::string& path, const std::string& svg, std::FILE* out);

}  // namespace aios
