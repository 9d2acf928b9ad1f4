// What the parts of this lesson look at: a model, a text, and what the model computes for it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/model/model.h"
#include "common/model/reference.h"
#include "common/text/tokenizer.h"

namespace aios {

class Subject {
 public:
  // More could not be read in a picture; it also bounds the memory that the trace takes.
  static constexpr int64_t kMaxTokens = 256;

  // Opens the model and encodes the text as it is, without a chat template. Throws InputError if
  // the model has no tokenizer, or the text is empty, not UTF-8, or longer than kMaxTokens or the
  // model's context. `n_threads`: 0 for one for each core.
  Subject(const std::filesystem::path& model_path, std::string text, int n_threads);

  const Model& model() const { return model_; }
  const ModelConfig& config() const { return model_.config(); }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const std::string& text() const { return text_; }
  const std::vector<TokenId>& tokens() const { return tokens_; }
  int64_t n_tokens() const { return static_cast<int64_t>(tokens_.size()); }

  // A token for people: its text in quotes, or its number if it has no text.
  std::string NameOf(TokenId token) const;

  // The model in f32 and its one forward pass over the text: computed when first asked for, since
  // not every part needs them. Throws InputError if the weights do not fit the memory.
  const ReferenceModel& reference();
  const std::vector<LayerTrace>& layers();  // one for each layer
  const std::vector<float>& logits();       // [vocab_size], for what follows the last token

  // Row `token` of the embedding table: [d_model].
  std::vector<float> Embedding(TokenId token) const;

 private:
  Model model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::string text_;
  std::vector<TokenId> tokens_;
  int n_threads_;
  std::optional<ReferenceModel> reference_;
  std::vector<LayerTrace> layers_;
  std::vector<float> logits_;
};

// Row i of a matrix of n_rows rows.
inline std::span<const float> RowOf(const std::vector<float>& matrix, int64_t i, int64_t n_rows) {
  const auto size = static_cast<int64_t>(matrix.size()) / n_rows;
  return {matrix.data() + i * size, static_cast<size_t>(size)};
}

// In double, so that a sum of many numbers is right to the digits that are shown.
double Dot(std::span<const float> a, std::span<const float> b);
double Norm(std::span<const float> a);  // the length of a vector

// Which of `n` rows a table shows: all of them, or in the guided tour six, first and last among
// them.
std::vector<int64_t> ShownRows(int64_t n, bool all);

}  // namespace aios
