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

class ReferenceModel {
 public:
  // Dequantizes all weights to f32: 4 bytes a parameter. The weights are not needed afterwards.
  // Throws InputError if they do not fit the memory.
  ReferenceModel(const ModelConfig& config, const Weights& weights);
  ~ReferenceModel();
  ReferenceModel(ReferenceModel&&) noexcept;
  ReferenceModel& operator=(ReferenceModel&&) noexcept;

  // Logits for the token that follows the last one: vocab_size numbers.
  // `tokens`: at least one, at most config.max_context, each in [0, vocab_size); otherwise
  // InputError. Thread-safe. Uses OpenMP's threads (see SetThreads).
  std::vector<float> Forward(std::span<const int32_t> tokens) const;

  // Logits after each token: [n_tokens, vocab_size], row-major.
  std::vector<float> ForwardAll(std::span<const int32_t> tokens) const;

  // Bytes of the f32 weights, all of which a forward pass reads.
  int64_t weight_bytes() const;

  // Sets the number of threads for all reference models of the process.
  static void SetThreads(int n_threads);

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

}  // namespace aios
