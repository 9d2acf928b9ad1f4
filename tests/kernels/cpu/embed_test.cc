#include "kernels/cpu/embed.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "tests/kernels/cpu/ops_testing.h"

namespace aios::kernels::cpu {
namespace {

TEST(EmbedTest, RowsOfF32AndBF16) {
  constexpr int64_t kVocab = 11, kWidth = 37;
  const auto table = Normal(kVocab * kWidth, 1);
  std::vector<BF16> halves(table.size());
  for (size_t i = 0; i < table.size(); ++i) {
    halves[i] = static_cast<BF16>(std::bit_cast<uint32_t>(table[i]) >> 16);
  }
  const std::vector<int32_t> tokens = {10, 0, 3, 3, 7};
  for (const Format format : {Format::kF32, Format::kBF16}) {
    ForEachTarget([&] {
      std::vector<float> out(tokens.size() * kWidth, NAN);
      const void* data = format == Format::kF32 ? static_cast<const void*>(table.data())
                                                : static_cast<const void*>(halves.data());
      const EmbedArgs args = {.format = format,
                              .table = data,
                              .vocab_size = kVocab,
                              .d_model = kWidth,
                              .tokens = tokens.data(),
                              .out = out.data()};
      Embed(args, 1, 4);  // not the first and the last
      for (size_t i = 0; i < out.size(); ++i) {
        if (i / kWidth == 0 || i / kWidth == 4) {
          ASSERT_TRUE(std::isnan(out[i])) << i;
          continue;
        }
        const size_t at = tokens[i / kWidth] * kWidth + i % kWidth;
        const float want = format == Format::kF32
                               ? table[at]
                               : std::bit_cast<float>(static_cast<uint32_t>(halves[at]) << 16);
        ASSERT_EQ(out[i], want) << i;
      }
    });
  }
}

// One scale and 32 whole numbers: row r holds r * q.
TEST(EmbedTest, RowsOfBlocks) {
  constexpr int64_t kVocab = 3, kWidth = 96;
  std::vector<BlockQ8_0> table(kVocab * kWidth / kBlock32);
  const F16 scales[kVocab] = {0x0000, 0x3C00, 0x4000};  // 0, 1, 2
  for (size_t b = 0; b < table.size(); ++b) {
    table[b].d = scales[b / 3];
    for (size_t i = 0; i < 32; ++i) table[b].qs[i] = static_cast<int8_t>(b % 3 * 32 + i - 48);
  }
  const std::vector<int32_t> tokens = {2, 1};
  std::vector<float> out(2 * kWidth);
  EmbedArgs args = {.format = Format::kQ8_0,
                    .table = table.data(),
                    .vocab_size = kVocab,
                    .d_model = kWidth,
                    .tokens = tokens.data(),
                    .out = out.data()};
  Embed(args, 0, 2);
  for (int i = 0; i < kWidth; ++i) {
    ASSERT_EQ(out[i], static_cast<float>(2 * (i - 48)));
    ASSERT_EQ(out[kWidth + i], static_cast<float>(i - 48));
  }
  args.d_model = 48;
  EXPECT_THROW(Embed(args, 0, 1), std::invalid_argument);
}

TEST(EmbedTest, RefusesTokensOutsideTheTable) {
  const std::vector<float> table(8);
  std::vector<float> out(4);
  for (const int32_t token : {-1, 2}) {
    EXPECT_THROW(Embed({.table = table.data(),
                        .vocab_size = 2,
                        .d_model = 4,
                        .tokens = &token,
                        .out = out.data()},
                       0, 1),
                 std::invalid_argument);
  }
}

}  // namespace
}  // namespace aios::kernels::cpu
