// Grades Attention.
#include <algorithm>
#include <cmath>

#include "attention.h"
#include "tools/exercises/grader.h"

namespace aios::exercise {
namespace {

struct Ways {
  bool not_causal = false;
  bool not_itself = false;
  bool other_groups = false;  // h % n_kv_heads
  bool no_scale = false;
  bool no_root = false;  // divides by head_dim
  bool no_sum = false;   // does not divide by the sum of exp
};

std::vector<float> Attend(const std::vector<float>& q, const std::vector<float>& k,
                          const std::vector<float>& v, const AttentionShape& shape,
                          const Ways& ways) {
  const auto [n_tokens, n_heads, n_kv_heads, head_dim] = shape;
  const double scale = ways.no_scale  ? 1
                       : ways.no_root ? 1.0 / head_dim
                                      : 1 / std::sqrt(double(head_dim));
  std::vector<float> out;
  for (int t = 0; t < n_tokens; ++t) {
    for (int h = 0; h < n_heads; ++h) {
      const int g = ways.other_groups ? h % n_kv_heads : h / (n_heads / n_kv_heads);
      const int end = ways.not_causal ? n_tokens : ways.not_itself && t > 0 ? t : t + 1;
      std::vector<double> p;
      for (int u = 0; u < end; ++u) {
        double dot = 0;
        for (int d = 0; d < head_dim; ++d) {
          dot +=
              double{q[(t * n_heads + h) * head_dim + d]} * k[(u * n_kv_heads + g) * head_dim + d];
        }
        p.push_back(dot * scale);
      }
      const double max = ways.no_sum ? 0 : *std::max_element(p.begin(), p.end());
      double sum = 0;
      for (double& score : p) sum += score = std::exp(score - max);
      for (int d = 0; d < head_dim; ++d) {
        double result = 0;
        for (int u = 0; u < end; ++u) {
          result += p[u] / (ways.no_sum ? 1 : sum) * v[(u * n_kv_heads + g) * head_dim + d];
        }
        out.push_back(static_cast<float>(result));
      }
    }
  }
  return out;
}

void Check(const std::string& name, const std::vector<float>& q, const std::vector<float>& k,
           const std::vector<float>& v, const AttentionShape& shape) {
  BeginCase(name + Format("%d tokens, %d heads, %d key-value heads, head_dim %d", shape.n_tokens,
                          shape.n_heads, shape.n_kv_heads, shape.head_dim));
  const Fenced<float> fenced_q(q);
  const Fenced<float> fenced_k(k);
  const Fenced<float> fenced_v(v);
  Fenced<float> out(Untouched(q.size()));
  Attention({fenced_q.data(), q.size()}, {fenced_k.data(), k.size()}, {fenced_v.data(), v.size()},
            shape, out.span());
  out.CheckBefore();
  const auto attend = [&](const Ways& ways) { return Attend(q, k, v, shape, ways); };
  const std::vector<float> right = attend({});
  for (const float number : out.span()) {
    if (!std::isnan(number) && !std::isinf(number)) continue;
    Fail("should be " + Text(right) + "\nyours is  " + Text(out.span()),
         "exp of a large score is infinite: subtract the largest score first");
  }
  ExpectNear(
      right, out.span(),
      {.hint = "print scores and probabilities of token 1, head 0: there are two of each",
       .mistakes = {
           {"a token must not see those after it", attend({.not_causal = true})},
           {"a token sees itself too, not only those before it", attend({.not_itself = true})},
           {"are the scores divided by sqrt(head_dim)?", attend({.no_scale = true})},
           {"the scores are divided by the root of head_dim, not by head_dim",
            attend({.no_root = true})},
           {"heads that stand beside one another share a key-value head: h / (n_heads / "
            "n_kv_heads)",
            attend({.other_groups = true})},
           {"are the probabilities divided by their sum?", attend({.no_sum = true})},
       }});
}

}  // namespace
}  // namespace aios::exercise

int main() {
  using namespace aios::exercise;
  Check("the header's example: ", {1, 1}, {0, std::log(3.0F)}, {10, 20}, {2, 1, 1, 1});
  Check("large scores: ", {1000, 1000}, {1, 0.999F}, {10, 20}, {2, 1, 1, 1});
  Check("very negative scores: ", {-1000, -1000}, {1, 0.999F}, {10, 20}, {2, 1, 1, 1});
  Random random(9);
  for (const AttentionShape& shape :
       {AttentionShape{1, 1, 1, 4}, {3, 1, 1, 4}, {3, 2, 2, 3}, {4, 6, 2, 5}, {9, 9, 3, 64}}) {
    const auto numbers = [&](int n_heads) {
      return random.Floats(static_cast<size_t>(shape.n_tokens * n_heads * shape.head_dim));
    };
    const std::vector<float> q = numbers(shape.n_heads);
    const std::vector<float> k = numbers(shape.n_kv_heads);
    Check("random: ", q, k, numbers(shape.n_kv_heads), shape);
  }
  return Passed();
}
