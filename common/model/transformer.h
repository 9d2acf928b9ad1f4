// Transformer: the engine's forward pass, over any backend, any ragged batch and a paged KV cache.
//
// The mathematics is the reference model's (reference.h), which is what it is tested against. What
// differs: keys and values of earlier steps come from the cache, q, k and v are one product, gate
// and up are one product, and where the numbers are and how they are computed is the backend's
// affair.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/backend/backend.h"
#include "common/model/config.h"
#include "common/model/weights.h"

namespace aios {

class Transformer {
 public:
  // Hands the weights to the backend and takes scratch memory for batches up to the limits; nothing
  // is allocated afterwards. Positions go up to limits.max_pages * page_size. The backend must
  // outlive it; so must the weights' memory, unless the backend copies them
  // (Backend::PrepareMatrix). Throws InputError, before anything is copied, if the backend has not
  // enough memory.
  Transformer(Backend& backend, const ModelConfig& config, const Weights& weights,
              const BatchLimits& limits, int64_t page_size);

  // Bytes of the backend's memory that it would take.
  static int64_t BytesFor(const Backend& backend, const ModelConfig& config, const Weights& weights,
                          const BatchLimits& limits, int64_t page_size);

  // Does a step. The scores for what follows each of the batch's logit_rows: [n_logit_rows,
  // vocab_size] f32, in the backend's memory, valid until the next call; and, if the batch has
  // `sampling`, the choices for Backend::TakeSampled. kv: one for each layer; the keys and values
  // of the batch's tokens are written to it, those of earlier positions are read.
  MutableTensor Forward(const Batch& batch, std::span<const KvPages> kv);

  const ModelConfig& config() const { return config_; }
  const BatchLimits& limits() const { return limits_; }
  // Bytes of weights that decoding one token reads at least.
  int64_t bytes_per_token() const;

 private:
  struct Layer {
    Weight attn_norm;       // [d_model]
    Weight qkv;             // [q_dim + 2 kv_dim, d_model]
    Weight qkv_bias;        // [q_dim + 2 kv_dim] or empty
    Weight q_norm, k_norm;  // [head_dim] or empty
    Weight out;             // [d_model, q_dim]
    Weight ffn_norm;        // [d_model]
    Weight gate_up;         // [2 d_ff, d_model]
    Weight down;            // [d_model, d_ff]
  };

  // Activations, with room for limits_.n_tokens rows. T: the backend's activation dtype.
  struct Scratch {
    Buffer memory;
    MutableTensor x;       // f32 [n_tokens, d_model]: the residual stream
    MutableTensor qkv;     // T [n_tokens, q_dim + 2 kv_dim]
    MutableTensor heads;   // T [n_tokens, q_dim]: what attention gives
    MutableTensor ff;      // T [n_tokens, d_ff]
    MutableTensor last;    // f32 [n_logit_rows, d_model]: of x
    MutableTensor logits;  // f32 [n_logit_rows, vocab_size]
  };

  static int64_t CutScratch(const Backend& backend, const ModelConfig& config,
                            const BatchLimits& limits, void* memory, Scratch& scratch);
  void PrepareWeights(const Weights& weights);
  AttentionParams AttentionOf(const Layer& layer) const;
  Norm NormOf(const Weight& weight) const { return {weight, static_cast<float>(config_.norm_eps)}; }
  void Enqueue(const BatchView& rows, std::span<const KvPages> kv);

  Backend& backend_;
  ModelConfig config_;
  BatchLimits limits_;
  Weight embedding_;  // [vocab_size, d_model]
  std::vector<Layer> layers_;
  Weight output_norm_;    // [d_model]
  Weight untied_output_;  // [vocab_size, d_model], empty if tied
  Weight cosine_, sine_;  // [max_position, head_dim / 2]
  Scratch scratch_;
};

}  // namespace aios
