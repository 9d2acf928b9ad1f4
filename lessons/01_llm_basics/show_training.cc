// A vocabulary of one's own, and SentencePiece beside it.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "common/text/bpe_trainer.h"
#include "common/text/sentencepiece_tokenizer.h"
#include "lessons/01_llm_basics/tokenizer_parts.h"

namespace aios {
namespace {

constexpr size_t kMergesShown = 12;
constexpr size_t kTokensShown = 60;

double BytesPerToken(size_t n_bytes, size_t n_tokens) {
  return static_cast<double>(n_bytes) / static_cast<double>(n_tokens);
}

std::string Joined(const std::vector<std::string>& parts) {
  const size_t n = std::min(parts.size(), kTokensShown);
  return fmt::format("{}{}", fmt::join(parts.begin(), parts.begin() + static_cast<long>(n), " | "),
                     parts.size() > n ? " | ..." : "");
}

}  // namespace

Json ShowTraining(const std::string& training_text, const std::string& source, int vocab_size,
                  const std::string& text, const Tokenizer& model, std::FILE* out) {
  const TrainedBpe trained = TrainBpe(training_text, {.vocab_size = vocab_size}, source);
  const auto tokenizer = trained.MakeTokenizer(source);
  fmt::print(out, "\ntrained    from {}: {} bytes, {} words, {} of them different\n", source,
             training_text.size(), trained.n_words, trained.n_unique_words);
  fmt::print(out, "  rank  count  the most frequent pair becomes a token\n");
  Json merges = Json::array();
  for (size_t rank = 0; rank < trained.merges.size(); ++rank) {
    const auto& [left, right, result, count] = trained.merges[rank];
    merges.push_back({trained.tokens[left], trained.tokens[right], count});
    if (rank >= kMergesShown) continue;
    fmt::print(out, "  {:>4}  {:>5}  {} + {} = {}\n", rank, count, trained.tokens[left],
               trained.tokens[right], trained.tokens[result]);
  }
  if (trained.merges.size() > kMergesShown) {
    fmt::print(out, "  ...    ...  and {} more\n", trained.merges.size() - kMergesShown);
  }
  const auto n_tokens = static_cast<int>(trained.tokens.size());
  fmt::print(
      out, "vocabulary {} tokens{}\n", n_tokens,
      n_tokens < vocab_size ? ": fewer than asked for, no other pair stands there twice" : "");

  const size_t n_after = tokenizer->Encode(training_text, SpecialTokens::kAsText).size();
  const size_t n_model = model.Encode(training_text, SpecialTokens::kAsText).size();
  const size_t n_bytes = training_text.size();
  fmt::print(out,
             "gain       {} tokens as bytes, {} now: {:.2f} bytes a token ({:.2f} with the "
             "model's {} tokens)\n",
             n_bytes, n_after, BytesPerToken(n_bytes, n_after), BytesPerToken(n_bytes, n_model),
             model.vocab_size());

  const std::vector<TokenId> ids = tokenizer->Encode(text, SpecialTokens::kAsText);
  std::vector<std::string> letters;
  for (const TokenId id : ids) letters.push_back(LettersOf(*tokenizer, id));
  fmt::print(out, "your text  {}\n", Joined(letters));
  fmt::print(out, "           {} tokens, the model's vocabulary needs {}\n", ids.size(),
             model.Encode(text, SpecialTokens::kAsText).size());
  return {{"source", source},
          {"vocab_size", n_tokens},
          {"merges", merges},
          {"bytes_per_token", BytesPerToken(n_bytes, n_after)},
          {"model_bytes_per_token", BytesPerToken(n_bytes, n_model)},
          {"ids", ids},
          {"round_trip", tokenizer->Decode(ids) == text}};
}

// SentencePiece (Kudo and Richardson, EMNLP 2018) takes the text as it is: a space becomes the
// symbol U+2581 and may stand anywhere in a piece, no expression cuts words, and the pieces are
// characters. What is no piece falls back to bytes. Instead of a list of merges there is a score
// for each piece; in its BPE mode that is minus the rank, in its unigram mode (Kudo, ACL 2018) a
// log-probability.
Json ShowSentencePiece(const Tokenizer& tokenizer, const std::string& text, std::FILE* out) {
  const std::vector<TokenId> ids = tokenizer.Encode(text, SpecialTokens::kAsText);
  std::vector<std::string> shown;
  Json pieces = Json::array();
  size_t n_byte_pieces = 0;
  for (const TokenId id : ids) {
    const SentencePiece piece = PieceOf(tokenizer, id).value();
    n_byte_pieces += piece.is_byte ? 1 : 0;
    shown.push_back(piece.is_byte ? piece.text : fmt::format("{} {:g}", piece.text, piece.score));
    pieces.push_back({{"piece", piece.text}, {"id", id}, {"score", piece.score}});
  }
  fmt::print(out, "\nSentencePiece, {} pieces: piece and score (the higher merges first)\n",
             tokenizer.vocab_size());
  fmt::print(out, "  {}\n", Joined(shown));
  fmt::print(out, "  {} pieces, {} of them bytes of characters that are no piece; decoded: {}\n",
             ids.size(), n_byte_pieces,
             tokenizer.Decode(ids) == text ? "the text" : "not the text");
  return {{"pieces", pieces},
          {"byte_pieces", n_byte_pieces},
          {"round_trip", tokenizer.Decode(ids) == text}};
}

}  // namespace aios
