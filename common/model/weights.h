// Weights: the tensors of a model under the names that the forward pass uses, whatever the file
// calls them.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "common/loader/checkpoint.h"
#include "common/model/config.h"
#include "common/tensor/tensor.h"

namespace aios {

// One transformer layer. A matrix [d_out, d_in] maps x [n_tokens, d_in] to x * W^T [n_tokens,
// d_out].
struct LayerWeights {
  Tensor attn_norm;   // [d_model]
  Tensor wq;          // [q_dim, d_model]
  Tensor wk;          // [kv_dim, d_model]
  Tensor wv;          // [kv_dim, d_model]
  Tensor bq, bk, bv;  // [q_dim], [kv_dim], [kv_dim]; only with qkv_bias
  Tensor q_norm;      // [head_dim]; only with qk_norm
  Tensor k_norm;      // [head_dim]; only with qk_norm
  Tensor wo;          // [d_model, q_dim]
  Tensor ffn_norm;    // [d_model]
  Tensor w_gate;      // [d_ff, d_model]
  Tensor w_up;        // [d_ff, d_model]
  Tensor w_down;      // [d_model, d_ff]
};

// Views: the checkpoint, or whoever made the tensors, must outlive them. A tensor that the config
// does not call for has no data.
struct Weights {
  Tensor token_embedding;  // [vocab_size, d_model]
  std::vector<LayerWeights> layers;
  Tensor output_norm;   // [d_model]
  Tensor output;        // [vocab_size, d_model]; the same view as token_embedding if tied
  Tensor rope_factors;  // [head_dim / 2] or no data: what each RoPE frequency is divided by (Llama
                        // 3 in GGUF)
};

// A dimension of a weight, in words of the config.
enum class Dim : uint8_t { kNone, kVocabSize, kDModel, kQDim, kKvDim, kHeadDim, kDFf };

// Which weights a model has: one row for each, with its name in both kinds of file and its shape.
struct WeightSpec {
  std::string_view gguf;         // "blk.{}.attn_q.weight"; {} is the layer
  std::string_view safetensors;  // "model.layers.{}.self_attn.q_proj.weight"
  Tensor LayerWeights::*layer;   // where it goes: one of a layer's ...
  Tensor Weights::*global;       // ... or one of the model's
  Dim rows;                      // of a matrix [rows, cols]; kNone for a vector [cols]
  Dim cols;
  bool (*wanted)(const ModelConfig&);  // whether a model of this config has it

  Shape shape(const ModelConfig& config) const;
};
std::span<const WeightSpec> WeightTable();

// Calls visit(spec, tensor) for each weight that a model of this config has; a tied matrix is
// visited once.
template <typename AnyWeights, typename Visit>  // AnyWeights: Weights or const Weights
void ForEachWeight(const ModelConfig& config, AnyWeights& weights, Visit&& visit) {
  for (const WeightSpec& spec : WeightTable()) {
    if (!spec.wanted(config)) continue;
    if (spec.global != nullptr) {
      visit(spec, weights.*spec.global);
    } else {
      for (auto& layer : weights.layers) visit(spec, layer.*spec.layer);
    }
  }
}

// Binds a checkpoint's tensors. Throws InputError for a tensor that is missing or of another shape
// than the config says, UnsupportedError for one that the forward pass would not use: it belongs to
// a feature that we do not have.
Weights BindWeights(const Checkpoint& checkpoint, const ModelConfig& config);

}  // namespace aios
