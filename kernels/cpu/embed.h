// Embed: rows of the embedding table by token id.
#pragma once

#include <cstdint>

#include "kernels/formats.h"

namespace aios::kernels::cpu {

struct EmbedArgs {
  Format format = Format::kF32;
  const void* table = nullptr;  // [vocab_size, d_model] as the file holds it, at any address
  int64_t vocab_size = 0;
  int64_t d_model = 0;              // a multiple of the format's block size
  const int32_t* tokens = nullptr;  // [n_tokens]
  float* out = nullptr;             // [n_tokens, d_model]
};

// Writes rows [begin, end) of out. Thread-safe for ranges that do not overlap.
// Throws std::invalid_argument for a token outside the table or a d_model that splits a block.
void Embed(const EmbedArgs& args, int64_t begin, int64_t end);

}  // namespace aios::kernels::cpu
