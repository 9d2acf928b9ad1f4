#include "kernels/cpu/rms_norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "tests/kernels/cpu/ops_testing.h"

namespace aios::kernels::cpu {
namespace {

constexpr int64_t kRows = 5;

TEST(RmsNormTest, EqualsPlainLoops) {
  for (const int64_t d_model : {1, 3, 7, 17, 63, 64, 65, 576, 1000, 4096}) {
    for (const float scale : {1e-6F, 1.0F, 1e6F}) {
      const auto x = Normal(kRows * d_model, 1, scale);
      const auto weight = Normal(d_model, 3);
      ForEachTarget([&] {
        std::vector<float> out(kRows * d_model + 1, NAN);
        RmsNorm({.x = x.data(),
                 .weight = weight.data(),
                 .eps = 1e-5F,
                 .d_model = d_model,
                 .out = out.data()},
                0, kRows);
        EXPECT_TRUE(std::isnan(out.back()));
        for (int64_t row = 0; row < kRows; ++row) {
          double squares = 0;
          for (int64_t i = row * d_model; i < (row + 1) * d_model; ++i) {
            squares += double{x[i]} * x[i];
          }
          const double rms = std::sqrt(squares / static_cast<double>(d_model) + double{1e-5F});
          for (int64_t i = 0; i < d_model; ++i) {
            const double want = x[row * d_model + i] / rms * weight[i];
            ASSERT_NEAR(out[row * d_model + i], want, 2e-6 * std::abs(want) + 1e-12);
          }
        }
      });
    }
  }
}

TEST(RmsNormTest, RangesDoNotChangeBits) {
  constexpr int64_t kWidth = 577;
  const auto x = Normal(kRows * kWidth, 1);
  const auto weight = Normal(kWidth, 3);
  ForEachTarget([&] {
    std::vector<float> out_a(x.size()), out_b(x.size());
    RmsNormArgs args = {
        .x = x.data(), .weight = weight.data(), .d_model = kWidth, .out = out_a.data()};
    RmsNorm(args, 0, kRows);
    args.out = out_b.data();
    for (int64_t row = kRows; row-- > 0;) RmsNorm(args, row, row + 1);
    EXPECT_EQ(std::memcmp(out_a.data(), out_b.data(), out_a.size() * sizeof(float)), 0);
  });
}

}  // namespace
}  // namespace aios::kernels::cpu
