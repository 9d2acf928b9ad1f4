#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>
#include <vector>

#include "kernels/cuda/silu_mul.h"
#include "tests/kernels/cuda/gpu_testing.h"

namespace aios::kernels::cuda {
namespace {

class SiluMulTest : public ::testing::Test {
 protected:
  void SetUp() override { AIOS_SKIP_WITHOUT_GPU(); }
};

double Want(double gate, double up) { return gate / (1 + std::exp(-gate)) * up; }

std::vector<float> Inputs(int n_tokens, int64_t d_ff) {
  auto x = RandomFloats(n_tokens * 2 * d_ff, n_tokens + d_ff, 4);
  // Gates at which a careless exponential overflows, in both signs.
  constexpr float kGates[] = {0, -0.0F, 100, -100, 1000, -1000, 3e38F, -3e38F, 88, -88, 1e-30F};
  for (size_t i = 0; i < std::size(kGates) && static_cast<int64_t>(i) < d_ff; ++i) {
    x[i] = kGates[i];
  }
  return x;
}

TEST_F(SiluMulTest, EqualsDoubles) {
  for (const int n_tokens : {1, 3, 17, 129}) {
    for (const int64_t d_ff : {1, 7, 8, 100, 1536, 14336}) {
      for (const int shift : {0, 1}) {
        const auto x = Inputs(n_tokens, d_ff);
        std::vector<float> shifted(shift, 0);
        shifted.insert(shifted.end(), x.begin(), x.end());

        const TestBuffer<float> in(shifted);
        const TestBuffer<float> out(n_tokens * d_ff + shift);
        SiluMul({.dtype = Format::kF32,
                 .gate_up = in.data() + shift,
                 .n_tokens = n_tokens,
                 .d_ff = d_ff,
                 .out = out.data() + shift},
                nullptr);
        const auto got = out.Download();

        const auto rounded = ToBF16(shifted);
        const TestBuffer<uint16_t> in16(rounded);
        const TestBuffer<uint16_t> out16(n_tokens * d_ff + shift);
        SiluMul({.dtype = Format::kBF16,
                 .gate_up = in16.data() + shift,
                 .n_tokens = n_tokens,
                 .d_ff = d_ff,
                 .out = out16.data() + shift,
                 .overlap_previous = true},
                nullptr);
        const auto got16 = out16.Download();

        for (int64_t t = 0; t < n_tokens; ++t) {
          for (int64_t i = 0; i < d_ff; ++i) {
            const int64_t gate = t * 2 * d_ff + i;
            // Numbers below 1e-37 may be flushed; those past f32 are infinite.
            const double want = Want(x[gate], x[gate + d_ff]);
            if (std::abs(want) < 3.4e38) {
              ASSERT_NEAR(got[shift + t * d_ff + i], want, 1e-6 * std::abs(want) + 1e-36)
                  << x[gate] << " * " << x[gate + d_ff];
            }
            const double gate16 = BF16ToFloat(rounded[shift + gate]);
            const double want16 = Want(gate16, BF16ToFloat(rounded[shift + gate + d_ff]));
            if (std::abs(want16) < 3.3e38) {
              ASSERT_NEAR(BF16ToFloat(got16[shift + t * d_ff + i]), want16,
                          0.00392 * std::abs(want16) + 1e-36)
                  << gate16;
            }
          }
        }
      }
    }
  }
}

// More rows than a grid has in y.
TEST_F(SiluMulTest, ManyRows) {
  constexpr int kRows = 70001;
  const auto x = ToBF16(RandomFloats(kRows * 16, 1));
  const TestBuffer<uint16_t> in(x);
  const TestBuffer<uint16_t> out(kRows * 8);
  SiluMul({.gate_up = in.data(), .n_tokens = kRows, .d_ff = 8, .out = out.data()}, nullptr);
  const auto got = out.Download();
  for (int64_t i = 0; i < kRows * 8; ++i) {
    const int64_t gate = i / 8 * 16 + i % 8;
    const double want = Want(BF16ToFloat(x[gate]), BF16ToFloat(x[gate + 8]));
    ASSERT_NEAR(BF16ToFloat(got[i]), want, 0.00392 * std::abs(want) + 1e-36) << i;
  }
}

TEST_F(SiluMulTest, RefusesOtherTypes) {
  EXPECT_THROW(SiluMul({.dtype = Format::kF16, .n_tokens = 1, .d_ff = 8}, nullptr),
               std::invalid_argument);
}

}  // namespace
}  // namespace aios::kernels::cuda
