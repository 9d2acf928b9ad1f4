// ModelConfig: what a forward pass must know about a model, as features rather than names, so that
// one forward pass serves every family. Llama, Mistral, Qwen2 and Qwen3 differ in which of these
// are on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/loader/checkpoint.h"
#include "kernels/rope.h"

namespace aios {

// Which two numbers of a head rotary position embedding turns together depends on who wrote the
// file, not on the model.
using kernels::RopePairing;

// How Llama 3.1 stretches RoPE to longer contexts: wavelengths above original_context /
// low_freq_factor are slowed by `factor`, those below original_context / high_freq_factor stay, and
// between them it blends.
struct Llama3RopeScaling {
  double factor = 1;
  double low_freq_factor = 1;
  double high_freq_factor = 1;
  double original_context = 0;  // tokens
};

struct RopeConfig {
  double theta = 10000;
  RopePairing pairing = RopePairing::kHalves;
  double linear_factor = 1;  // positions are divided by it
  std::optional<Llama3RopeScaling> llama3 = {};
};

// Dimensions: see the glossary in common/tensor/shape.h.
struct ModelConfig {
  std::string name = {};          // for people: "SmolLM2 135M Instruct"
  std::string architecture = {};  // "llama", "mistral", "qwen2", "qwen3"
  int64_t d_model = 0;
  int64_t n_layers = 0;
  int64_t n_heads = 0;
  int64_t n_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t d_ff = 0;
  int64_t vocab_size = 0;
  int64_t max_context = 0;  // tokens, prompt and answer together
  double norm_eps = 0;
  RopeConfig rope;
  bool tied_embeddings = false;       // the output matrix is the embedding matrix
  bool qkv_bias = false;              // Qwen2: q, k and v have a bias
  bool qk_norm = false;               // Qwen3: RMSNorm of each q and k head, before RoPE
  std::vector<int32_t> eos_ids = {};  // tokens that end an answer

  int64_t q_dim() const { return n_heads * head_dim; }
  int64_t kv_dim() const { return n_kv_heads * head_dim; }
};

// The config of a checkpoint, from GGUF metadata or from config.json in its older or newer form.
// Throws InputError for a missing, malformed or absurd setting, UnsupportedError for a family or a
// feature that the forward pass does not have.
ModelConfig ReadModelConfig(const Checkpoint& checkpoint);

// Throws InputError, which begins with `source`, unless every number is one that a model can have:
// this bounds what any later computation may allocate or loop over.
void CheckModelConfig(const ModelConfig& config, const std::string& source);

}  // namespace aios
