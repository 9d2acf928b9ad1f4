// Every level of the gemm ladder against a product in double precision on the CPU: odd shapes,
// tails of all tiles, memory poisoned with NaN and guarded at both ends.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/ladder/gemm/gemm.h"
#include "tests/kernels/cuda/gpu_testing.h"

namespace aios::ladder::gemm {
namespace {

using kernels::cuda::BF16ToFloat;
using kernels::cuda::RandomFloats;
using kernels::cuda::TestBuffer;
using kernels::cuda::ToBF16;

struct Shape {
  int m, n, k;
};

__nv_bfloat16* AsBF16(const TestBuffer<uint16_t>& buffer) {
  return reinterpret_cast<__nv_bfloat16*>(buffer.data());
}

std::vector<uint16_t> Product(const Level& level, const Shape& s, const std::vector<uint16_t>& a,
                              const std::vector<uint16_t>& b) {
  const TestBuffer<uint16_t> device_a(a), device_b(b), device_c(size_t(s.m) * s.n);
  level.launch({.a = AsBF16(device_a),
                .b = AsBF16(device_b),
                .c = AsBF16(device_c),
                .m = s.m,
                .n = s.n,
                .k = s.k},
               nullptr);
  AIOS_CUDA_CHECK(cudaDeviceSynchronize());
  return device_c.Download();
}

// Each number within the rounding of a bf16 (8 bits) plus what sums of k terms in f32 may lose.
void ExpectProduct(const Level& level, const Shape& s, float scale) {
  SCOPED_TRACE(testing::Message() << level.name << ": " << s.m << " x " << s.n << " x " << s.k);
  const std::vector<uint16_t> a = ToBF16(RandomFloats(size_t(s.m) * s.k, 1, scale));
  const std::vector<uint16_t> b = ToBF16(RandomFloats(size_t(s.n) * s.k, 2));
  const std::vector<uint16_t> c = Product(level, s, a, b);
  int n_wrong = 0;
  for (int row = 0; row < s.m; ++row)
    for (int column = 0; column < s.n; ++column) {
      double want = 0, magnitude = 0;
      for (int i = 0; i < s.k; ++i) {
        const double term = double(BF16ToFloat(a[size_t(row) * s.k + i])) *
                            BF16ToFloat(b[size_t(column) * s.k + i]);
        want += term;
        magnitude += std::abs(term);
      }
      const double got = BF16ToFloat(c[size_t(row) * s.n + column]);
      // A tensor core keeps few bits below its largest term: 2^-20 of the terms' sum is allowed.
      const double tolerance = std::abs(want) * 0x1p-8 + magnitude * 0x1p-20;
      if (!(std::abs(got - want) <= tolerance) && ++n_wrong <= 3)
        ADD_FAILURE() << "at [" << row << ", " << column << "]: " << got << ", not " << want;
    }
  EXPECT_EQ(n_wrong, 0);
}

class GemmLadderTest : public testing::Test {
 protected:
  void SetUp() override { AIOS_SKIP_WITHOUT_GPU(); }
};

const Shape kShapes[] = {
    {1, 1, 1},     {1, 8, 8},      {3, 7, 17},     {7, 16, 40},   {17, 33, 19},    {31, 65, 33},
    {32, 32, 32},  {33, 72, 72},   {63, 127, 64},  {64, 256, 64}, {65, 129, 128},  {127, 257, 136},
    {128, 8, 192}, {129, 264, 56}, {200, 310, 72}, {257, 520, 8}, {300, 512, 328}, {1, 1032, 1000},
    {520, 24, 80}, {5, 2, 2056},   {256, 256, 320}};

TEST_F(GemmLadderTest, EveryLevelMultipliesEveryShapeThatItAccepts) {
  for (const Level& level : Levels()) {
    int n_done = 0;
    for (const Shape& s : kShapes)
      if (level.accepts(s.m, s.n, s.k)) {
        ExpectProduct(level, s, 1);
        ++n_done;
      }
    EXPECT_GE(n_done, 9) << level.name;  // all with m tails
  }
}

TEST_F(GemmLadderTest, LargeValuesDoNotOverflow) {
  for (const Level& level : Levels()) ExpectProduct(level, {65, 136, 264}, 1e30f);
}

TEST_F(GemmLadderTest, LevelsAreNumberedInOrder) {
  int number = 0;
  for (const Level& level : Levels()) EXPECT_EQ(level.number, ++number) << level.name;
  EXPECT_GE(number, 5);
}

// A row's result depends on nothing but that row: not on how many others there are, nor on its
// place.
TEST_F(GemmLadderTest, TheBatchDoesNotChangeARow) {
  constexpr int kN = 264, kK = 520, kRows = 300;
  const std::vector<uint16_t> a = ToBF16(RandomFloats(size_t{kRows} * kK, 3));
  const std::vector<uint16_t> b = ToBF16(RandomFloats(size_t{kN} * kK, 4));
  for (const Level& level : Levels()) {
    const std::vector<uint16_t> all = Product(level, {kRows, kN, kK}, a, b);
    for (const int row : {0, 77, 130, 299}) {
      const std::vector<uint16_t> alone_a(a.begin() + row * kK, a.begin() + (row + 1) * kK);
      const std::vector<uint16_t> alone = Product(level, {1, kN, kK}, alone_a, b);
      const std::vector<uint16_t> within(all.begin() + row * kN, all.begin() + (row + 1) * kN);
      EXPECT_EQ(alone, within) << level.name << ", row " << row;
    }
  }
}

// More tiles than there are SMs, so that the persistent level takes several; twice the same bits.
TEST_F(GemmLadderTest, ManyTilesAgreeBetweenLevels) {
  const Shape s = {2500, 5000, 136};
  const std::vector<uint16_t> a = ToBF16(RandomFloats(size_t(s.m) * s.k, 5));
  const std::vector<uint16_t> b = ToBF16(RandomFloats(size_t(s.n) * s.k, 6));
  const std::vector<Level> levels = Levels();
  const std::vector<uint16_t> want = Product(levels[3], s, a, b);  // plain f32 arithmetic
  for (const Level& level : levels) {
    if (level.number == 1) continue;
    const std::vector<uint16_t> got = Product(level, s, a, b);
    EXPECT_EQ(got, Product(level, s, a, b)) << level.name;
    double difference2 = 0, want2 = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      const double g = BF16ToFloat(got[i]), w = BF16ToFloat(want[i]);
      difference2 += (g - w) * (g - w);
      want2 += w * w;
    }
    EXPECT_LT(std::sqrt(difference2 / want2), 1e-3) << level.name;  // NaN fails too
  }
}

}  // namespace
}  // namespace aios::ladder::gemm
