// Exercise: causal attention with grouped heads.
//
// Token t of head h compares its query with the keys of all tokens up to t, itself included; a
// softmax makes probabilities of the scores; the output is the mean of the values, weighed by them:
//
//   score[u] = dot(q[t, h], k[u, g]) / sqrt(head_dim),  u = 0 .. t
//   p        = softmax(score)
//   out[t, h] = sum over u of p[u] * v[u, g]
//
// There are fewer key-value heads than query heads: each serves n_heads / n_kv_heads query heads
// that stand beside one another, g = h / (n_heads / n_kv_heads). With 6 heads and 2 key-value
// heads, query heads 0, 1, 2 use key-value head 0, and 3, 4, 5 use 1.
//
// By hand, with one head of size 1: q = [1, 1], k = [0, ln 3], v = [10, 20]. Token 0 sees itself
// alone: out = 10. Token 1 has the scores 0 and ln 3, p = [1/4, 3/4], out = 17.5.
//
// Scores may be as large as 1000: exp of that is infinite, so subtract the largest one first.
#pragma once

#include <cstddef>
#include <span>

namespace aios::exercise {

struct AttentionShape {
  int n_tokens;
  int n_heads;
  int n_kv_heads;  // divides n_heads
  int head_dim;
};

//   q, out  [n_tokens, n_heads, head_dim]
//   k, v    [n_tokens, n_kv_heads, head_dim]
void Attention(std::span<const float> q, std::span<const float> k, std::span<const float> v,
               const AttentionShape& shape, std::span<float> out);

}  // namespace aios::exercise
