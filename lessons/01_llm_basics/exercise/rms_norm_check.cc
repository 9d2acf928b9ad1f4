// Grades RmsNorm.
#include <cmath>

#include "rms_norm.h"
#include "tools/exercises/grader.h"

namespace aios::exercise {
namespace {

struct Ways {
  bool sum = false;  // of squares, not their mean
  bool no_root = false;
  bool no_weight = false;
  bool no_eps = false;
  bool eps_outside = false;  // of the root
  bool centered = false;     // LayerNorm
  bool all_rows = false;     // one scale for all rows
};

std::vector<float> Norm(const std::vector<float>& x, const std::vector<float>& weight, double eps,
                        const Ways& ways) {
  const size_t d_model = weight.size();
  const size_t n_scale = ways.all_rows ? x.size() : d_model;
  std::vector<float> out;
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t begin = i / n_scale * n_scale;
    double mean = 0;
    for (size_t j = begin; j < begin + n_scale; ++j) mean += x[j] / static_cast<double>(n_scale);
    if (!ways.centered) mean = 0;
    double square = 0;
    for (size_t j = begin; j < begin + n_scale; ++j) square += (x[j] - mean) * (x[j] - mean);
    if (!ways.sum) square /= static_cast<double>(n_scale);
    double divisor = ways.no_eps || ways.eps_outside ? square : square + eps;
    if (!ways.no_root) divisor = std::sqrt(divisor);
    if (ways.eps_outside) divisor += eps;
    out.push_back(
        static_cast<float>((x[i] - mean) / divisor * (ways.no_weight ? 1 : weight[i % d_model])));
  }
  return out;
}

void Check(const std::string& name, const std::vector<float>& x, const std::vector<float>& weight,
           float eps) {
  BeginCase(name);
  const Fenced<float> fenced_x(x);
  const Fenced<float> fenced_weight(weight);
  Fenced<float> out(Untouched(x.size()));
  RmsNorm({fenced_x.data(), x.size()}, {fenced_weight.data(), weight.size()}, eps, out.span());
  out.CheckBefore();
  const auto norm = [&](const Ways& ways) { return Norm(x, weight, eps, ways); };
  ExpectNear(norm({}), out.span(),
             {.hint = "print the mean of the squares of the first row, and compare with the header",
              .mistakes = {
                  {"did you divide by the sum rather than the mean?", norm({.sum = true})},
                  {"is the root taken?", norm({.no_root = true})},
                  {"did you subtract the mean? That is LayerNorm", norm({.centered = true})},
                  {"is the weight applied?", norm({.no_weight = true})},
                  {"is eps added to the mean?", norm({.no_eps = true})},
                  {"eps is added under the root, not after it", norm({.eps_outside = true})},
                  {"each row has a mean of its own: n_tokens is x.size() / weight.size()",
                   norm({.all_rows = true})},
              }});
}

}  // namespace
}  // namespace aios::exercise

int main() {
  using namespace aios::exercise;
  Check("x = [3, 4], weight = [1, 1], eps = 0", {3, 4}, {1, 1}, 0);
  Check("x = [3, 4], weight = [2, 10], eps = 0", {3, 4}, {2, 10}, 0);
  Check("x = [3, 4], weight = [1, 1], eps = 3.5", {3, 4}, {1, 1}, 3.5F);
  Check("two rows, [3, 4] and [6, 8]", {3, 4, 6, 8}, {1, 1}, 0);
  Check("a row of zeros, eps = 1e-5", {0, 0, 0}, {1, 2, 3}, 1e-5F);
  Random random(7);
  for (const auto& [n_tokens, d_model] : {std::pair{1, 1}, {3, 7}, {5, 64}, {2, 577}}) {
    const std::vector<float> weight = random.Floats(d_model);
    Check(Format("%d random rows of %d, eps = 0.1", n_tokens, d_model),
          random.Floats(static_cast<size_t>(n_tokens * d_model)), weight, 0.1F);
  }
  return Passed();
}
