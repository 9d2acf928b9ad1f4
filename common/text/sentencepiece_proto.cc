#include "common/text/sentencepiece_proto.h"

#include <algorithm>
#include <bit>

namespace aios {
namespace {

// Protocol buffers on the wire: a message is a sequence of fields, each a tag (number and wire
// type) and a value. https://protobuf.dev/programming-guides/encoding
class ProtoWriter {
 public:
  void Int(int field, uint64_t value) {
    Tag(field, 0);
    Varint(value);
  }
  void Float(int field, float value) {
    Tag(field, 5);
    const auto bits = std::bit_cast<uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) bytes_ += static_cast<char>(bits >> shift);
  }
  void Bytes(int field, std::string_view value) {
    Tag(field, 2);
    Varint(value.size());
    bytes_ += value;
  }
  std::string Take() && { return std::move(bytes_); }

 private:
  void Tag(int field, int wire_type) { Varint(static_cast<uint64_t>(field) << 3 | wire_type); }
  void Varint(uint64_t value) {  // seven bits a byte, the lowest first
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
};

}  // namespace

std::string SerializeModelProto(const SentencePieceVocabulary& vocabulary) {
  using Type = SentencePieceVocabulary::Type;
  ProtoWriter model;
  bool has_bytes = false;
  std::string_view unknown = "<unk>";
  for (const auto& piece : vocabulary.pieces) {
    ProtoWriter message;
    message.Bytes(1, piece.text);
    message.Float(2, piece.score);
    message.Int(3, static_cast<uint64_t>(piece.type));
    model.Bytes(1, std::move(message).Take());
    has_bytes |= piece.type == Type::kByte;
    if (piece.type == Type::kUnknown) unknown = piece.text;
  }

  ProtoWriter trainer;
  trainer.Int(3, 2);  // model_type: BPE
  trainer.Int(4, vocabulary.pieces.size());
  trainer.Int(35, has_bytes ? 1 : 0);  // byte_fallback: what no piece covers, byte by byte
  trainer.Bytes(45, unknown);
  model.Bytes(2, std::move(trainer).Take());

  ProtoWriter normalizer;
  normalizer.Bytes(1, "identity");
  normalizer.Int(3, vocabulary.add_dummy_prefix ? 1 : 0);
  normalizer.Int(4, vocabulary.remove_extra_whitespaces ? 1 : 0);
  normalizer.Int(5, 1);  // escape_whitespaces: a space is U+2581 in the pieces
  model.Bytes(3, std::move(normalizer).Take());
  return std::move(model).Take();
}

}  // namespace aios
