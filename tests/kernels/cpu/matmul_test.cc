#include "kernels/cpu/matmul.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "kernels/cpu/dequantize.h"
#include "kernels/formats.h"
#include "tests/kernels/cpu/ops_testing.h"

namespace aios::kernels::cpu {
namespace {

constexpr float kGuard = 12345;

std::vector<Format> AllFormats() {
  std::vector<Format> formats;
  for (int i = 0; i < kNumFormats; ++i) formats.push_back(static_cast<Format>(i));
  return formats;
}

// An f16 of the given exponent, with random fraction and sign.
F16 RandomF16(std::mt19937& random, int exponent) {
  return static_cast<F16>((exponent + 15) << 10 | (random() & 0x83FF));
}

// A weight [d_out, d_in] of random blocks: all quantized numbers occur, and weights are about 1. No
// more bytes than it has, so that the address sanitizer sees a read past them.
std::vector<uint8_t> RandomWeight(Format format, int64_t d_out, int64_t d_in, uint32_t seed) {
  std::mt19937 random(seed);
  const FormatInfo info = Info(format);
  const int64_t n_blocks = d_out * d_in / info.block_size;
  std::vector<uint8_t> bytes(n_blocks * info.block_bytes);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  std::normal_distribution<float> normal;
  const auto put = [&](uint8_t* at, auto value) { std::memcpy(at, &value, sizeof(value)); };
  for (int64_t i = 0; i < n_blocks; ++i) {
    uint8_t* block = bytes.data() + i * info.block_bytes;
    switch (format) {
      case Format::kF32:
        put(block, normal(random));
        break;
      case Format::kF16:
        put(block, RandomF16(random, -1));
        break;
      case Format::kBF16:
        put(block, static_cast<BF16>(std::bit_cast<uint32_t>(normal(random)) >> 16));
        break;
      case Format::kQ4_0:
      case Format::kQ5_0:
        put(block, RandomF16(random, -3));
        break;
      case Format::kQ8_0:
        put(block, RandomF16(random, -6));
        break;
      case Format::kQ4_1:
      case Format::kQ5_1:
        put(block, RandomF16(random, -3));
        put(block + 2, RandomF16(random, 0));
        break;
      case Format::kQ4_K:
      case Format::kQ5_K:
        put(block, RandomF16(random, -8));
        put(block + 2, RandomF16(random, -5));
        break;
      case Format::kQ6_K:
        put(block + 208, RandomF16(random, -11));
        break;
    }
  }
  return bytes;
}

// y of a product, with a guard beyond the end; NaN where nothing was written. x must outlive it.
struct Product {
  Product(const MatMulArgs& sizes, const void* weight, const std::vector<float>& x)
      : args(sizes), y(sizes.n_rows * sizes.y_stride + 1, NAN), scratch(1) {
    y.back() = kGuard;
    args.weight = weight;
    args.x = x.data();
    args.y = y.data();
  }
  void Run(int64_t begin, int64_t end) {
    // As much as was asked for, and NaN, in which nothing may be left unwritten.
    const int64_t n = MatMulScratchFloats(args);
    scratch.assign(n + 1, NAN);
    scratch[n] = kGuard;
    MatMul(args, begin, end, n == 0 ? nullptr : scratch.data());
    ASSERT_EQ(scratch[n], kGuard);
    ASSERT_EQ(y.back(), kGuard);
  }
  uint32_t Bits(int64_t row, int64_t out) const {
    return std::bit_cast<uint32_t>(y[row * args.y_stride + out]);
  }
  MatMulArgs args;
  std::vector<float> y;
  std::vector<float> scratch;
};

// |got - x.w| is at most about n_products / 4 roundings of sum |x_i w_i|, and far less as a rule.
void ExpectNear(const Product& got, const std::vector<float>& x, const std::vector<float>& w) {
  const MatMulArgs& args = got.args;
  for (int64_t row = 0; row < args.n_rows; ++row) {
    for (int64_t out = 0; out < args.d_out; ++out) {
      double want = 0, magnitude = 0;
      for (int64_t i = 0; i < args.d_in; ++i) {
        const double product = double{x[row * args.d_in + i]} * w[out * args.d_in + i];
        want += product;
        magnitude += std::abs(product);
      }
      const double eps = std::numeric_limits<float>::epsilon();
      const double limit =
          magnitude * eps * (2 + std::sqrt(static_cast<double>(args.d_in))) + 1e-37;
      ASSERT_NEAR(got.y[row * args.y_stride + out], want, limit) << row << ", " << out;
    }
    for (int64_t i = args.d_out; i < args.y_stride; ++i) {
      ASSERT_TRUE(std::isnan(got.y[row * args.y_stride + i])) << "written beside y";
    }
  }
}

class MatMulTest : public testing::TestWithParam<Format> {
 protected:
  FormatInfo info_ = Info(GetParam());

