// Attention: each token takes from the tokens before it, as much of each as their query and key
// agree. (Vaswani et al. 2017; grouped heads: Ainslie et al. 2023,
// https://arxiv.org/abs/2305.13245)
#include <algorithm>
#include <array>
#include <cmath>

#include "common/base/error.h"
#include "common/base/write_file.h"
#include "kernels/cpu/attention.h"
#include "lessons/01_llm_basics/heat_map.h"
#include "lessons/01_llm_basics/show.h"

namespace aios {
namespace {

// Three tokens, two query heads of two numbers that share one key and value head.
constexpr int kTokens = 3;
constexpr int kHeads = 2;
using Pair = std::array<float, 2>;
constexpr std::array<std::array<Pair, kHeads>, kTokens> kQ = {
    {{{{1, 0}, {0, 1}}}, {{{0, 2}, {1, 1}}}, {{{2, 0}, {0, 2}}}}};
constexpr std::array<Pair, kTokens> kK = {{{1, 0}, {0, 1}, {1, 1}}};
constexpr std::array<Pair, kTokens> kV = {{{1, 0}, {0, 1}, {2, 2}}};

// The same by the engine's kernel: [n_tokens, n_heads, head_dim].
std::array<float, kTokens * kHeads * 2> ByKernel() {
  auto q = kQ;
  auto k = kK;
  auto v = kV;
  std::array<float, kTokens * kHeads * 2> out;
  const int32_t offsets[] = {0, kTokens};
  const int32_t positions[] = {0, 1, 2};
  const int32_t lengths[] = {kTokens};
  const int32_t pages[] = {0};
  const kernels::cpu::AttentionArgs args = {
      .q = q[0][0].data(),
      .batch = {.n_seqs = 1, .seq_offsets = offsets, .positions = positions, .kv_lengths = lengths},
      .kv = {.k = k[0].data(),
             .v = v[0].data(),
             .page_table = pages,
             .max_pages_per_seq = 1,
             .n_pages = 1,
             .page_size = 4,
             .n_kv_heads = 1,
             .head_dim = 2},
      .n_heads = kHeads,
      .out = out.data()};
  std::vector<float> scratch(kernels::cpu::AttentionScratchFloats(args));
  kernels::cpu::Attention(args, 0, kernels::cpu::CountAttentionTasks(args), scratch.data());
  return out;
}

void ByHand(Notebook& notebook) {
  notebook.Print(
      "by hand  3 tokens; keys [1, 0] [0, 1] [1, 1], values [1, 0] [0, 1] [2, 2], which 2 query "
      "heads share\n");
  const auto kernel = ByKernel();
  double error = 0;
  for (int head = 0; head < kHeads; ++head) {
    for (int t = 0; t < kTokens; ++t) {
      const Pair& q = kQ[t][head];
      std::vector<std::string> scores, exps, weights, terms;
      std::array<double, kTokens> e = {};
      double sum = 0;
      for (int key = 0; key <= t; ++key) {
        const double product = q[0] * kK[key][0] + q[1] * kK[key][1];
        const double score = product / std::sqrt(2.0);
        e[key] = std::exp(score);
        sum += e[key];
        scores.push_back(fmt::format("{:.0f}/√2", product));
        exps.push_back(fmt::format("{:.3f}", e[key]));
      }
      double out[2] = {};
      for (int key = 0; key <= t; ++key) {
        weights.push_back(fmt::format("{:.3f}", e[key] / sum));
        terms.push_back(
            fmt::format("{} * [{:.0f}, {:.0f}]", weights.back(), kV[key][0], kV[key][1]));
        for (int i = 0; i < 2; ++i) out[i] += e[key] / sum * kV[key][i];
      }
      const float* const given = &kernel[(t * kHeads + head) * 2];
      for (int i = 0; i < 2; ++i) error = std::max(error, std::abs(given[i] - out[i]));
      if (!notebook.in_full() && t + 1 < kTokens) continue;
      notebook.Print(
          "           head {}, token {}, q [{:.0f}, {:.0f}]: scores {}; their exp {}\n"
          "             weights, over the sum {:.3f}: {}\n"
          "             out = {} = [{:.3f}, {:.3f}]\n"
          "             kernel [{:.3f}, {:.3f}]\n",
          head, t, q[0], q[1], fmt::join(scores, " "), fmt::join(exps, " "), sum,
          fmt::join(weights, " "), fmt::join(terms, " + "), out[0], out[1], given[0], given[1]);
    }
  }
  notebook.AddCheck("attention by hand is the kernel's", error < 1e-5, "3 tokens, 2 heads");
}

// What a head looks at: the mean weight that the tokens put there (but for the first one, which has
// no choice).
enum Habit : uint8_t { kFirst, kBefore, kItself, kAfterSame, kNumHabits };
constexpr std::array<const char*, kNumHabits> kHabitNames = {
    "the first token", "the token before", "itself", "what came after the same token"};
using Habits = std::array<double, kNumHabits>;

// One head's weights: [n_tokens, n_tokens].
std::span<const float> WeightsOf(const LayerTrace& layer, int64_t head, int64_t n_heads) {
  return RowOf(layer.attn_weights, head, n_heads);
}

Habits HabitsOf(std::span<const float> weights, std::span<const TokenId> tokens) {
  const auto n = static_cast<int64_t>(tokens.size());
  Habits sums = {};
  int64_t n_repeated = 0;  // tokens that stood in the text before
  for (int64_t t = 1; t < n; ++t) {
    const std::span<const float> row = weights.subspan(t * n, n);
    sums[kFirst] += row[0];
    sums[kBefore] += row[t - 1];
    sums[kItself] += row[t];
    for (int64_t same = t - 2; same >= 0; --same) {
      if (tokens[same] != tokens[t]) continue;
      sums[kAfterSame] += row[same + 1];
      ++n_repeated;
      break;
    }
  }
  for (int habit = 0; habit < kNumHabits; ++habit) {
    const int64_t rows = habit == kAfterSame ? n_repeated : n - 1;
    sums[habit] /= static_cast<double>(std::max<int64_t>(1, rows));
  }
  return sums;
}

// The head that looks most at the token before it, within what the flags leave open. A head that
// copies from its neighbour is found in most models, and its picture is a clear one.
std::pair<int64_t, int64_t> Chosen(Subject& subject, const AttentionOptions& options) {
  const ModelConfig& config = subject.config();
  std::pair<int64_t, int64_t> chosen = {std::max(0, options.layer), std::max(0, options.head)};
  double most = -1;
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    if (options.layer >= 0 && layer != options.layer) continue;
    for (int64_t head = 0; head < config.n_heads; ++head) {
      if (options.head >= 0 && head != options.head) continue;
      const double previous = HabitsOf(WeightsOf(subject.layers()[layer], head, config.n_heads),
                                       subject.tokens())[kBefore];
      if (previous > most + 1e-6) {
        most = previous;
        chosen = {layer, head};
      }
    }
  }
  return chosen;
}

// What the heads of one layer look at, and of all layers the head that does each the most.
void PrintHabits(Subject& subject, Notebook& notebook, int64_t of_layer) {
  const ModelConfig& config = subject.config();
  notebook.Print("heads    of layer {}: mean weight on\n            head", of_layer);
  for (const char* name : kHabitNames) notebook.Print("  {}", name);
  notebook.Print("\n");
  struct Most {
    double weight = -1;
    int64_t layer = 0;
    int64_t head = 0;
  };
  std::array<Most, kNumHabits> most;
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    for (int64_t head = 0; head < config.n_heads; ++head) {
      const Habits habits =
          HabitsOf(WeightsOf(subject.layers()[layer], head, config.n_heads), subject.tokens());
      for (int i = 0; i < kNumHabits; ++i) {
        if (habits[i] > most[i].weight) most[i] = {habits[i], layer, head};
      }
      if (layer != of_layer) continue;
      notebook.Print("           {:5}", head);
      for (int i = 0; i < kNumHabits; ++i) {
        notebook.Print("  {:{}.1f}%", 100 * habits[i], std::string_view(kHabitNames[i]).size() - 1);
      }
      notebook.Print("\n");
    }
  }
  for (int i = 0; i < kNumHabits; ++i) {
    if (most[i].weight <= 0) continue;  // no token stands in the text twice
    notebook.Print("most     on {}: layer {}, head {}: {:.1f}%\n", kHabitNames[i], most[i].layer,
                   most[i].head, 100 * most[i].weight);
    notebook.Figures("attention")["most"].push_back(
        {kHabitNames[i], most[i].layer, most[i].head, most[i].weight});
  }
}

