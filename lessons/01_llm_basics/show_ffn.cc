// The feed-forward block: each token by itself is compared with d_ff patterns (gate), and what
// answers to them is written back (down). SwiGLU: Shazeer 2020, https://arxiv.org/abs/2002.05202
#include <algorithm>
#include <cmath>

#include "kernels/cpu/silu_mul.h"
#include "lessons/01_llm_basics/show.h"

namespace aios {
namespace {

// silu(gate) * up of one row, by the engine's kernel.
std::vector<float> SiluMul(std::span<const float> gate, std::span<const float> up) {
  std::vector<float> gate_up(gate.begin(), gate.end());
  gate_up.insert(gate_up.end(), up.begin(), up.end());
  std::vector<float> out(gate.size());
  const auto d_ff = static_cast<int64_t>(gate.size());
  kernels::cpu::SiluMul({.gate_up = gate_up.data(), .n_rows = 1, .d_ff = d_ff, .out = out.data()},
                        0, d_ff);
  return out;
}

void ByHand(Notebook& notebook) {
  const std::vector<float> gate = {2, -1};
  const std::vector<float> up = {3, 5};
  const std::vector<float> kernel = SiluMul(gate, up);
  double error = 0;
  notebook.Print("by hand  silu(x) = x / (1 + e^-x); gate [2, -1], up [3, 5]\n");
  for (int i = 0; i < 2; ++i) {
    const double e = std::exp(-static_cast<double>(gate[i]));
    const double silu = gate[i] / (1 + e);
    notebook.Print(
        "           silu({:.0f}) = {:.0f} / (1 + {:.4f}) = {:.4f};  times {:.0f} = {:.4f}  kernel "
        "{:.4f}\n",
        gate[i], gate[i], e, silu, up[i], silu * up[i], kernel[i]);
    error = std::max(error, std::abs(kernel[i] - silu * up[i]));
  }
  notebook.AddCheck("SwiGLU by hand is the kernel's", error < 1e-5, "2 numbers");
}

}  // namespace

void ShowFfn(Subject& subject, Notebook& notebook) {
  const ModelConfig& config = subject.config();
  notebook.Title("Feed-forward: gates that open or stay shut");
  ByHand(notebook);

  constexpr double kShut = 0.1;
  notebook.Print(
      "model    gate and up [{}, {}], down [{}, {}]: {:.1f}M numbers a layer\n"
      "           layer  |silu(gate)| < {}  largest silu(gate)  largest silu(gate) * up, of the "
      "last "
      "token\n",
      config.d_ff, config.d_model, config.d_model, config.d_ff,
      static_cast<double>(3 * config.d_ff * config.d_model) * 1e-6, kShut);
  const std::vector<float> ones(config.d_ff, 1);
  const std::vector<int64_t> shown = ShownRows(config.n_layers, notebook.in_full());
  const int64_t last = subject.n_tokens() - 1;
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    const LayerTrace& trace = subject.layers()[layer];
    int64_t n_shut = 0;
    float largest_gate = 0;
    for (int64_t t = 0; t <= last; ++t) {
      for (const float value : SiluMul(RowOf(trace.gate, t, last + 1), ones)) {
        if (std::abs(value) < kShut) ++n_shut;
        largest_gate = std::max(largest_gate, value);
      }
    }
    const std::span<const float> hidden = RowOf(trace.ffn_hidden, last, last + 1);
    const auto largest = std::ranges::max_element(
        hidden, [](float a, float b) { return std::abs(a) < std::abs(b); });
    const double shut = static_cast<double>(n_shut) / static_cast<double>(trace.gate.size());
    const int64_t unit = largest - hidden.begin();
    notebook.Figures("ffn")["layers"].push_back({{"layer", layer},
                                                 {"shut", shut},
                                                 {"largest_gate", largest_gate},
                                                 {"largest_hidden", {unit, *largest}}});
    if (std::ranges::find(shown, layer) == shown.end()) continue;
    notebook.Print("           {:5}  {:18.1f}%  {:18.2f}  {:.2f} at {}\n", layer, 100 * shut,
                   largest_gate, *largest, unit);
  }
}

}  // namespace aios
