// Grades RmsNorm with SIMD: the numbers, at every size up to 70 and at addresses without alignment;
// then the speed.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "rms_norm_simd.h"
#include "tools/exercises/grader.h"

namespace aios::exercise {
namespace {

void PlainLoop(const float* x, const float* weight, float eps, int64_t n, float* out) {
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i] * x[i];
  const float scale = 1 / std::sqrt(sum / static_cast<float>(n) + eps);
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] * scale * weight[i];
}

// x times weight over the root of (squares of the first n_summed / n_divided + eps).
std::vector<float> Norm(const std::vector<float>& x, const std::vector<float>& weight, double eps,
                        size_t n_summed, double n_divided) {
  double sum = 0;
  for (size_t i = 0; i < n_summed; ++i) sum += double{x[i]} * x[i];
  std::vector<float> out;
  for (size_t i = 0; i < x.size(); ++i) {
    out.push_back(static_cast<float>(x[i] / std::sqrt(sum / n_divided + eps) * weight[i]));
  }
  return out;
}

void Check(const std::string& name, const std::vector<float>& x, const std::vector<float>& weight,
           float eps) {
  BeginCase(name);
  const Fenced<float> fenced_x(x);
  const Fenced<float> fenced_weight(weight);
  Fenced<float> out(Untouched(x.size()));
  RmsNorm(fenced_x.data(), fenced_weight.data(), eps, static_cast<int64_t>(x.size()), out.data());
  out.CheckBefore();

  const size_t n = x.size();
  const auto size = static_cast<double>(n);
  std::vector<Mistake<float>> mistakes = {
      {"divide the sum of the squares by n: it is their mean", Norm(x, weight, eps, n, 1)},
      {"is the weight applied?", Norm(x, std::vector<float>(n, 1), eps, n, size)},
      {"eps is added to the mean, not to the sum", Norm(x, weight, eps / size, n, size)},
      {"is eps added, to the mean, under the root?", Norm(x, weight, 0, n, size)},
  };
  for (const size_t step : {2, 4, 8, 16, 32, 64}) {
    if (n % step == 0) continue;
    mistakes.push_back(
        {"the squares of the last numbers, less than a step of your loop, are missing in the sum",
         Norm(x, weight, eps, n - n % step, size)});
  }
  ExpectNear(
      Norm(x, weight, eps, n, size), out.span(),
      {.hint = "print the sum of the squares: is it right for this n?", .mistakes = mistakes});
}

}  // namespace
}  // namespace aios::exercise

int main() {
  using namespace aios::exercise;
  Check("x = [3, 4], weight = [1, 2], eps = 0", {3, 4}, {1, 2}, 0);
  Random random(4);
  for (int n = 1; n <= 70; ++n) {
    Check(Format("%d random numbers, eps = 0.25", n), random.Floats(n, 0.5F, 2), random.Floats(n),
          0.25F);
  }
  Check("576 zeros, eps = 1e-5", std::vector<float>(576), random.Floats(576), 1e-5F);

  constexpr int64_t kN = 2000;  // x, weight and out fit a first-level cache
  BeginCase("the speed, for 2000 numbers");
  const std::vector<float> x = random.Floats(kN);
  const std::vector<float> weight = random.Floats(kN);
  std::vector<float> out(kN);
  double plain = 1;
  double yours = 1;
  // Both in turn, so that a busy machine is busy for both; and again, if it was for one alone.
  for (int round = 0; round < 5 && (round == 0 || yours > plain / 2); ++round) {
    const auto repeat = [&](auto norm) {
      return BestSeconds(20, [&] {
        for (int i = 0; i < 10; ++i) norm(x.data(), weight.data(), 1e-5F, kN, out.data());
      });
    };
    const double p = repeat(PlainLoop);
    const double y = repeat(RmsNorm);
    plain = round == 0 ? p : std::min(plain, p);
    yours = round == 0 ? y : std::min(yours, y);
  }
  Expect(
      yours <= plain / 2,
      Format("should be at most half of a plain loop's %.2f us, yours is %.2f us", plain * 1e5,
             yours * 1e5),
      "do both loops use vectors, and is there more than one sum, so that none waits for itself?");
  printf("%.2f us, a plain loop %.2f\n", yours * 1e5, plain * 1e5);
  return Passed();
}
