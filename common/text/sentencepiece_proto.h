// A SentencePiece vocabulary as the bytes of a .model file, which is what the library can load.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace aios {

struct SentencePieceVocabulary {
  // The numbers are the format's, and GGUF's.
  enum class Type : int32_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };
  struct Piece {
    std::string_view text;
    float score = 0;  // of two pairs to merge, the one with the higher score goes first
    Type type = Type::kNormal;
  };
  std::vector<Piece> pieces;  // by id
  // A space before the text, so that a word has the same pieces wherever it stands.
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = false;
};

// A serialized sentencepiece.ModelProto, of type BPE. Its schema is sentencepiece_model.proto; the
// few fields that matter here are written by hand, since the library's package has no headers for
// its protocol buffers.
std::string SerializeModelProto(const SentencePieceVocabulary& vocabulary);

}  // namespace aios
