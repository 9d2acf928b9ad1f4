// The residual stream: a token's vector, to which every block only adds.
#include <algorithm>
#include <cmath>

#include "lessons/01_llm_basics/show.h"

namespace aios {
namespace {

std::vector<float> Difference(std::span<const float> a, std::span<const float> b) {
  std::vector<float> out(a.begin(), a.end());
  for (size_t i = 0; i < out.size(); ++i) out[i] -= b[i];
  return out;
}

}  // namespace

void ShowResidual(Subject& subject, Notebook& notebook) {
  const ModelConfig& config = subject.config();
  notebook.Title("Residual stream: every block adds");
  notebook.Print(
      "by hand  x = [1, 0, 2]\n"
      "           attention adds [0.5, 1, -1]: [1.5, 1, 1]\n"
      "           feed-forward adds [-0.5, 1, 1]: [1, 2, 2], of length sqrt(1 + 4 + 4) = 3\n");
  notebook.Print(
      "model    lengths of the last token's vector and of what is added to it\n"
      "           layer         x  + attention  + feed-forward\n");

  const int64_t last = subject.n_tokens() - 1;
  const std::vector<int64_t> shown = ShownRows(config.n_layers, notebook.in_full());
  const auto row = [&](const std::vector<float>& matrix) { return RowOf(matrix, last, last + 1); };
  const std::span<const float> embedding = row(subject.layers().front().residual);
  std::vector<float> sum(embedding.begin(), embedding.end());
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    const LayerTrace& trace = subject.layers()[layer];
    const std::vector<float> attention =
        Difference(row(trace.after_attention), row(trace.residual));
    const std::vector<float> ffn = Difference(row(trace.after_ffn), row(trace.after_attention));
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += attention[i] + ffn[i];
    const double lengths[] = {Norm(row(trace.residual)), Norm(attention), Norm(ffn)};
    notebook.Figures("residual")["layers"].push_back(lengths);
    if (std::ranges::find(shown, layer) == shown.end()) continue;
    notebook.Print("           {:5}  {:8.2f}  {:11.2f}  {:14.2f}\n", layer, lengths[0], lengths[1],
                   lengths[2]);
  }
  const std::span<const float> end = row(subject.layers().back().after_ffn);
  notebook.Print("           after  {:8.2f}\n", Norm(end));
  const double error = Norm(Difference(sum, end)) / Norm(end);
  notebook.AddCheck("the embedding and all that was added make the last residual stream",
                    error < 1e-4, fmt::format("{} blocks", 2 * config.n_layers));
}

}  // namespace aios
