// What `--show tokenizer` prints and draws: how a text becomes tokens, how such a vocabulary is
// trained, and what SentencePiece does otherwise.
#pragma once

#include <cstdio>
#include <filesystem>
#include <string>

#include "common/base/json.h"

namespace aios {

// The flags of this part, as main.cc parses them. Empty: not given.
struct TokenizerOptions {
  std::filesystem::path model;  // --model, or the default model; its tokenizer is shown
  std::string argv0;            // to find the files that Bazel put beside the program
  std::string text;             // --text TEXT: what to encode; empty: a text with surprises in it
  std::string file;             // --file FILE: the text is in a file; excludes --text
  std::string svg;              // --svg FILE.svg or FOLDER: where to draw the merge trees
  std::string train;            // --train FILE: a text to train a BPE vocabulary from
  int vocab_size = 512;         // --vocab-size N: how large that becomes, the 256 bytes included
  std::string sentencepiece;    // --sentencepiece FILE.model; empty: a small one of this lesson's
};

// Prints to `out` (standard output, or standard error where --json has the former) and returns the
// report for --json. Throws InputError for whatever the flags can name that is not there, is no
// text or is too large.
Json ShowTokenizer(const TokenizerOptions& options, std::FILE* out);

}  // namespace aios
