// RoPE: queries and keys are turned by an angle that grows with the position, so that their product
// tells how far apart they are. (Su et al. 2021, https://arxiv.org/abs/2104.09864)
#include <algorithm>
#include <cmath>
#include <numbers>

#include "common/model/rope.h"
#include "kernels/cpu/rope_kv.h"
#include "lessons/01_llm_basics/show.h"

namespace aios {
namespace {

// A head's vector as it is at a position, by the engine's kernel. (It wants keys and values too,
// and pages to put them in: one page, and nobody reads it.)
std::vector<float> Rotated(const std::vector<float>& head, const std::vector<double>& frequencies,
                           int64_t position, RopePairing pairing) {
  const auto head_dim = static_cast<int>(head.size());
  std::vector<double> turned(frequencies);
  for (double& angle : turned) angle *= static_cast<double>(position);
  const RopeAngles angles = AnglesOf(turned, 2);  // row 1: this position; row 0: not turned
  std::vector<float> qkv(head);
  qkv.resize(3 * head.size());
  std::vector<float> k(head.size() * 2), v(head.size() * 2), q(head.size());
  const int32_t offsets[] = {0, 1};
  const int32_t positions[] = {1};
  const int32_t lengths[] = {2};
  const int32_t pages[] = {0};
  kernels::cpu::RopeAndStoreKv({.qkv = qkv.data(),
                                .cos = angles.cosine.data(),
                                .sin = angles.sine.data(),
                                .max_context = 2,
                                .pairing = pairing,
                                .n_heads = 1,
                                .batch = {.n_seqs = 1,
                                          .seq_offsets = offsets,
                                          .positions = positions,
                                          .kv_lengths = lengths},
                                .kv = {.k = k.data(),
                                       .v = v.data(),
                                       .page_table = pages,
                                       .max_pages_per_seq = 1,
                                       .n_pages = 1,
                                       .page_size = 2,
                                       .n_kv_heads = 1,
                                       .head_dim = head_dim},
                                .q = q.data()},
                               0, 1);
  return q;
}

// Two pairs: one turns by 1 radian a position, the other by a hundredth (theta = 10000).
void ByHand(Notebook& notebook) {
  const std::vector<float> x = {1, 0, 1, 0};
  const std::vector<double> frequencies = {1, 0.01};
  const auto rotated = [&](int64_t position) {
    return Rotated(x, frequencies, position, RopePairing::kInterleaved);
  };
  notebook.Print(
      "by hand  x = [1, 0 | 1, 0]: position p turns the first pair by p radians, the second by p / "
      "100\n"
      "           (a, b) becomes (a cos - b sin, a sin + b cos)\n");
  double error = 0;
  for (int p = 0; p < 3; ++p) {
    const double hand[] = {std::cos(p), std::sin(p), std::cos(0.01 * p), std::sin(0.01 * p)};
    const std::vector<float> kernel = rotated(p);
    notebook.Print(
        "           p = {}: [cos {}, sin {} | cos {:.2f}, sin {:.2f}] = [{:.5f}, {:.5f} | {:.5f}, "
        "{:.5f}]\n"
        "           kernel {:39}[{:.5f}, {:.5f} | {:.5f}, {:.5f}]\n",
        p, p, p, 0.01 * p, 0.01 * p, hand[0], hand[1], hand[2], hand[3], "", kernel[0], kernel[1],
        kernel[2], kernel[3]);
    for (int i = 0; i < 4; ++i) error = std::max(error, std::abs(kernel[i] - hand[i]));
  }
  notebook.AddCheck("RoPE by hand is the kernel's", error < 1e-5, "3 positions");
  notebook.Print(
      "distance x at m times x at n = cos(m - n) + cos((m - n) / 100)\n"
      "           (2, 0) {:.4f}  (7, 5) {:.4f}  (102, 100) {:.4f}  but (3, 0) {:.4f}\n",
      Dot(rotated(2), rotated(0)), Dot(rotated(7), rotated(5)), Dot(rotated(102), rotated(100)),
      Dot(rotated(3), rotated(0)));
}

}  // namespace

void ShowRope(Subject& subject, Notebook& notebook) {
  const ModelConfig& config = subject.config();
  notebook.Title("RoPE: the position is an angle");
  ByHand(notebook);

  const std::vector<double> frequencies =
      RopeFrequencies(config, subject.model().weights().rope_factors);
  const auto n_pairs = static_cast<int64_t>(frequencies.size());
  notebook.Print("model    {} pairs in a head of {} numbers, theta {}; the context is {} tokens\n",
                 n_pairs, config.head_dim, config.rope.theta, config.max_context);
  notebook.Print("            pair  radians a token  tokens a turn  turns in the context\n");
  const std::vector<int64_t> shown = ShownRows(n_pairs, notebook.in_full());
  for (int64_t i = 0; i < n_pairs; ++i) {
    const double wavelength = 2 * std::numbers::pi / frequencies[i];
    notebook.Figures("rope")["wavelengths"].push_back(wavelength);
    if (std::ranges::find(shown, i) == shown.end()) continue;
    notebook.Print("           {:5}  {:15.8f}  {:13.1f}  {:20.2f}\n", i, frequencies[i], wavelength,
                   static_cast<double>(config.max_context) / wavelength);
  }

  // A query and a key that are the same before they are turned, at several distances, near the
  // front of a text and far into it.
  const std::vector<float> ones(config.head_dim, 1);
  const int64_t far = config.max_context / 2;
  double worst = 0;
  notebook.Print("distance a query and a key of ones; their product over {}\n", config.head_dim);
  notebook.Print("           tokens apart  key at 0  key at {}\n", far);
  for (int64_t distance = 0; distance < far; distance = std::max<int64_t>(1, distance * 4)) {
    double at[2];
    for (const int64_t start : {int64_t{0}, far}) {
      at[start == 0 ? 0 : 1] =
          Dot(Rotated(ones, frequencies, start + distance, config.rope.pairing),
              Rotated(ones, frequencies, start, config.rope.pairing)) /
          static_cast<double>(config.head_dim);
    }
    worst = std::max(worst, std::abs(at[0] - at[1]));
    notebook.Figures("rope")["distances"].push_back({distance, at[0], at[1]});
    notebook.Print("           {:12}  {:8.4f}  {:8.4f}\n", distance, at[0], at[1]);
  }
  notebook.AddCheck("RoPE: the product depends on the distance alone", worst < 1e-4,
                    fmt::format("keys at 0 and at {}", far));
}

}  // namespace aios
