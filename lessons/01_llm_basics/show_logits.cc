// Logits: the last residual stream against every row of the output matrix. Done after each layer
// instead, it shows where in the model the answer comes up (the "logit lens").
#include <algorithm>
#include <cmath>

#include "common/sample/sampler.h"
#include "lessons/01_llm_basics/show.h"

namespace aios {
namespace {

void ByHand(Notebook& notebook) {
  const std::vector<float> logits = {2, 1, 0};
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
  const double log_sum = LogSumExp(logits);
  notebook.Print(
      "by hand  logits [2, 1, 0]\n"
      "           e^2 + e^1 + e^0 = {:.3f} + {:.3f} + {:.3f} = {:.3f}\n"
      "           probabilities, each over the sum: {:.3f}, {:.3f}, {:.3f}\n",
      std::exp(2.0), std::exp(1.0), 1.0, sum, std::exp(2 - log_sum), std::exp(1 - log_sum),
      std::exp(-log_sum));
  notebook.AddCheck("softmax by hand is the sampler's", std::abs(std::exp(log_sum) - sum) < 1e-5,
                    "3 logits");
}

}  // namespace

void ShowLogits(Subject& subject, Notebook& notebook) {
  const ModelConfig& config = subject.config();
  notebook.Title("Logits: the next token, layer by layer");
  ByHand(notebook);

  // The last token's residual stream after each layer: [n_layers, d_model].
  std::vector<float> residuals;
  for (const LayerTrace& trace : subject.layers()) {
    const auto row = RowOf(trace.after_ffn, subject.n_tokens() - 1, subject.n_tokens());
    residuals.insert(residuals.end(), row.begin(), row.end());
  }
  const TokenId answer = TopLogits(subject.logits(), 1).front().first;
  notebook.Print(
      "model    what would come after {} if the model ended at a layer; the answer is {}\n"
      "           layer  its rank  the likeliest\n",
      subject.NameOf(subject.tokens().back()), subject.NameOf(answer));

  // In the tour a few layers on the way and the last five, where things happen.
  const auto is_shown = [&](int64_t layer) {
    return notebook.in_full() || layer % 10 == 0 || layer >= config.n_layers - 5;
  };
  int64_t first_on_top = config.n_layers;  // and from then on
  std::vector<float> logits;
  Json& figures = notebook.Figures("logits");
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    logits = subject.reference().Logits(RowOf(residuals, layer, config.n_layers));
    const auto rank =
        1 + std::ranges::count_if(logits, [&](float logit) { return logit > logits[answer]; });
    if (rank > 1) first_on_top = config.n_layers;
    if (rank == 1) first_on_top = std::min(first_on_top, layer);
    const std::vector<ScoredToken> top = TopLogits(logits, 5);
    figures["layers"].push_back({{"layer", layer}, {"rank", rank}, {"top", top}});
    if (!is_shown(layer)) continue;
    notebook.Print("           {:5}  {:8} ", layer, rank);
    for (const auto& [token, logit] : top) {
      notebook.Print(" {} {:.1f}%", subject.NameOf(token),
                     100 * std::exp(logit - LogSumExp(logits)));
    }
    notebook.Print("\n");
  }
  figures["answer"] = answer;
  figures["first_on_top"] = first_on_top;
  notebook.Print("answer   {} is on top from layer {} of {} on\n", subject.NameOf(answer),
                 first_on_top, config.n_layers - 1);

  double worst = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    worst = std::max(worst, static_cast<double>(std::abs(logits[i] - subject.logits()[i])));
  }
  notebook.AddCheck("the lens at the last layer gives the logits of the forward pass", worst < 1e-3,
                    fmt::format("{} logits", logits.size()));
}

}  // namespace aios
