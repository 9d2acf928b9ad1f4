// Embedding: a token's number picks a row of a table. Rows of words that are used alike lie close.
#include <algorithm>
#include <cmath>
#include <set>

#include "lessons/01_llm_basics/show.h"

namespace aios {
namespace {

struct Neighbour {
  TokenId token = 0;
  double cosine = 0;
};

// The `n` tokens whose rows point most nearly the way that of `token` does, without itself. Reads
// the whole table.
std::vector<Neighbour> NearestNeighbours(const Subject& subject, TokenId token, size_t n) {
  const std::vector<float> row = subject.Embedding(token);
  const double norm = Norm(row);
  std::vector<Neighbour> all;
  for (TokenId other = 0; other < subject.config().vocab_size; ++other) {
    if (other == token) continue;
    const std::vector<float> candidate = subject.Embedding(other);
    const double norms = norm * Norm(candidate);
    if (norms > 0) all.push_back({other, Dot(row, candidate) / norms});
  }
  n = std::min(n, all.size());
  std::partial_sort(all.begin(), all.begin() + static_cast<int64_t>(n), all.end(),
                    [](const Neighbour& a, const Neighbour& b) {
                      return a.cosine != b.cosine ? a.cosine > b.cosine : a.token < b.token;
                    });
  all.resize(n);
  return all;
}

}  // namespace

void ShowEmbedding(Subject& subject, Notebook& notebook) {
  const ModelConfig& config = subject.config();
  const Tensor& table = subject.model().weights().token_embedding;
  notebook.Title("Embedding: a token is the number of a row");

  const std::vector<float> u = {3, 4};
  const std::vector<float> v = {4, 3};
  notebook.Print(
      "by hand  how alike are u = [3, 4] and v = [4, 3]?\n"
      "           u . v = 3 * 4 + 4 * 3 = {:.0f}\n"
      "           |u| = sqrt(9 + 16) = {:.0f}, |v| = sqrt(16 + 9) = {:.0f}\n"
      "           cosine = {:.0f} / ({:.0f} * {:.0f}) = {:.2f}\n",
      Dot(u, v), Norm(u), Norm(v), Dot(u, v), Norm(u), Norm(v), Dot(u, v) / (Norm(u) * Norm(v)));
  notebook.Print("table    {} rows of {} numbers, {:.1f}M in all: {:.1f} MB in the file\n",
                 config.vocab_size, config.d_model, static_cast<double>(table.n_elements()) * 1e-6,
                 static_cast<double>(table.n_bytes()) * 1e-6);

  // In the tour the longest token of the text; in full each of them once.
  constexpr size_t kMostTokens = 12;
  std::vector<TokenId> tokens;
  std::set<TokenId> seen;
  for (const TokenId token : subject.tokens()) {
    if (seen.insert(token).second) tokens.push_back(token);
  }
  if (!notebook.in_full()) {
    std::ranges::stable_sort(tokens, std::greater(),
                             [&](TokenId token) { return subject.NameOf(token).size(); });
  }
  tokens.resize(std::min(tokens.size(), notebook.in_full() ? kMostTokens : 1));

  Json& figures = notebook.Figures("embedding");
  for (const TokenId token : tokens) {
    const std::vector<float> row = subject.Embedding(token);
    notebook.Print("row      {} of {} = [{:.3f}, {:.3f}, {:.3f}, ...], its length {:.2f}\n", token,
                   subject.NameOf(token), row[0], row[1], row[2], Norm(row));
    notebook.Print("nearest ");
    Json& list = figures["neighbours"][std::to_string(token)] = Json::array();
    for (const auto& [other, cosine] : NearestNeighbours(subject, token, 8)) {
      if (list.size() == 4) notebook.Print("\n        ");
      notebook.Print(" {} {:.2f}", subject.NameOf(other), cosine);
      list.push_back({other, cosine});
    }
    notebook.Print("\n");
  }

  // Held against the forward pass: what its first layer finds are these rows.
  bool same = true;
  const std::vector<float>& first = subject.layers().front().residual;
  for (int64_t t = 0; t < subject.n_tokens(); ++t) {
    same = same && std::ranges::equal(RowOf(first, t, subject.n_tokens()),
                                      subject.Embedding(subject.tokens()[t]));
  }
  notebook.AddCheck("the first layer gets exactly these rows of the table", same,
                    fmt::format("{} tokens", subject.n_tokens()));
}

}  // namespace aios