// Every row of every head adds up to one, and looks at no later token.
void CheckWeights(Subject& subject, Notebook& notebook) {
  const int64_t n = subject.n_tokens();
  double worst = 0;
  int64_t n_later = 0;
  for (const LayerTrace& layer : subject.layers()) {
    for (int64_t row = 0; row < subject.config().n_heads * n; ++row) {
      double sum = 0;
      for (int64_t key = 0; key < n; ++key) {
        const float weight = layer.attn_weights[row * n + key];
        sum += weight;
        if (key > row % n && weight != 0) ++n_later;
      }
      worst = std::max(worst, std::abs(sum - 1));
    }
  }
  const std::string rows =
      fmt::format("{} rows", subject.config().n_layers * subject.config().n_heads * n);
  notebook.AddCheck("attention: each row of weights adds up to 1", worst < 1e-5, rows);
  notebook.AddCheck("attention: no token looks at a later one", n_later == 0, rows);
}

}  // namespace

void CheckAttentionOptions(const AttentionOptions& options, const ModelConfig& config) {
  if (options.layer >= config.n_layers) {
    throw InputError("--layer {}: the model has layers 0 to {}", options.layer,
                     config.n_layers - 1);
  }
  if (options.head >= config.n_heads) {
    throw InputError("--head {}: a layer of the model has heads 0 to {}", options.head,
                     config.n_heads - 1);
  }
  CheckWritable("--svg", options.svg);
}

