#include "common/model/shapes.h"

#include <algorithm>
#include <array>
#include <string>

#include "common/base/error.h"

namespace aios {
namespace {

struct Row {
  std::string_view name;
  std::string_view architecture;  // qwen2 has biases of q, k, v; qwen3 norms of q and k
  int64_t d_model, n_layers, n_heads, n_kv_heads, head_dim, d_ff, vocab_size, max_context;
  bool tied_embeddings;
  double rope_theta, norm_eps;
};

// From the models' own config.json: SmolLM2, Qwen2.5, Qwen3, Llama 3.1 (8B, 70B) and 3.2 (1B, 3B),
// Mistral 7B v0.3.
// clang-format off
constexpr std::array<Row, 11> kRows = {{
    // name, architecture, d_model, layers, heads, kv, head_dim, d_ff, vocabulary, context, tied, theta, eps
    {"smollm2-135m", "llama",    576, 30,  9, 3,  64,  1536,  49152,   8192, true,  1e5, 1e-5},
    {"qwen2.5-0.5b", "qwen2",    896, 24, 14, 2,  64,  4864, 151936,  32768, true,  1e6, 1e-6},
    {"qwen3-0.6b",   "qwen3",   1024, 28, 16, 8, 128,  3072, 151936,  40960, true,  1e6, 1e-6},
    {"llama-1b",     "llama",   2048, 16, 32, 8,  64,  8192, 128256, 131072, true,  5e5, 1e-5},
    {"llama-3b",     "llama",   3072, 28, 24, 8, 128,  8192, 128256, 131072, true,  5e5, 1e-5},
    {"mistral-7b",   "mistral", 4096, 32, 32, 8, 128, 14336,  32768,  32768, false, 1e6, 1e-5},
    {"qwen2.5-7b",   "qwen2",   3584, 28, 28, 4, 128, 18944, 152064,  32768, false, 1e6, 1e-6},
    {"llama-8b",     "llama",   4096, 32, 32, 8, 128, 14336, 128256, 131072, false, 5e5, 1e-5},
    {"qwen3-8b",     "qwen3",   4096, 36, 32, 8, 128, 12288, 151936,  40960, false, 1e6, 1e-6},
    {"qwen2.5-32b",  "qwen2",   5120, 64, 40, 8, 128, 27648, 152064,  32768, false, 1e6, 1e-6},
    {"llama-70b",    "llama",   8192, 80, 64, 8, 128, 28672, 128256, 131072, false, 5e5, 1e-5},
}};
// clang-format on

}  // namespace

ModelConfig ShapeNamed(std::string_view name) {
  const auto* const row = std::ranges::find(kRows, name, &Row::name);
  if (row == kRows.end()) {
    throw InputError("there is no model shape {}; there are {}", Quoted(name),
                     fmt::join(ShapeNames(), ", "));
  }
  return {.name = std::string(row->name),
          .architecture = std::string(row->architecture),
          .d_model = row->d_model,
          .n_layers = row->n_layers,
          .n_heads = row->n_heads,
          .n_kv_heads = row->n_kv_heads,
          .head_dim = row->head_dim,
          .d_ff = row->d_ff,
          .vocab_size = row->vocab_size,
          .max_context = row->max_context,
          .norm_eps = row->norm_eps,
          .rope = {.theta = row->rope_theta},
          .tied_embeddings = row->tied_embeddings,
          .qkv_bias = row->architecture == "qwen2",
          .qk_norm = row->architecture == "qwen3"};
}

std::vector<std::string_view> ShapeNames() {
  std::vector<std::string_view> names;
  names.reserve(kRows.size());
  for (const Row& row : kRows) names.push_back(row.name);
  return names;
}

}  // namespace aios
