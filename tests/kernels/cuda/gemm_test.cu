// The product through cuBLASLt, against a loop in double precision.
#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>
#include <vector>

#include "kernels/cuda/gemm.h"
#include "tests/kernels/cuda/gpu_testing.h"

namespace aios::kernels::cuda {
namespace {

struct Shape {
  int64_t n_rows, d_in, d_out;
};

class GemmTest : public testing::TestWithParam<Shape> {
 protected:
  void SetUp() override { AIOS_SKIP_WITHOUT_GPU(); }
};

// got[i, j] is off by at most `tolerance` of the size of its terms, and `rounding` of itself.
void ExpectProduct(const Shape& s, const std::vector<float>& x, const std::vector<float>& w,
                   const std::vector<float>& got, double tolerance, double rounding = 0) {
  for (int64_t i = 0; i < s.n_rows; ++i) {
    for (int64_t j = 0; j < s.d_out; ++j) {
      double want = 0;
      double size = 0;
      for (int64_t k = 0; k < s.d_in; ++k) {
        const double term = static_cast<double>(x[i * s.d_in + k]) * w[j * s.d_in + k];
        want += term;
        size += term * term;
      }
      ASSERT_NEAR(got[i * s.d_out + j], want,
                  tolerance * std::sqrt(size) + rounding * std::abs(want))
          << i << ", " << j;
    }
  }
}

std::vector<float> FromBF16(const std::vector<uint16_t>& bits) {
  std::vector<float> values;
  for (const uint16_t b : bits) values.push_back(BF16ToFloat(b));
  return values;
}

TEST_P(GemmTest, F32IsTrueF32) {
  const Shape s = GetParam();
  const std::vector<float> x = RandomFloats(s.n_rows * s.d_in, 1);
  const std::vector<float> w = RandomFloats(s.d_out * s.d_in, 2);
  const TestBuffer<float> dx(x), dw(w), dy(s.n_rows * s.d_out);
  Gemm gemm;
  const GemmArgs args = {.x = dx.data(),
                         .weight = dw.data(),
                         .y = dy.data(),
                         .n_rows = s.n_rows,
                         .d_in = s.d_in,
                         .d_out = s.d_out,
                         .dtype = Format::kF32,
                         .y_dtype = Format::kF32};
  gemm.Run(args, nullptr);
  // TF32 keeps 11 bits: it would be off by some 2^-12 of a term, a hundred times this.
  ExpectProduct(s, x, w, dy.Download(), 3e-6);
}

TEST_P(GemmTest, BF16WithF32AndBF16Results) {
  const Shape s = GetParam();
  const std::vector<uint16_t> x = ToBF16(RandomFloats(s.n_rows * s.d_in, 3));
  const std::vector<uint16_t> w = ToBF16(RandomFloats(s.d_out * s.d_in, 4));
  const TestBuffer<uint16_t> dx(x), dw(w), narrow(s.n_rows * s.d_out);
  const TestBuffer<float> wide(s.n_rows * s.d_out);
  Gemm gemm;
  GemmArgs args = {.x = dx.data(),
                   .weight = dw.data(),
                   .y = wide.data(),
                   .n_rows = s.n_rows,
                   .d_in = s.d_in,
                   .d_out = s.d_out,
                   .dtype = Format::kBF16,
                   .y_dtype = Format::kF32};
  for (int round = 0; round < 2; ++round) gemm.Run(args, nullptr);  // chosen, then remembered
  // Tensor cores cut off what does not fit their sums, at each of up to 128 steps of 16 terms.
  constexpr double kTolerance = 128 * 0x1p-23;
  ExpectProduct(s, FromBF16(x), FromBF16(w), wide.Download(), kTolerance);
  args.y = narrow.data();
  args.y_dtype = Format::kBF16;
  gemm.Run(args, nullptr);
  ExpectProduct(s, FromBF16(x), FromBF16(w), FromBF16(narrow.Download()), kTolerance, 0x1p-8);
}

// Of a real model's and of awkward sizes. Rows are a multiple of 16 bytes in every model there is.
INSTANTIATE_TEST_SUITE_P(Shapes, GemmTest,
                         testing::Values(Shape{9, 64, 64}, Shape{1, 576, 960}, Shape{17, 576, 1536},
                                         Shape{129, 1536, 576}, Shape{33, 8, 24}, Shape{64, 40, 3},
                                         Shape{7, 2048, 1000}));

// A way that was chosen for some number of rows serves others, too.
TEST(Gemm, RowsThatGrowByOne) {
  AIOS_SKIP_WITHOUT_GPU();
  constexpr int64_t kRows = 150, kIn = 64, kOut = 72;
  const std::vector<uint16_t> x = ToBF16(RandomFloats(kRows * kIn, 5));
  const std::vector<uint16_t> w = ToBF16(RandomFloats(kOut * kIn, 6));
  const TestBuffer<uint16_t> dx(x), dw(w);
  Gemm gemm;
  for (int64_t n_rows = 1; n_rows <= kRows; ++n_rows) {
    const TestBuffer<float> dy(n_rows * kOut);
    gemm.Run({.x = dx.data(),
              .weight = dw.data(),
              .y = dy.data(),
              .n_rows = n_rows,
              .d_in = kIn,
              .d_out = kOut,
              .dtype = Format::kBF16,
              .y_dtype = Format::kF32},
             nullptr);
    ExpectProduct({n_rows, kIn, kOut}, FromBF16(x), FromBF16(w), dy.Download(), 128 * 0x1p-23);
  }
}

TEST(Gemm, RefusesOtherFormats) {
  AIOS_SKIP_WITHOUT_GPU();
  Gemm gemm;
  const GemmArgs args = {.n_rows = 16, .d_in = 32, .d_out = 32, .dtype = Format::kQ4_0};
  EXPECT_THROW(gemm.Run(args, nullptr), std::invalid_argument);
}

TEST(Gemm, NothingToDoIsDone) {
  AIOS_SKIP_WITHOUT_GPU();
  Gemm gemm;
  gemm.Run({.n_rows = 0, .d_in = 32, .d_out = 32}, nullptr);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

}  // namespace
}  // namespace aios::kernels::cuda
