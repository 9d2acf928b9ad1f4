#include "common/model/weights.h"

#include <array>
#include <unordered_set>

#include "common/base/error.h"

namespace aios {
namespace {

bool Always(const ModelConfig&) { return true; }
bool IfQkvBias(const ModelConfig& config) { return config.qkv_bias; }
bool IfQkNorm(const ModelConfig& config) { return config.qk_norm; }
bool IfNotTied(const ModelConfig& config) { return !config.tied_embeddings; }

using L = LayerWeights;
using W = Weights;

// clang-format off
constexpr std::array<WeightSpec, 17> kTable = {{
    // GGUF, safetensors, of a layer, of the model, rows, cols, wanted
    {"token_embd.weight",         "model.embed_tokens.weight",                       nullptr,       &W::token_embedding, Dim::kVocabSize, Dim::kDModel,  Always},
    {"output_norm.weight",        "model.norm.weight",                               nullptr,       &W::output_norm,     Dim::kNone,      Dim::kDModel,  Always},
    {"output.weight",             "lm_head.weight",                                  nullptr,       &W::output,          Dim::kVocabSize, Dim::kDModel,  IfNotTied},

    {"blk.{}.attn_norm.weight",   "model.layers.{}.input_layernorm.weight",          &L::attn_norm, nullptr,             Dim::kNone,      Dim::kDModel,  Always},
    {"blk.{}.attn_q.weight",      "model.layers.{}.self_attn.q_proj.weight",         &L::wq,        nullptr,             Dim::kQDim,      Dim::kDModel,  Always},
    {"blk.{}.attn_k.weight",      "model.layers.{}.self_attn.k_proj.weight",         &L::wk,        nullptr,             Dim::kKvDim,     Dim::kDModel,  Always},
    {"blk.{}.attn_v.weight",      "model.layers.{}.self_attn.v_proj.weight",         &L::wv,        nullptr,             Dim::kKvDim,     Dim::kDModel,  Always},
    {"blk.{}.attn_q.bias",        "model.layers.{}.self_attn.q_proj.bias",           &L::bq,        nullptr,             Dim::kNone,      Dim::kQDim,    IfQkvBias},
    {"blk.{}.attn_k.bias",        "model.layers.{}.self_attn.k_proj.bias",           &L::bk,        nullptr,             Dim::kNone,      Dim::kKvDim,   IfQkvBias},
    {"blk.{}.attn_v.bias",        "model.layers.{}.self_attn.v_proj.bias",           &L::bv,        nullptr,             Dim::kNone,      Dim::kKvDim,   IfQkvBias},
    {"blk.{}.attn_q_norm.weight", "model.layers.{}.self_attn.q_norm.weight",         &L::q_norm,    nullptr,             Dim::kNone,      Dim::kHeadDim, IfQkNorm},
    {"blk.{}.attn_k_norm.weight", "model.layers.{}.self_attn.k_norm.weight",         &L::k_norm,    nullptr,             Dim::kNone,      Dim::kHeadDim, IfQkNorm},
    {"blk.{}.attn_output.weight", "model.layers.{}.self_attn.o_proj.weight",         &L::wo,        nullptr,             Dim::kDModel,    Dim::kQDim,    Always},
    {"blk.{}.ffn_norm.weight",    "model.layers.{}.post_attention_layernorm.weight", &L::ffn_norm,  nullptr,             Dim::kNone,      Dim::kDModel,  Always},
    {"blk.{}.ffn_gate.weight",    "model.layers.{}.mlp.gate_proj.weight",            &L::w_gate,    nullptr,             Dim::kDFf,       Dim::kDModel,  Always},
    {"blk.{}.ffn_up.weight",      "model.layers.{}.mlp.up_proj.weight",              &L::w_up,      nullptr,             Dim::kDFf,       Dim::kDModel,  Always},
    {"blk.{}.ffn_down.weight",    "model.layers.{}.mlp.down_proj.weight",            &L::w_down,    nullptr,             Dim::kDModel,    Dim::kDFf,     Always},
}};
// clang-format on

int64_t Size(Dim dim, const ModelConfig& config) {
  switch (dim) {
    case Dim::kNone:
      break;
    case Dim::kVocabSize:
      return config.vocab_size;
    case Dim::kDModel:
      return config.d_model;
    case Dim::kQDim:
      return config.q_dim();
    case Dim::kKvDim:
      return config.kv_dim();
    case Dim::kHeadDim:
      return config.head_dim;
    case Dim::kDFf:
      return config.d_ff;
  }
  return 1;
}

// Tensors that some files carry and no forward pass needs.
bool IsRedundant(std::string_view name, const ModelConfig& config) {
  // RoPE's frequencies, which the config gives.
  if (name.ends_with(".rotary_emb.inv_freq")) return true;
  // A second copy of the embedding.
  return config.tied_embeddings && name == "lm_head.weight";
}

}  // namespace

Shape WeightSpec::shape(const ModelConfig& config) const {
  if (rows == Dim::kNone) return {Size(cols, config)};
  return {Size(rows, config), Size(cols, config)};
}

std::span<const WeightSpec> WeightTable() { return kTable; }

Weights BindWeights(const Checkpoint& checkpoint, const ModelConfig& config) {
  const bool is_gguf = checkpoint.gguf() != nullptr;
  const std::string source = checkpoint.path().string();
  std::unordered_set<std::string> used;

  const auto bind = [&](const WeightSpec& spec, int64_t layer) {
    const std::string name =
        fmt::format(fmt::runtime(is_gguf ? spec.gguf : spec.safetensors), layer);
    const Tensor* tensor = checkpoint.Find(name);
    if (tensor == nullptr) throw InputError("{}: the tensor {} is missing", source, Quoted(name));
    const Shape expected = spec.shape(config);
    if (tensor->shape() != expected) {
      throw InputError("{}: the tensor {} is {}, but the config makes it {}", source, Quoted(name),
                       tensor->shape().ToString(), expected.ToString());
    }
    used.insert(name);
    return *tensor;
  };

  Weights weights;
  // The layers that are there bound the loop, not the number that the config claims.
  for (int64_t i = 0; i < config.n_layers; ++i) {
    LayerWeights& layer = weights.layers.emplace_back();
    for (const WeightSpec& spec : kTable) {
      if (spec.layer != nullptr && spec.wanted(config)) layer.*spec.layer = bind(spec, i);
    }
  }
  for (const WeightSpec& spec : kTable) {
    if (spec.global != nullptr && spec.wanted(config)) weights.*spec.global = bind(spec, 0);
  }
  if (config.tied_embeddings) weights.output = weights.token_embedding;

  constexpr const char* kRopeFactors = "rope_freqs.weight";
  if (const Tensor* factors = is_gguf ? checkpoint.Find(kRopeFactors) : nullptr) {
    if (factors->shape() != Shape{config.head_dim / 2}) {
      throw InputError("{}: the tensor '{}' is {}, but the config makes it [{}]", source,
                       kRopeFactors, factors->shape().ToString(), config.head_dim / 2);
    }
    weights.rope_factors = *factors;
    used.insert(kRopeFactors);
  }

  for (const std::string_view name : checkpoint.names()) {
    if (!used.contains(std::string(name)) && !IsRedundant(name, config)) {
      throw UnsupportedError(
          "{}: the tensor {} belongs to a feature that {} models do not have here", source,
          Quoted(name), config.architecture);
    }
  }
  return weights;
}

}  // namespace aios
