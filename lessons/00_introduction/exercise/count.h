// Exercise: what a model costs, from the numbers of its config alone.
//
// A Llama-like model has these weights:
//
//   embedding      [vocab_size, d_model]
//   in each layer  wq [n_heads * head_dim, d_model], wk and wv [n_kv_heads * head_dim, d_model],
//                  wo [d_model, n_heads * head_dim]; gate and up [d_ff, d_model], down [d_model,
//                  d_ff]; two norms [d_model]
//   at the end     a norm [d_model], and the output matrix [vocab_size, d_model]; if the embeddings
//                  are tied there is none, and the embedding serves as output matrix too
//
// By hand: vocab_size 10, d_model 4, n_layers 1, n_heads 2, n_kv_heads 1, head_dim 3, d_ff 5, tied.
//   parameters  40 + (24 + 12 + 12 + 24) + 3 * 20 + 2 * 4 + 4 = 184; 40 more if not tied
//   bytes read for a token, 2 bytes a weight  184 * 2 = 368; not tied 368 too
//   KV cache bytes a token, 2 bytes a number  2 * 1 * 1 * 3 * 2 = 12
//   FLOPs of a token that sees 7  2 * (72 + 60 + 40) + 4 * 1 * 2 * 3 * 7 = 512
//   least seconds for 368 bytes and 512 FLOPs, at 92 bytes and 256 FLOPs a second  4: memory
//   decides
#pragma once

#include <cstddef>
#include <cstdint>

namespace aios::exercise {

struct Config {
  int64_t vocab_size;
  int64_t d_model;
  int64_t n_layers;
  int64_t n_heads;
  int64_t n_kv_heads;  // keys and values of one serve n_heads / n_kv_heads query heads
  int64_t head_dim;    // need not be d_model / n_heads
  int64_t d_ff;
  bool tied_embeddings;
};

// All weights of the model.
int64_t CountParameters(const Config& config);

// The bytes of weights that one decode step of one token reads: all, each once, but for an
// embedding that is not the output matrix as well; of that it reads a single row, which we leave
// out.
int64_t WeightBytesPerToken(const Config& config, int64_t bytes_per_weight);

// The bytes that each token of the context takes in the KV cache: its keys and its values in all
// layers.
int64_t KvBytesPerToken(const Config& config, int64_t bytes_per_number);

// The FLOPs of one decode step of one token that sees n_context tokens, itself included. Counted
// are the matrices, a multiplication and an addition for each weight, the output matrix among them
// (the embedding is only looked up); and in each layer, for each query head and each token seen,
// the product of query and key and the sum of the values, 2 * head_dim FLOPs each.
int64_t DecodeFlops(const Config& config, int64_t n_context);

// What a machine can do: the two limits of the roofline.
struct Machine {
  double bytes_per_second;
  double flops_per_second;
};

// The least seconds for a step that reads `bytes` and computes `flops`. The machine does both at
// the same time.
double LeastSeconds(int64_t bytes, int64_t flops, const Machine& machine);

}  // namespace aios::exercise
