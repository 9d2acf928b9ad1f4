// Parameters: what each component has, by the config's dimensions, against what the file holds.
#include <array>

#include "lessons/01_llm_basics/show.h"

namespace aios {
namespace {

struct Component {
  const char* name;
  std::string formula;
  int64_t by_config = 0;
  int64_t in_file = 0;
  int64_t file_bytes = 0;
};

enum : uint8_t { kEmbedding, kAttention, kFfn, kNorms, kOutput, kNumComponents };

// From the dimensions alone: it looks at no tensor.
std::array<Component, kNumComponents> ByConfig(const ModelConfig& c) {
  const int64_t attention = c.d_model * (c.q_dim() + 2 * c.kv_dim()) + c.q_dim() * c.d_model +
                            (c.qkv_bias ? c.q_dim() + 2 * c.kv_dim() : 0);
  const int64_t ffn = 3 * c.d_model * c.d_ff;
  const int64_t norms = c.n_layers * (2 * c.d_model + (c.qk_norm ? 2 * c.head_dim : 0)) + c.d_model;
  return {
      {{"embedding", fmt::format("{} x {}", c.vocab_size, c.d_model), c.vocab_size * c.d_model},
       {"attention",
        fmt::format("{} layers x ({} x ({} + 2 x {}) + {} x {}{})", c.n_layers, c.d_model,
                    c.q_dim(), c.kv_dim(), c.q_dim(), c.d_model,
                    c.qkv_bias ? fmt::format(" + {}", c.q_dim() + 2 * c.kv_dim()) : ""),
        c.n_layers * attention},
       {"feed-forward", fmt::format("{} layers x 3 x {} x {}", c.n_layers, c.d_model, c.d_ff),
        c.n_layers * ffn},
       {"norms",
        fmt::format("{} layers x {} + {}", c.n_layers,
                    2 * c.d_model + (c.qk_norm ? 2 * c.head_dim : 0), c.d_model),
        norms},
       {"output",
        c.tied_embeddings ? "the embedding again" : fmt::format("{} x {}", c.vocab_size, c.d_model),
        c.tied_embeddings ? 0 : c.vocab_size * c.d_model}}};
}

// Which component a tensor belongs to, by its name in Hugging Face's files.
int ComponentOf(std::string_view name) {
  const auto has = [&](std::string_view part) { return name.find(part) != std::string_view::npos; };
  if (has("norm")) return kNorms;
  if (has("embed_tokens")) return kEmbedding;
  if (has("lm_head")) return kOutput;
  return has("mlp") ? kFfn : kAttention;
}

}  // namespace

void ShowParams(Subject& subject, Notebook& notebook) {
  const Model& model = subject.model();
  notebook.Title("Parameters: where the numbers are");
  std::array<Component, kNumComponents> components = ByConfig(subject.config());
  ForEachWeight(subject.config(), model.weights(),
                [&](const WeightSpec& spec, const Tensor& tensor) {
                  Component& component = components[ComponentOf(spec.safetensors)];
                  component.in_file += tensor.n_elements();
                  component.file_bytes += tensor.n_bytes();
                });

  int64_t total = 0;
  for (const Component& component : components) total += component.by_config;
  notebook.Print("           component       parameters  share  bits each  by the config\n");
  bool same = true;
  Json& figures = notebook.Figures("params");
  for (const auto& [name, formula, by_config, in_file, bytes] : components) {
    same = same && by_config == in_file;
    const double bits =
        in_file == 0 ? 0 : 8 * static_cast<double>(bytes) / static_cast<double>(in_file);
    figures[name] = {{"by_config", by_config}, {"in_file", in_file}, {"bytes", bytes}};
    notebook.Print("           {:12}  {:12}  {:4.1f}%  {:9.2f}  {}\n", name, by_config,
                   100 * static_cast<double>(by_config) / static_cast<double>(total), bits,
                   formula);
  }
  notebook.Print("           {:12}  {:12}\n", "all", total);

  // The file itself is asked, not our table of weights: all of its tensors, but for those that
  // repeat what is elsewhere (RoPE's frequencies, which follow from the config; a tied matrix).
  int64_t in_file = 0;
  for (const std::string_view tensor : model.checkpoint()->names()) {
    const bool repeats = tensor == "rope_freqs.weight" || tensor.ends_with("inv_freq") ||
                         (subject.config().tied_embeddings && tensor == "lm_head.weight");
    if (!repeats) in_file += model.checkpoint()->Find(tensor)->n_elements();
  }
  notebook.AddCheck("parameters: each component has in the file what the config says", same,
                    fmt::format("{} components", components.size()));
  notebook.AddCheck("parameters: the config accounts for every number in the file",
                    total == in_file, fmt::format("{} and {}", total, in_file));
}

}  // namespace aios
