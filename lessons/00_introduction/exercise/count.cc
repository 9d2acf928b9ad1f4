#include "count.h"

#include <algorithm>

namespace aios::exercise {

// BEGIN SOLUTION
namespace {

// The weights of a layer's matrices.
int64_t LayerMatrices(const Config& c) {
  const int64_t attention = c.d_model * c.head_dim * (2 * c.n_heads + 2 * c.n_kv_heads);
  const int64_t feed_forward = 3 * c.d_model * c.d_ff;
  return attention + feed_forward;
}

}  // namespace

// END SOLUTION
int64_t CountParameters(const Config& config) {
  // BEGIN SOLUTION
  // STUB: return 0;
  const int64_t layer = LayerMatrices(config) + 2 * config.d_model;
  const int64_t table = config.vocab_size * config.d_model;
  const int64_t n_tables = config.tied_embeddings ? 1 : 2;
  return n_tables * table + config.n_layers * layer + config.d_model;
  // END SOLUTION
}

int64_t WeightBytesPerToken(const Config& config, int64_t bytes_per_weight) {
  // BEGIN SOLUTION
  // STUB: return 0;
  const int64_t table = config.vocab_size * config.d_model;
  const int64_t not_read = config.tied_embeddings ? 0 : table;
  return (CountParameters(config) - not_read) * bytes_per_weight;
  // END SOLUTION
}

int64_t KvBytesPerToken(const Config& config, int64_t bytes_per_number) {
  // BEGIN SOLUTION
  // STUB: return 0;
  return 2 * config.n_layers * config.n_kv_heads * config.head_dim * bytes_per_number;
  // END SOLUTION
}

int64_t DecodeFlops(const Config& config, int64_t n_context) {
  // BEGIN SOLUTION
  // STUB: return 0;
  const int64_t output = config.vocab_size * config.d_model;
  const int64_t matrices = config.n_layers * LayerMatrices(config) + output;
  const int64_t attention = config.n_layers * config.n_heads * n_context * 4 * config.head_dim;
  return 2 * matrices + attention;
  // END SOLUTION
}

double LeastSeconds(int64_t bytes, int64_t flops, const Machine& machine) {
  // BEGIN SOLUTION
  // STUB: return 0;
  return std::max(static_cast<double>(bytes) / machine.bytes_per_second,
                  static_cast<double>(flops) / machine.flops_per_second);
  // END SOLUTION
}

}  // namespace aios::exercise
