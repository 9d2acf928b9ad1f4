#include "kernels/cpu/dequantize.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "kernels/formats.h"

namespace aios::kernels {
namespace {

// The formats and their names, for the names of test cases.
std::vector<Format> AllFormats() {
  std::vector<Format> formats;
  for (int i = 0; i < kNumFormats; ++i) formats.push_back(static_cast<Format>(i));
  return formats;
}

std::string ReadGolden(const std::string& name) {
  std::ifstream file("tests/golden/dequantize/" + name, std::ios::binary);
  EXPECT_TRUE(file.good()) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

// The same bits, or both NaN: which NaN comes out of infinity * 0 is the CPU's business.
bool Same(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) ||
         (std::isnan(a) && std::isnan(b));
}

// Runs `test` once for each instruction set that this CPU has; a program uses only the best.
template <typename Test>
void ForEachTarget(const Test& test) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    SCOPED_TRACE(hwy::TargetName(target));
    test();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

class DequantizeTest : public testing::TestWithParam<Format> {
 protected:
  FormatInfo info_ = Info(GetParam());
};

INSTANTIATE_TEST_SUITE_P(AllFormats, DequantizeTest, testing::ValuesIn(AllFormats()),
                         [](const auto& test) { return std::string(Info(test.param).name); });

TEST_P(DequantizeTest, GivesTheBitsOfTheGgufPackage) {
  const std::string blocks = ReadGolden(std::string(info_.name) + ".blocks");
  const std::string golden = ReadGolden(std::string(info_.name) + ".f32");
  const auto n = static_cast<int64_t>(golden.size() / sizeof(float));
  ASSERT_GE(n, 1000);
  ASSERT_EQ(static_cast<size_t>(n / info_.block_size * info_.block_bytes), blocks.size());
  std::vector<float> want(n);
  std::memcpy(want.data(), golden.data(), golden.size());

  ForEachTarget([&] {
    // Blocks lie in files at any address: the answer at an odd one is the same.
    for (const int shift : {0, 1}) {
      const std::string shifted = std::string(shift, '\0') + blocks;
      std::vector<float> got(n);
      Dequantize(GetParam(), shifted.data() + shift, n, got.data());
      for (int64_t i = 0; i < n; ++i) {
        ASSERT_TRUE(Same(got[i], want[i])) << i << ": " << got[i] << ", not " << want[i];
      }
    }
  });
}

// Every number of blocks, so that no vectorized loop's tail is missed, and nothing beyond the end.
TEST_P(DequantizeTest, WritesWhatItIsAskedForAndNoMore) {
  constexpr int kMaxBlocks = 40;
  constexpr float kGuard = 12345;
  const int64_t n_max = kMaxBlocks * info_.block_size;
  std::mt19937 random(1);
  std::vector<uint8_t> blocks(kMaxBlocks * info_.block_bytes);
  for (uint8_t& byte : blocks) byte = static_cast<uint8_t>(random());
  std::vector<float> whole(n_max);
  Dequantize(GetParam(), blocks.data(), n_max, whole.data());

  ForEachTarget([&] {
    for (int64_t n = 0; n <= n_max; n += info_.block_size) {
      // Only as many bytes as the blocks have, so that the address sanitizer sees a read past them.
      const std::vector<uint8_t> some(blocks.begin(),
                                      blocks.begin() + n / info_.block_size * info_.block_bytes);
      std::vector<float> out(n + 1, kGuard);
      Dequantize(GetParam(), some.data(), n, out.data());
      for (int64_t i = 0; i < n; ++i) ASSERT_TRUE(Same(out[i], whole[i])) << i << " of " << n;
      ASSERT_EQ(out[n], kGuard) << n;
    }
  });
}

TEST(DequantizeF16Test, AllValues) {
  std::vector<F16> halves(65536);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<F16>(i);
  ForEachTarget([&] {
    std::vector<float> got(halves.size());
    Dequantize(Format::kF16, halves.data(), 65536, got.data());
    for (size_t i = 0; i < halves.size(); ++i) {
      const auto want = static_cast<float>(std::bit_cast<_Float16>(halves[i]));
      ASSERT_TRUE(Same(got[i], want)) << i << ": " << got[i] << ", not " << want;
      ASSERT_EQ(std::signbit(got[i]), std::signbit(want)) << i;
    }
  });
}

TEST(DequantizeBF16Test, AllValues) {
  std::vector<BF16> halves(65536);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<BF16>(i);
  std::vector<float> got(halves.size());
  Dequantize(Format::kBF16, halves.data(), 65536, got.data());
  for (size_t i = 0; i < halves.size(); ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), i << 16) << i;
  }
}

}  // namespace
}  // namespace aios::kernels
