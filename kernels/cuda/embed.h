// Embed: rows of the embedding table by token id, into the residual stream.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/formats.h"

namespace aios::kernels::cuda {

struct EmbedArgs {
  Format table_dtype = Format::kBF16;  // kBF16 or kF32
  const void* table = nullptr;         // [vocab_size, d_model]
  const int32_t* tokens = nullptr;     // [n_tokens], each in [0, vocab_size) or below 0: see below

  // A token id below 0 stands for the token that row -1 - id of the last Sample chose: so a step
  // can be launched before the host knows the tokens that it continues. [rows of that Sample], its
  // `tokens`; null if no id is below 0. A kNoToken in it counts as token 0 here: the host, when it
  // reads what was sampled, raises the error.
  const int32_t* sampled = nullptr;
  int64_t n_tokens = 0;
  int64_t d_model = 0;
  float* out = nullptr;  // [n_tokens, d_model] f32

  // Start while the kernel before on the stream still runs, and wait for it (kernels/cuda/pdl.cuh).
  bool overlap_previous = false;
};

// out[t] = table[tokens[t]], exactly. All pointers are to device memory.
//
// The kernel trusts the tokens: it is the host, which has made them or checked them, that knows the
// vocabulary. A token outside the table reads memory outside the table.
//
// Fast where table and out are aligned to 16 bytes and d_model is a multiple of 8 (f32: of 4).
// Asynchronous on `stream`, may be captured into a graph. Thread-safe. Throws std::invalid_argument
// for another dtype, CudaError if the launch fails.
void Embed(const EmbedArgs& args, cudaStream_t stream);

}  // namespace aios::kernels::cuda
