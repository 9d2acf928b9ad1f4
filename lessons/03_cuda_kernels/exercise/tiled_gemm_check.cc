// Grades Gemm: the numbers at odd sizes, then the speed.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "tiled_gemm.h"
#include "tools/exercises/grader.h"

namespace aios::exercise {
namespace {

void ThreeLoops(const float* a, const float* b, float* c, int64_t m, int64_t n, int64_t k) {
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      float sum = 0;
      for (int64_t l = 0; l < k; ++l) sum += a[i * k + l] * b[l * n + j];
      c[i * n + j] = sum;
    }
  }
}

void Check(const std::string& name, const std::vector<float>& a, const std::vector<float>& b,
           int64_t m, int64_t n, int64_t k) {
  BeginCase(name + Format("m %d, n %d, k %d", static_cast<int>(m), static_cast<int>(n),
                          static_cast<int>(k)));
  const Fenced<float> fenced_a(a);
  const Fenced<float> fenced_b(b);
  Fenced<float> c(Untouched(static_cast<size_t>(m * n)));
  Gemm(fenced_a.data(), fenced_b.data(), c.data(), m, n, k);
  c.CheckBefore();

  // Products of the first n_inner, and what c held before, if that is added.
  const auto product = [&](int64_t n_inner, float before) {
    std::vector<float> out;
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double sum = before;
        for (int64_t l = 0; l < n_inner; ++l) sum += double{a[i * k + l]} * b[l * n + j];
        out.push_back(static_cast<float>(sum));
      }
    }
    return out;
  };
  const std::vector<float> right = product(k, 0);
  std::vector<Mistake<float>> mistakes;
  for (const int64_t step : {2, 4, 8, 16, 32}) {
    if (k % step != 0) {
      mistakes.push_back({"the end of the sum over k is missing: k is no multiple of your step",
                          product(k - k % step, 0)});
    }
  }
  // Rounding aside, c = what it held + the product.
  size_t n_added = 0;
  for (size_t i = 0; i < right.size(); ++i) {
    if (std::abs(c.data()[i] - (kUntouched + right[i])) < 0.5F) ++n_added;
  }
  if (k > 0 && n_added == right.size() && c.data()[0] != kUntouched) {
    Fail("c came with numbers in it, and yours are added to them",
         "c holds anything before: write, do not add");
  }
  ExpectNear(
      right, c.span(),
      {.hint = "look at the first wrong number: which row and column of c is it, and is it at "
               "the edge of a tile? Rows of a are k apart, rows of b and c are n apart",
       .mistakes = mistakes});
}

}  // namespace
}  // namespace aios::exercise

int main() {
  using namespace aios::exercise;
  Check("the header's example: ", {1, 2}, {5, 6, 7, 8, 9, 10}, 1, 3, 2);
  Random random(5);
  const int64_t sizes[][3] = {{1, 1, 1},   {4, 8, 4},   {8, 8, 8},    {16, 16, 16}, {64, 64, 64},
                              {5, 8, 8},   {8, 9, 8},   {8, 8, 9},    {3, 5, 7},    {1, 70, 33},
                              {70, 1, 33}, {33, 70, 1}, {65, 63, 67}, {31, 129, 3}, {2, 3, 0}};
  for (const auto& [m, n, k] : sizes) {
    Check("", random.Floats(static_cast<size_t>(m * k)), random.Floats(static_cast<size_t>(k * n)),
          m, n, k);
  }

  constexpr int64_t kSize = 320;
  BeginCase("the speed, for m = n = k = 320");
  const std::vector<float> a = random.Floats(kSize * kSize);
  const std::vector<float> b = random.Floats(kSize * kSize);
  std::vector<float> c(kSize * kSize);
  double plain = 1;
  double yours = 1;
  // Both in turn, so that a busy machine is busy for both.
  for (int round = 0; round < 5 && (round == 0 || yours > plain / 2); ++round) {
    const double p =
        BestSeconds(1, [&] { ThreeLoops(a.data(), b.data(), c.data(), kSize, kSize, kSize); });
    const double y =
        BestSeconds(1, [&] { Gemm(a.data(), b.data(), c.data(), kSize, kSize, kSize); });
    plain = round == 0 ? p : std::min(plain, p);
    yours = round == 0 ? y : std::min(yours, y);
  }
  const double flops = 2.0 * kSize * kSize * kSize;
  Expect(yours <= plain / 2,
         Format("three plain loops do %.2f GFLOP/s, yours does %.2f; it should be twice as many",
                flops / plain * 1e-9, flops / yours * 1e-9),
         "is the tile's size a constant, its sums a local array, and the walk along rows of b?");
  printf("%.2f GFLOP/s, three plain loops %.2f\n", flops / yours * 1e-9, flops / plain * 1e-9);
  return Passed();
}
