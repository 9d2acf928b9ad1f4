#include "common/text/sentencepiece_tokenizer.h"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <exception>
#include <utility>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/base/utf8.h"
#include "common/text/added_tokens.h"
#include "common/text/gguf_tokens.h"
#include "common/text/sentencepiece_proto.h"
#include "common/text/string_index.h"

namespace aios {
namespace {

constexpr std::string_view kSpaceSymbol = "\u2581";

// The byte that a piece such as <0x0A> stands for.
char ByteOfPiece(std::string_view piece, std::string_view source) {
  unsigned value = 0;
  if (piece.size() == 6 && piece.starts_with("<0x") && piece.ends_with('>')) {
    const auto [end, error] = std::from_chars(piece.data() + 3, piece.data() + 5, value, 16);
    if (error == std::errc() && end == piece.data() + 5) return static_cast<char>(value);
  }
  throw InputError("{}: the byte piece {} is not written like <0x0A>", source, Quoted(piece));
}

class SentencePieceTokenizer final : public Tokenizer {
 public:
  SentencePieceTokenizer(std::string_view model, std::string_view source) {
    try {
      const auto status = processor_.LoadFromSerializedProto(model);
      if (!status.ok()) {
        throw InputError("{}: not a SentencePiece model: {}", source, Quoted(status.ToString()));
      }
    } catch (const InputError&) {
      throw;
    } catch (const std::exception& error) {  // from the trie in which it keeps its pieces
      throw InputError("{}: not a SentencePiece model: {}", source, Quoted(error.what()));
    }
    std::vector<AddedToken> specials;
    const int n = processor_.GetPieceSize();
    for (TokenId id = 0; id < n; ++id) {
      const std::string& piece = processor_.IdToPiece(id);
      is_special_.push_back(processor_.IsControl(id) || processor_.IsUnknown(id));
      if (is_special_.back()) {
        bytes_.bytes() += piece;
        if (!piece.empty() && piece.size() <= AddedTokenMatcher::kMaxBytes &&
            FindInvalidUtf8(piece) == std::string_view::npos) {
          specials.push_back({.id = id, .text = piece});
        }
      } else if (processor_.IsByte(id)) {
        bytes_.bytes() += ByteOfPiece(piece, source);
      } else {
        AppendUnescaped(piece);
      }
      bytes_.EndString();
    }
    for (const AddedToken& special : specials) specials_.emplace_back(special.text, special.id);
    std::sort(specials_.begin(), specials_.end());
    matcher_ = AddedTokenMatcher(std::move(specials));
    // The library does not tell its settings, but shows this one.
    std::vector<std::string> pieces;
    Check(processor_.Encode("a", &pieces));
    drops_leading_space_ = !pieces.empty() && pieces[0].starts_with(kSpaceSymbol);
  }

  std::vector<TokenId> Encode(std::string_view text, SpecialTokens special) const override {
    CheckUtf8(text, "the text");
    std::vector<TokenId> ids;
    if (special == SpecialTokens::kAsText) {
      AppendIds(text, ids);
      return ids;
    }
    for (const TextPart& part : matcher_.Split(text, special)) {
      if (part.token != nullptr) {
        ids.push_back(part.token->id);
      } else {
        AppendIds(part.text, ids);
      }
    }
    return ids;
  }

  std::string_view TokenBytes(TokenId id) const override {
    AIOS_CHECK(id >= 0 && id < vocab_size(), "token {} of {}", id, vocab_size());
    return bytes_[id];
  }
  bool IsSpecial(TokenId id) const override {
    AIOS_CHECK(id >= 0 && id < vocab_size(), "token {} of {}", id, vocab_size());
    return is_special_[id];
  }
  int vocab_size() const override { return static_cast<int>(is_special_.size()); }
  bool drops_leading_space() const override { return drops_leading_space_; }

  std::optional<TokenId> FindSpecial(std::string_view text) const override {
    for (const auto& [special, id] : specials_) {
      if (special == text) return id;
    }
    return std::nullopt;
  }

