// RMSNorm: every layer sees the residual stream at one size, whatever it has grown to. (Zhang and
// Sennrich 2019, https://arxiv.org/abs/1910.07467)
#include <algorithm>
#include <cmath>

#include "kernels/cpu/dequantize.h"
#include "kernels/cpu/rms_norm.h"
#include "lessons/01_llm_basics/show.h"

namespace aios {
namespace {

// One row, by the engine's kernel.
std::vector<float> RmsNorm(std::span<const float> x, std::span<const float> weight, float eps) {
  std::vector<float> in(x.begin(), x.end());
  std::vector<float> out(x.size());
  kernels::cpu::RmsNorm({.x = in.data(),
                         .weight = weight.data(),
                         .eps = eps,
                         .d_model = static_cast<int64_t>(x.size()),
                         .out = out.data()},
                        0, 1);
  return out;
}

double Rms(std::span<const float> x) { return Norm(x) / std::sqrt(static_cast<double>(x.size())); }

void ByHand(Notebook& notebook) {
  const std::vector<float> x = {1, 2, 3, 4};
  const std::vector<float> ones(4, 1);
  const double rms = std::sqrt((1 + 4 + 9 + 16) / 4.0);
  const std::vector<float> kernel = RmsNorm(x, ones, 0);
  notebook.Print(
      "by hand  x = [1, 2, 3, 4]\n"
      "           mean of the squares = (1 + 4 + 9 + 16) / 4 = 7.5, its root {:.4f}\n"
      "           x / {:.4f} = [{:.4f}, {:.4f}, {:.4f}, {:.4f}]\n"
      "           kernel     [{:.4f}, {:.4f}, {:.4f}, {:.4f}], then each times its own weight\n",
      rms, rms, 1 / rms, 2 / rms, 3 / rms, 4 / rms, kernel[0], kernel[1], kernel[2], kernel[3]);
  double error = 0;
  for (int i = 0; i < 4; ++i) error = std::max(error, std::abs(kernel[i] - x[i] / rms));
  notebook.AddCheck("RMSNorm by hand is the kernel's", error < 1e-5, "4 numbers");
}

}  // namespace

void ShowNorm(Subject& subject, Notebook& notebook) {
  const ModelConfig& config = subject.config();
  notebook.Title("RMSNorm: one size for all");
  ByHand(notebook);

  const int64_t last = subject.n_tokens() - 1;
  notebook.Print(
      "model    root mean square of the residual stream, and after the norm before attention\n"
      "           layer  first token  after norm    last token  after norm\n");
  double worst = 0;
  const std::vector<float> ones(config.d_model, 1);
  std::vector<float> weight(config.d_model);
  const std::vector<int64_t> shown = ShownRows(config.n_layers, notebook.in_full());
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    const Tensor& stored = subject.model().weights().layers[layer].attn_norm;
    kernels::Dequantize(stored.dtype(), stored.data(), config.d_model, weight.data());
    const auto eps = static_cast<float>(config.norm_eps);
    const std::vector<float>& residual = subject.layers()[layer].residual;
    for (int64_t t = 0; t <= last; ++t) {
      const std::span<const float> x = RowOf(residual, t, last + 1);
      const double expected = Rms(x) / std::sqrt(Rms(x) * Rms(x) + eps);
      worst = std::max(worst, std::abs(Rms(RmsNorm(x, ones, eps)) - expected));
    }
    const std::span<const float> first_row = RowOf(residual, 0, last + 1);
    const std::span<const float> last_row = RowOf(residual, last, last + 1);
    const double before[] = {Rms(first_row), Rms(last_row)};
    const double after[] = {Rms(RmsNorm(first_row, weight, eps)),
                            Rms(RmsNorm(last_row, weight, eps))};
    notebook.Figures("norm")["layers"].push_back(
        {{"layer", layer}, {"before", before}, {"after", after}});
    if (std::ranges::find(shown, layer) == shown.end()) continue;
    notebook.Print("           {:5}  {:11.2f}  {:10.2f}    {:10.2f}  {:10.2f}\n", layer, before[0],
                   after[0], before[1], after[1]);
  }
  notebook.AddCheck("RMSNorm, before its weight, makes every root mean square 1", worst < 1e-4,
                    fmt::format("{} rows", config.n_layers * subject.n_tokens()));
}

}  // namespace aios
