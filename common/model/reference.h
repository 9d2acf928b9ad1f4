// The reference model: the forward pass of a transformer as the papers state it, in f32, with
// nothing but matrix products.
//
// It keeps no cache: it computes the whole sequence each time. It is what lesson 02 runs and
// explains, and the oracle that every faster implementation in this project is held against.
//
// Llama: Touvron et al. 2023, https://arxiv.org/abs/2302.13971; Qwen3:
// https://arxiv.org/abs/2505.09388.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/model/config.h"
#include "common/model/weights.h"

namespace aios {

// What one layer computed, for those who want to look on. Row-major.
struct LayerTrace {
  std::vector<float> residual;         // [n_tokens, d_model]: the residual stream as it comes in,
  std::vector<float> after_attention;  // [n_tokens, d_model]: with what attention added,
  std::vector<float> after_ffn;        // [n_tokens, d_model]: and what the feed-forward block did
  std::vector<float> attn_weights;     // [n_heads, n_tokens, n_tokens]: of (head, query, key)
  std::vector<float> gate;             // [n_tokens, d_ff]: before silu
  std::vector<float> ffn_hidden;       // [n_tokens, d_ff]: silu(gate) * up, which w_down reads
};

class ReferenceModel {
 public:
  // Dequantizes all weights to f32: 4 bytes a parameter. The weights are not needed afterwards.
  // Throws InputError if they do not fit the memory.
  // `n_threads`: 0 for one for each core; their number does not change a bit of the results.
  ReferenceModel(const ModelConfig& config, const Weights& weights, int n_threads = 0);
  ~ReferenceModel();
  ReferenceModel(ReferenceModel&&) noexcept;
  ReferenceModel& operator=(ReferenceModel&&) noexcept;

  // Scores for what follows each of the last `n_last` tokens: [n_last, vocab_size], row-major. Just
  // one row is wanted to continue a text, more of them to see what the model would have said along
  // the way. `tokens`: at least n_last, at most config.max_context, each in [0, vocab_size);
  // otherwise InputError. Thread-safe.
  // `trace`: where to keep what each layer computed, one entry a layer; nullptr: nowhere.
  std::vector<float> Forward(std::span<const int32_t> tokens, int64_t n_last = 1,
                             std::vector<LayerTrace>* trace = nullptr) const;

  // What a forward pass ends with: the final norm and the output matrix. residual: [n, d_model],
  // for any n -> [n, vocab_size]. Of the residual stream after the last layer it gives Forward's
  // scores; of that after an earlier one, what the model would say if it ended there. Thread-safe.
  std::vector<float> Logits(std::span<const float> residual) const;

  // Bytes of the f32 weights, all of which a forward pass reads.
  int64_t weight_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

}  // namespace aios
