// Grades Rope.
#include <cmath>

#include "rope.h"
#include "tools/exercises/grader.h"

namespace aios::exercise {
namespace {

struct Ways {
  bool interleaved = false;  // pairs 2i, 2i + 1
  bool by_row = false;       // the row's number for its position
  bool backwards = false;
  bool slow = false;         // theta^(-i / head_dim)
  bool overwritten = false;  // the second line uses the first one's result
  bool first_head = false;   // turns only one head of each token
};

std::vector<float> Turned(std::vector<float> x, const std::vector<int32_t>& positions,
                          const RopeShape& shape, const Ways& ways) {
  const int head_dim = shape.head_dim;
  for (size_t t = 0; t < positions.size(); ++t) {
    for (int h = 0; h < (ways.first_head ? 1 : shape.n_heads); ++h) {
      float* head = &x[(t * shape.n_heads + h) * head_dim];
      for (int i = 0; i < head_dim / 2; ++i) {
        const double exponent = (ways.slow ? -1.0 : -2.0) * i / head_dim;
        const double position = ways.by_row ? static_cast<double>(t) : positions[t];
        const double angle = (ways.backwards ? -1 : 1) * position * std::pow(shape.theta, exponent);
        float& a = head[ways.interleaved ? 2 * i : i];
        float& b = head[ways.interleaved ? 2 * i + 1 : i + head_dim / 2];
        const double turned_a = a * std::cos(angle) - b * std::sin(angle);
        const double old_a = ways.overwritten ? turned_a : a;
        b = static_cast<float>(old_a * std::sin(angle) + b * std::cos(angle));
        a = static_cast<float>(turned_a);
      }
    }
  }
  return x;
}

void Check(const std::string& name, const std::vector<float>& x,
           const std::vector<int32_t>& positions, const RopeShape& shape) {
  BeginCase(name + Format("%zu tokens at positions %s, %d heads of %d, theta %g", positions.size(),
                          Text(positions).c_str(), shape.n_heads, shape.head_dim, shape.theta));
  Fenced<float> yours(x);
  Rope(yours.span(), positions, shape);
  yours.CheckBefore();
  const auto turned = [&](const Ways& ways) { return Turned(x, positions, shape, ways); };
  ExpectNear(
      turned({}), yours.span(),
      {.hint = "print angle, sine and cosine of pair 0 and of pair 1, and compare with the "
               "header's example",
       .mistakes = {
           {"x is as it was: is this still the stub?", x},
           {"a pair is i and i + head_dim / 2, not 2i and 2i + 1", turned({.interleaved = true})},
           {"the second line needs x[i] as it was before the first line",
            turned({.overwritten = true})},
           {"it turns the other way: where is the minus sign?", turned({.backwards = true})},
           {"the exponent is -2i / head_dim, with i from 0 to head_dim / 2 - 1",
            turned({.slow = true})},
           {"the angle grows with positions[t], not with the row's number",
            turned({.by_row = true})},
           {"every head of a token is turned, not only the first", turned({.first_head = true})},
       }});
}

}  // namespace
}  // namespace aios::exercise

int main() {
  using namespace aios::exercise;
  Check("the header's example: ", {1, 0, 0, 1}, {2}, {1, 4, 100});
  Check("", {1, 2, 3, 4}, {0}, {1, 4, 100});
  Random random(8);
  Check("", random.Floats(6), {5}, {1, 6, 10000});
  Check("", random.Floats(2 * 4), {0, 1}, {1, 4, 10000});
  Check("", random.Floats(2 * 4), {7, 3}, {1, 4, 10000});
  Check("", random.Floats(3 * 5 * 2), {4, 4, 0}, {5, 2, 10000});
  Check("", random.Floats(4 * 3 * 64), {100, 101, 102, 2047}, {3, 64, 10000});
  Check("", random.Floats(2 * 2 * 10), {8191, 1}, {2, 10, 500000});
  return Passed();
}