  std::vector<int64_t> InputSizes() const {
    if (info_.block_size == 1) return {1, 3, 7, 16, 17, 31, 32, 33, 63, 95, 576};
    return {info_.block_size, 3 * info_.block_size, 5 * info_.block_size};
  }
};

INSTANTIATE_TEST_SUITE_P(AllFormats, MatMulTest, testing::ValuesIn(AllFormats()),
                         [](const auto& test) { return std::string(Info(test.param).name); });

TEST_P(MatMulTest, AgreesWithDoublePrecision) {
  for (const int64_t d_in : InputSizes()) {
    for (const int64_t d_out : {1, 3, 4, 7, 17}) {
      const auto bytes = RandomWeight(GetParam(), d_out, d_in, static_cast<uint32_t>(d_in));
      std::vector<float> w(d_out * d_in);
      Dequantize(GetParam(), bytes.data(), d_out * d_in, w.data());
      // Blocks lie in files at any address.
      std::vector<uint8_t> shifted(bytes.size() + 1);
      std::copy(bytes.begin(), bytes.end(), shifted.begin() + 1);
      for (const int64_t n_rows : {1, 2, 3, 4, 5, 7, 16, 17, 23}) {
        const auto x = Normal(n_rows * d_in, static_cast<uint32_t>(n_rows));
        ForEachTarget([&] {
          SCOPED_TRACE(testing::Message() << n_rows << " rows, " << d_in << " to " << d_out);
          Product p({.format = GetParam(),
                     .n_rows = n_rows,
                     .d_in = d_in,
                     .d_out = d_out,
                     .y_stride = d_out + n_rows % 3},
                    shifted.data() + 1, x);
          p.Run(0, d_out);
          ExpectNear(p, x, w);
        });
        if (HasFatalFailure()) return;
      }
    }
  }
}

// The batch must not change the answer: a row has the same bits alone, in any place of any batch,
// in whichever ranges and threads its outputs are computed.
TEST_P(MatMulTest, BitsDependOnTheRowAlone) {
  for (const int64_t d_in : {InputSizes().back(), InputSizes()[InputSizes().size() - 2]}) {
    constexpr int64_t kOutputs = 29, kRows = 40;
    const auto w = RandomWeight(GetParam(), kOutputs, d_in, 7);
    const auto x = Normal(kRows * d_in, 8);
    ForEachTarget([&] {
      const auto sizes = [&](int64_t n_rows) {
        return MatMulArgs{.format = GetParam(),
                          .n_rows = n_rows,
                          .d_in = d_in,
                          .d_out = kOutputs,
                          .y_stride = kOutputs};
      };
      std::vector<uint32_t> alone(kRows * kOutputs);  // row by row
      for (int64_t row = 0; row < kRows; ++row) {
        const std::vector<float> one(x.begin() + row * d_in, x.begin() + (row + 1) * d_in);
        Product p(sizes(1), w.data(), one);
        p.Run(0, kOutputs);
        for (int64_t o = 0; o < kOutputs; ++o) alone[row * kOutputs + o] = p.Bits(0, o);
      }
      for (int64_t n_rows = 2; n_rows <= kRows; n_rows += n_rows < 20 ? 1 : 7) {
        const int64_t first = (n_rows * 5) % (kRows - n_rows + 1);
        const std::vector<float> some(x.begin() + first * d_in,
                                      x.begin() + (first + n_rows) * d_in);
        Product whole(sizes(n_rows), w.data(), some);
        whole.Run(0, kOutputs);
        Product cut(sizes(n_rows), w.data(), some);
        for (int64_t begin = 0, n = 1; begin < kOutputs; begin += n, n = n % 5 + 1) {
          cut.Run(begin, std::min(begin + n, kOutputs));
        }
        for (int64_t row = 0; row < n_rows; ++row) {
          for (int64_t o = 0; o < kOutputs; ++o) {
            const uint32_t want = alone[(first + row) * kOutputs + o];
            ASSERT_EQ(whole.Bits(row, o), want) << n_rows << " rows: " << row << ", " << o;
            ASSERT_EQ(cut.Bits(row, o), want) << n_rows << " rows, cut: " << row << ", " << o;
          }
        }
      }
    });
  }
}

// So many rows that x is larger than a cache, and more outputs than a panel then has.
TEST_P(MatMulTest, ManyRowsHaveTheBitsOfOne) {
  const int64_t d_in = info_.block_size == 256 ? 768 : 576;
  constexpr int64_t kOutputs = 233, kRows = 241;
  const auto w = RandomWeight(GetParam(), kOutputs, d_in, 9);
  const auto x = Normal(kRows * d_in, 10);
  MatMulArgs sizes{
      .format = GetParam(), .n_rows = kRows, .d_in = d_in, .d_out = kOutputs, .y_stride = kOutputs};
  Product all(sizes, w.data(), x);
  all.Run(0, kOutputs);
  sizes.n_rows = 1;
  for (const int64_t row : {0, 5, 100, 239, 240}) {
    const std::vector<float> one(x.begin() + row * d_in, x.begin() + (row + 1) * d_in);
    Product alone(sizes, w.data(), one);
    alone.Run(0, kOutputs);
    for (int64_t o = 0; o < kOutputs; ++o) ASSERT_EQ(all.Bits(row, o), alone.Bits(0, o)) << row;
  }
}

// Two threads, each with its scratch; for the thread sanitizer.
TEST_P(MatMulTest, ThreadsShareTheOutputs) {
  const int64_t d_in = InputSizes().back();
  constexpr int64_t kOutputs = 50, kRows = 21;
  const auto w = RandomWeight(GetParam(), kOutputs, d_in, 3);
  const auto x = Normal(kRows * d_in, 4);
  const MatMulArgs sizes{
      .format = GetParam(), .n_rows = kRows, .d_in = d_in, .d_out = kOutputs, .y_stride = kOutputs};
  Product one(sizes, w.data(), x);
  one.Run(0, kOutputs);
  Product two(sizes, w.data(), x);
  const auto run = [&](int64_t begin, int64_t end) {
    std::vector<float> scratch(MatMulScratchFloats(two.args));
    MatMul(two.args, begin, end, scratch.data());
  };
  std::thread other(run, 23, kOutputs);
  run(0, 23);
  other.join();
  for (int64_t i = 0; i < kRows * kOutputs; ++i) {
    ASSERT_EQ(one.Bits(i / kOutputs, i % kOutputs), two.Bits(i / kOutputs, i % kOutputs)) << i;
  }
}

// Sizes of a real model; more outputs than a panel has.
TEST_P(MatMulTest, SeveralPanels) {
  const int64_t d_in = 1536;
  const int64_t d_out = 203;
  const auto bytes = RandomWeight(GetParam(), d_out, d_in, 5);
  std::vector<float> w(d_out * d_in);
  Dequantize(GetParam(), bytes.data(), d_out * d_in, w.data());
  const auto x = Normal(19 * d_in, 6);
  Product p({.format = GetParam(), .n_rows = 19, .d_in = d_in, .d_out = d_out, .y_stride = d_out},
            bytes.data(), x);
  p.Run(0, d_out);
  ExpectNear(p, x, w);
}

// Nothing is rounded to a narrower type on the way, and nothing overflows before f32 does.
TEST(MatMulF32Test, LargeAndSmallNumbers) {
  for (const float scale : {1e-18F, 1e17F}) {
    for (const int64_t n_rows : {1, 3, 20}) {
      constexpr int64_t kIn = 100, kOut = 9;
      const auto w = Normal(kOut * kIn, 1, scale);
      const auto x = Normal(n_rows * kIn, 2, scale);
      ForEachTarget([&] {
        Product p({.n_rows = n_rows, .d_in = kIn, .d_out = kOut, .y_stride = kOut}, w.data(), x);
        p.Run(0, kOut);
        ExpectNear(p, x, w);
      });
    }
  }
}

// A NaN or infinity is seen in its row and nowhere else, wherever in the row it stands: also in the
// last numbers, which are padded with zeros.
TEST(MatMulF32Test, InfinitiesStayInTheirRow) {
  constexpr int64_t kIn = 45, kOut = 6, kBad = 2;
  const std::vector<float> w(kOut * kIn, 1);
  for (const int64_t n_rows : {4, 21}) {
    for (const int64_t at : {0, 31, 32, 44}) {
      std::vector<float> x(n_rows * kIn, 1);
      x[kBad * kIn + at] = INFINITY;
      ForEachTarget([&] {
        Product p({.n_rows = n_rows, .d_in = kIn, .d_out = kOut, .y_stride = kOut}, w.data(), x);
        p.Run(0, kOut);
        for (int64_t row = 0; row < n_rows; ++row) {
          for (int64_t o = 0; o < kOut; ++o) {
            ASSERT_EQ(p.y[row * kOut + o], row == kBad ? INFINITY : 45) << row;
          }
        }
      });
    }
  }
}

TEST(MatMulArgsTest, NothingToDo) {
  float y = kGuard;
  MatMulArgs args{.y = &y, .n_rows = 0, .d_in = 4, .d_out = 1, .y_stride = 1};
  MatMul(args, 0, 1, nullptr);
  args.n_rows = 1;
  MatMul(args, 1, 1, nullptr);
  EXPECT_EQ(y, kGuard);
  args.d_in = 0;  // a sum of nothing
  MatMul(args, 0, 1, nullptr);
  EXPECT_EQ(y, 0);
}

TEST(MatMulArgsTest, RefusesWhatWouldReachOutside) {
  std::vector<float> numbers(100);
  const MatMulArgs good{.weight = numbers.data(),
                        .x = numbers.data(),
                        .y = numbers.data(),
                        .n_rows = 1,
                        .d_in = 4,
                        .d_out = 2,
                        .y_stride = 2};
  EXPECT_THROW(MatMul(good, 0, 3, nullptr), std::invalid_argument);
  EXPECT_THROW(MatMul(good, -1, 2, nullptr), std::invalid_argument);
  MatMulArgs bad = good;
  bad.y_stride = 1;
  EXPECT_THROW(MatMul(bad, 0, 2, nullptr), std::invalid_argument);
  bad = good;
  bad.format = Format::kQ4_1;
  EXPECT_THROW(MatMul(bad, 0, 2, nullptr), std::invalid_argument);
  bad = good;
  bad.format = Format::kF16;
  bad.n_rows = 100;
  ASSERT_GT(MatMulScratchFloats(bad), 0);
  EXPECT_THROW(MatMul(bad, 0, 2, nullptr), std::invalid_argument);
}

}  // namespace
}  // namespace aios::kernels::cpu