  SentencePiece Piece(TokenId id) const {
    return {.text = processor_.IdToPiece(id),
            .score = processor_.GetScore(id),
            .is_byte = processor_.IsByte(id)};
  }

  TokenId library_bos() const { return processor_.bos_id(); }

 private:
  static void Check(const sentencepiece::util::Status& status) {
    AIOS_CHECK(status.ok(), "sentencepiece: {}", status.ToString());
  }

  void AppendUnescaped(std::string_view piece) {
    while (!piece.empty()) {
      const size_t symbol = piece.find(kSpaceSymbol);
      bytes_.bytes() += piece.substr(0, symbol);
      if (symbol == std::string_view::npos) return;
      bytes_.bytes() += ' ';
      piece.remove_prefix(symbol + kSpaceSymbol.size());
    }
  }

  void AppendIds(std::string_view text, std::vector<TokenId>& ids) const {
    std::vector<int> part;
    Check(processor_.Encode(text, &part));
    ids.insert(ids.end(), part.begin(), part.end());
  }

  sentencepiece::SentencePieceProcessor processor_;
  StringPool bytes_;  // of each token, by id
  std::vector<bool> is_special_;
  std::vector<std::pair<std::string, TokenId>> specials_;
  AddedTokenMatcher matcher_;
  bool drops_leading_space_ = false;
};

}  // namespace

std::unique_ptr<Tokenizer> SentencePieceFromModel(std::string_view bytes, std::string_view source) {
  auto tokenizer = std::make_unique<SentencePieceTokenizer>(bytes, source);
  if (tokenizer->library_bos() >= 0) tokenizer->bos = tokenizer->library_bos();
  return tokenizer;
}

std::unique_ptr<Tokenizer> SentencePieceFromGguf(const GgufFile& gguf) {
  const GgufTokens tokens = ReadGgufTokens(gguf);
  const auto scores = gguf.Floats("tokenizer.ggml.scores");
  if (!scores || scores->size() != tokens.texts.size()) {
    throw InputError("{}: tokenizer.ggml.scores has {} entries for {} tokens", gguf.name(),
                     scores ? scores->size() : 0, tokens.texts.size());
  }
  SentencePieceVocabulary vocabulary;
  vocabulary.add_dummy_prefix = gguf.Bool("tokenizer.ggml.add_space_prefix").value_or(true);
  vocabulary.remove_extra_whitespaces =
      gguf.Bool("tokenizer.ggml.remove_extra_whitespaces").value_or(false);
  for (size_t id = 0; id < tokens.texts.size(); ++id) {
    const std::string_view text = tokens.texts[id];
    // The library takes texts as C strings here and there.
    if (text.empty() || text.find('\0') != std::string_view::npos ||
        FindInvalidUtf8(text) != std::string_view::npos) {
      throw InputError("{}: token {} ({}) is empty, has a zero byte or is not UTF-8", gguf.name(),
                       id, Quoted(text));
    }
    if (!std::isfinite((*scores)[id])) {
      throw InputError("{}: the score of token {} ({}) is not a number", gguf.name(), id,
                       Quoted(text));
    }
    vocabulary.pieces.push_back(
        {.text = text,
         .score = (*scores)[id],
         .type = static_cast<SentencePieceVocabulary::Type>(tokens.types[id])});
  }
  return std::make_unique<SentencePieceTokenizer>(SerializeModelProto(vocabulary), gguf.name());
}

std::optional<SentencePiece> PieceOf(const Tokenizer& tokenizer, TokenId id) {
  const auto* sentencepiece = dynamic_cast<const SentencePieceTokenizer*>(&tokenizer);
  AIOS_CHECK(id >= 0 && id < tokenizer.vocab_size(), "token {} of {}", id, tokenizer.vocab_size());
  if (sentencepiece == nullptr) return std::nullopt;
  return sentencepiece->Piece(id);
}

}  // namespace aios