void ShowAttention(Subject& subject, Notebook& notebook, const AttentionOptions& options) {
  const ModelConfig& config = subject.config();
  const int64_t n = subject.n_tokens();
  notebook.Title("Attention: what each token looks at");
  ByHand(notebook);

  notebook.Print("model    {} layers of {} heads of {} numbers; {} share each key and value head\n",
                 config.n_layers, config.n_heads, config.head_dim,
                 config.n_heads / config.n_kv_heads);
  const auto [layer, head] = Chosen(subject, options);
  const std::span<const float> weights = WeightsOf(subject.layers()[layer], head, config.n_heads);
  const bool chosen = options.layer < 0 || options.head < 0;
  notebook.Print("head     layer {}, head {}{}\n", layer, head,
                 chosen ? ", which looks most at the token before" : "");
  HeatMap map;
  map.title = fmt::format("Attention weights of layer {}, head {}", layer, head);
  map.weights = weights;
  for (const TokenId token : subject.tokens()) map.labels.push_back(subject.NameOf(token));
  constexpr size_t kMaxRows = 32;
  notebook.Print("{}", ToTerminal(map, kMaxRows));
  if (!options.svg.empty()) {
    WriteFile("--svg", options.svg, ToSvg(map));
    notebook.Print("picture  {}\n", options.svg);
  }

  Json& figures = notebook.Figures("attention");
  figures = {{"layer", layer}, {"head", head}, {"weights", Json::array()}};
  for (int64_t t = 0; t < n; ++t) {
    figures["weights"].push_back(
        std::vector<float>(weights.begin() + t * n, weights.begin() + (t + 1) * n));
  }
  if (notebook.in_full()) {
    PrintHabits(subject, notebook, layer);
  }
  notebook.Print("sink     mean weight of a layer's heads on the first token\n          ");
  for (const int64_t l : ShownRows(config.n_layers, notebook.in_full())) {
    double first = 0;
    for (int64_t h = 0; h < config.n_heads; ++h) {
      first +=
          HabitsOf(WeightsOf(subject.layers()[l], h, config.n_heads), subject.tokens())[kFirst];
    }
    first /= static_cast<double>(config.n_heads);
    figures["sink"].push_back({l, first});
    notebook.Print(" layer {} {:.0f}%", l, 100 * first);
    if (notebook.in_full() && l % 8 == 7 && l + 1 < config.n_layers) notebook.Print("\n          ");
  }
  notebook.Print("\n");
  CheckWeights(subject, notebook);
}

}  // namespace aios
