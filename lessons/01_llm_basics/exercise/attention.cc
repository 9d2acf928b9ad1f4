#include "attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace aios::exercise {

void Attention(std::span<const float> q, std::span<const float> k, std::span<const float> v,
               const AttentionShape& shape, std::span<float> out) {
  // BEGIN SOLUTION
  const auto [n_tokens, n_heads, n_kv_heads, head_dim] = shape;
  const float scale = 1 / std::sqrt(static_cast<float>(head_dim));
  std::vector<float> p(n_tokens);
  for (int t = 0; t < n_tokens; ++t) {
    const int n_seen = t + 1;
    for (int h = 0; h < n_heads; ++h) {
      const int g = h / (n_heads / n_kv_heads);
      const float* query = &q[(t * n_heads + h) * head_dim];
      float max = -INFINITY;
      for (int u = 0; u < n_seen; ++u) {
        const float* key = &k[(u * n_kv_heads + g) * head_dim];
        float dot = 0;
        for (int d = 0; d < head_dim; ++d) dot += query[d] * key[d];
        p[u] = dot * scale;
        max = std::max(max, p[u]);
      }
      float sum = 0;
      for (int u = 0; u < n_seen; ++u) sum += p[u] = std::exp(p[u] - max);

      float* result = &out[(t * n_heads + h) * head_dim];
      std::fill_n(result, head_dim, 0.0F);
      for (int u = 0; u < n_seen; ++u) {
        const float* value = &v[(u * n_kv_heads + g) * head_dim];
        for (int d = 0; d < head_dim; ++d) result[d] += p[u] / sum * value[d];
      }
    }
  }
  // END SOLUTION
}

}  // namespace aios::exercise
