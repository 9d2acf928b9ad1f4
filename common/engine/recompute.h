// Recompute: the engine's forward pass for a loop that remembers nothing.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/backend/backend.h"
#include "common/mm/kv_storage.h"
#include "common/model/model.h"
#include "common/model/transformer.h"
#include "common/text/tokenizer.h"

namespace aios {

// A NextLogits (generate.h) over a Transformer that computes the whole sequence at each call. The
// forward pass writes its keys and values to pages as ever; here each call begins at position 0
// again and overwrites them. A cache that is kept from call to call is lesson 04's.
class Recompute {
 public:
  // max_context: the longest sequence that it will be asked about. The backend and the model must
  // outlive it. Throws InputError if the backend's memory is too small.
  Recompute(Backend& backend, const Model& model, int64_t max_context);

  // The logits [vocab_size] of what follows the sequence.
  std::vector<float> operator()(std::span<const TokenId> sequence);
  // The logits of its last n_last tokens, [n_last, vocab_size].
  std::vector<float> Forward(std::span<const TokenId> sequence, int64_t n_last);

  int64_t bytes_per_token() const { return transformer_.bytes_per_token(); }

 private:
  // A long prompt goes through in chunks of this many rows: activations take memory for a chunk,
  // not for a context, and products have long been at full speed.
  static constexpr int64_t kMaxChunk = 2048;
  static constexpr int64_t kMaxLogitRows = 64;

  static BatchLimits LimitsFor(int64_t max_context);

  Backend& backend_;
  int64_t vocab_size_;
  BatchLimits limits_;
  Transformer transformer_;
  KvStorage kv_;
};

}  // namespace aios
