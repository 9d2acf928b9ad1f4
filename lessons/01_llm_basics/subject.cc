#include "lessons/01_llm_basics/subject.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/base/error.h"
#include "common/base/utf8.h"
#include "kernels/cpu/dequantize.h"

namespace aios {

Subject::Subject(const std::filesystem::path& model_path, std::string text, int n_threads)
    : model_(Model::Load(model_path)), text_(std::move(text)), n_threads_(n_threads) {
  tokenizer_ = LoadTokenizer(*model_.checkpoint());
  if (tokenizer_ == nullptr) {
    throw InputError("{}: has no tokenizer, which this lesson needs to read a text",
                     model_path.string());
  }
  if (text_.empty()) throw InputError("the text is empty: there is nothing to look at");
  CheckUtf8(text_, "the text");
  // No token is longer than a few hundred bytes: what is longer than this has too many tokens.
  constexpr size_t kMaxBytes = 1 << 16;
  const int64_t limit = std::min(config().max_context, kMaxTokens);
  if (text_.size() > kMaxBytes) {
    throw InputError("the text has {} bytes: this lesson looks at {} tokens at most", text_.size(),
                     limit);
  }
  tokens_ = tokenizer_->Encode(text_, SpecialTokens::kAsText);
  if (tokenizer_->bos.has_value()) tokens_.insert(tokens_.begin(), *tokenizer_->bos);
  if (n_tokens() > limit) {
    throw InputError("the text has {} tokens: {} {} at most", n_tokens(),
                     limit < kMaxTokens ? "the model's context holds" : "this lesson looks at",
                     limit);
  }
  for (const TokenId token : tokens_) {
    if (token < config().vocab_size) continue;
    throw InputError("{}: the tokenizer has token {}, the model's vocabulary only {}",
                     model_path.string(), token, config().vocab_size);
  }
}

std::string Subject::NameOf(TokenId token) const {
  if (token >= tokenizer_->vocab_size()) return std::to_string(token);
  return Quoted(tokenizer_->TokenBytes(token));
}

const ReferenceModel& Subject::reference() {
  if (!reference_.has_value()) reference_.emplace(config(), model_.weights(), n_threads_);
  return *reference_;
}

const std::vector<LayerTrace>& Subject::layers() {
  if (layers_.empty()) logits_ = reference().Forward(tokens_, 1, &layers_);
  return layers_;
}

const std::vector<float>& Subject::logits() {
  layers();
  return logits_;
}

std::vector<float> Subject::Embedding(TokenId token) const {
  const Tensor& table = model_.weights().token_embedding;
  std::vector<float> row(table.row_size());
  kernels::Dequantize(table.dtype(), table.row(token), table.row_size(), row.data());
  return row;
}

double Dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

double Norm(std::span<const float> a) { return std::sqrt(Dot(a, a)); }

std::vector<int64_t> ShownRows(int64_t n, bool all) {
  const int64_t n_shown = all ? n : std::min<int64_t>(n, 6);
  std::vector<int64_t> shown;
  for (int64_t i = 0; i < n_shown; ++i)
    shown.push_back(i * (n - 1) / std::max<int64_t>(1, n_shown - 1));
  return shown;
}

}  // namespace aios
