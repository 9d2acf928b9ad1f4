#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <stdexcept>
#include <vector>

#include "kernels/cpu/dequantize.h"
#include "kernels/cuda/dequantize.h"
#include "tests/kernels/cuda/gpu_testing.h"

namespace aios::kernels::cuda {
namespace {

class DequantizeTest : public ::testing::TestWithParam<Format> {
 protected:
  void SetUp() override { AIOS_SKIP_WITHOUT_GPU(); }
};

uint32_t Bits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}

// Every bit is random: infinite, NaN and subnormal scales are among them. The CPU's dequantizer,
// which was checked against an independent program, says what is right.
TEST_P(DequantizeTest, EqualsTheCpuBitwise) {
  const FormatInfo info = Info(GetParam());
  for (const int64_t n_blocks : {1, 3, 17, 255, 256, 257, 1000}) {
    for (const int shift : {0, 4, 2}) {  // bytes
      if (GetParam() == Format::kF32 && shift % 4 != 0) continue;
      const int64_t n = n_blocks * info.block_size;
      std::mt19937_64 random(n + shift);
      std::vector<uint8_t> bytes(shift + n_blocks * info.block_bytes);
      for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
      std::vector<float> want(n);
      kernels::Dequantize(GetParam(), bytes.data() + shift, n, want.data());

      const TestBuffer<uint8_t> blocks(bytes);
      const TestBuffer<float> out(n);
      const TestBuffer<uint16_t> out16(n);
      DequantizeArgs args = {.format = GetParam(),
                             .blocks = blocks.data() + shift,
                             .n = n,
                             .out_dtype = Format::kF32,
                             .out = out.data()};
      cuda::Dequantize(args, nullptr);
      args.out_dtype = Format::kBF16;
      args.out = out16.data();
      cuda::Dequantize(args, nullptr);
      const auto got = out.Download();
      const auto got16 = out16.Download();
      for (int64_t i = 0; i < n; ++i) {
        if (std::isnan(want[i])) {
          ASSERT_TRUE(std::isnan(got[i])) << info.name << " " << i;
          ASSERT_TRUE(std::isnan(BF16ToFloat(got16[i]))) << info.name << " " << i;
        } else {
          ASSERT_EQ(Bits(got[i]), Bits(want[i])) << info.name << " " << i << " of " << n;
          ASSERT_EQ(got16[i], FloatToBF16(want[i])) << info.name << " " << i << " of " << n;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, DequantizeTest,
                         ::testing::Values(Format::kF32, Format::kF16, Format::kBF16, Format::kQ4_0,
                                           Format::kQ4_1, Format::kQ5_0, Format::kQ5_1,
                                           Format::kQ8_0, Format::kQ4_K, Format::kQ5_K,
                                           Format::kQ6_K),
                         [](const auto& param) { return std::string(Info(param.param).name); });

TEST(DequantizeArgsTest, AreChecked) {
  EXPECT_THROW(cuda::Dequantize({.format = Format::kQ4_0, .n = 33}, nullptr),
               std::invalid_argument);
  EXPECT_THROW(cuda::Dequantize({.out_dtype = Format::kF16}, nullptr), std::invalid_argument);
  EXPECT_THROW(cuda::Dequantize({.out = reinterpret_cast<void*>(8)}, nullptr),
               std::invalid_argument);
}

}  // namespace
}  // namespace aios::kernels::cuda
