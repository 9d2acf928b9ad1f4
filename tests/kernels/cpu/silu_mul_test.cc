#include "kernels/cpu/silu_mul.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "tests/kernels/cpu/ops_testing.h"

namespace aios::kernels::cpu {
namespace {

std::vector<float> Gated(const std::vector<float>& gate_up, int64_t d_ff, int64_t n_rows) {
  std::vector<float> out(n_rows * d_ff + 1, NAN);
  SiluMul({.gate_up = gate_up.data(), .n_rows = n_rows, .d_ff = d_ff, .out = out.data()}, 0, d_ff);
  EXPECT_TRUE(std::isnan(out.back()));
  out.pop_back();
  return out;
}

TEST(SiluMulTest, EqualsPlainLoops) {
  for (const int64_t d_ff : {1, 3, 7, 17, 33, 1536}) {
    const auto gate_up = Normal(3 * 2 * d_ff, 1, 5);
    ForEachTarget([&] {
      const auto got = Gated(gate_up, d_ff, 3);
      for (int64_t i = 0; i < 3 * d_ff; ++i) {
        const double gate = gate_up[i / d_ff * 2 * d_ff + i % d_ff];
        const double up = gate_up[i / d_ff * 2 * d_ff + d_ff + i % d_ff];
        const double want = gate / (1 + std::exp(-gate)) * up;
        ASSERT_NEAR(got[i], want, 5e-7 * std::abs(want)) << i;
      }
    });
  }
}

// A fine grid over all gates, through the vectors and through the loop's tail alike.
TEST(SiluMulTest, AllMagnitudesOfTheGate) {
  constexpr int64_t kGates = 100'003;
  std::vector<float> gate_up(2 * kGates, 1);
  for (int64_t i = 0; i < kGates; ++i) {
    gate_up[i] = static_cast<float>(-90 + 180.0 * static_cast<double>(i) / kGates);
  }
  ForEachTarget([&] {
    const auto got = Gated(gate_up, kGates, 1);
    for (int64_t i = 0; i < kGates; ++i) {
      const double gate = gate_up[i];
      const double want = gate / (1 + std::exp(-gate));
      ASSERT_NEAR(got[i], want, 5e-7 * std::abs(want) + 2e-36) << gate;
    }
  });
}

TEST(SiluMulTest, ExtremesAndNan) {
  ForEachTarget([&] {
    for (const int64_t d_ff : {1, 64}) {
      const auto silu = [&](float gate) {
        std::vector<float> gate_up(2 * d_ff, 1);
        std::fill_n(gate_up.begin(), d_ff, gate);
        return Gated(gate_up, d_ff, 1)[0];
      };
      EXPECT_EQ(silu(1e30F), 1e30F);
      EXPECT_EQ(silu(INFINITY), INFINITY);
      EXPECT_EQ(silu(-1e30F), 0);
      EXPECT_EQ(silu(0), 0);
      EXPECT_TRUE(std::isnan(silu(NAN)));
    }
  });
}

TEST(SiluMulTest, RangesDoNotChangeBits) {
  constexpr int64_t kFf = 101, kRows = 9;
  const auto gate_up = Normal(kRows * 2 * kFf, 1);
  ForEachTarget([&] {
    const auto want = Gated(gate_up, kFf, kRows);
    for (const int64_t width : {1, 5, 16, 100}) {
      std::vector<float> got(want.size(), NAN);
      for (int64_t begin = 0; begin < kFf; begin += width) {
        SiluMul({.gate_up = gate_up.data(), .n_rows = kRows, .d_ff = kFf, .out = got.data()}, begin,
                std::min(begin + width, kFf));
        if (begin + width < kFf) {
          ASSERT_TRUE(std::isnan(got[begin + width])) << "written past";
        }
      }
      EXPECT_EQ(std::memcmp(got.data(), want.data(), want.size() * sizeof(float)), 0) << width;
    }
  });
}

}  // namespace
}  // namespace aios::kernels::cpu
