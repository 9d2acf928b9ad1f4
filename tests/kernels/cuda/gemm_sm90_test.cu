// The product by wgmma against loops in double; and that a row's bits know nothing of other rows.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "kernels/cuda/gemm_sm90.h"
#include "tests/kernels/cuda/gpu_testing.h"

namespace aios::kernels::cuda {
namespace {

struct Shape {
  int64_t d_in, d_out;
};

class GemmSm90Test : public testing::TestWithParam<Shape> {
 protected:
  void SetUp() override {
    AIOS_SKIP_WITHOUT_GPU();
    if (!GemmSm90Supports({.d_in = 64, .d_out = 64})) GTEST_SKIP() << "no Hopper GPU here";
  }
};

// Of a case: numbers, as bf16.
struct Problem {
  Problem(Shape shape, int64_t n_rows, GemvOutput output)
      : s(shape),
        n(n_rows),
        x(ToBF16(RandomFloats(n_rows * shape.d_in, 1))),
        w(ToBF16(
            RandomFloats(shape.d_in * shape.d_out * (output == GemvOutput::kSiluMul ? 2 : 1), 2))),
        before(RandomFloats(n_rows * shape.d_out, 3, 10)),
        output(output) {}

  // Of rows [first, first + n_rows) alone.
  template <typename T>
  std::vector<T> Run(int64_t first, int64_t n_rows, bool overlap = false,
                     GemmSm90Way way = {}) const {
    const TestBuffer<uint16_t> dx(
        std::vector<uint16_t>(x.begin() + first * s.d_in, x.begin() + (first + n_rows) * s.d_in));
    const TestBuffer<uint16_t> dw(w);
    const TestBuffer<T> dy(n_rows * s.d_out);
    if constexpr (sizeof(T) == 4) {
      UploadBefore(dy, first, n_rows);
    }
    GemmSm90({.x = dx.data(),
              .weight = dw.data(),
              .y = dy.data(),
              .n_rows = n_rows,
              .d_in = s.d_in,
              .d_out = s.d_out,
              .y_dtype = sizeof(T) == 4 ? Format::kF32 : Format::kBF16,
              .output = output,
              .way = way,
              .overlap_previous = overlap},
             nullptr);
    AIOS_CUDA_CHECK(cudaDeviceSynchronize());
    return dy.Download();
  }

  // Element (i, j) in double; *size: of the terms of its sums.
  double Want(int64_t i, int64_t j, double* size) const {
    const double a = Dot(i, j, size);
    if (output == GemvOutput::kAdd) return before[i * s.d_out + j] + a;
    if (output == GemvOutput::kStore) return a;
    double size_of_up = 0;
    const double up = Dot(i, s.d_out + j, &size_of_up);
    const double gate = a / (1 + std::exp(-a));
    *size = *size * std::abs(up) * 1.1 + size_of_up * std::abs(gate);  // |silu'| <= 1.1
    return gate * up;
  }

  Shape s;
  int64_t n;
  std::vector<uint16_t> x, w;
  std::vector<float> before;
  GemvOutput output;

 private:
  template <typename T>
  void UploadBefore(const TestBuffer<T>& dy, int64_t first, int64_t n_rows) const {
    const std::vector<float> rows(before.begin() + first * s.d_out,
                                  before.begin() + (first + n_rows) * s.d_out);
    AIOS_CUDA_CHECK(
        cudaMemcpy(dy.data(), rows.data(), rows.size() * sizeof(float), cudaMemcpyHostToDevice));
  }
  double Dot(int64_t i, int64_t row_of_w, double* size) const {
    double sum = 0, squares = 0;
    for (int64_t k = 0; k < s.d_in; ++k) {
      const double term = static_cast<double>(BF16ToFloat(x[i * s.d_in + k])) *
                          BF16ToFloat(w[row_of_w * s.d_in + k]);
      sum += term;
      squares += term * term;
    }
    *size = std::sqrt(squares);
    return sum;
  }
};

float FromLane(float x) { return x; }
float FromLane(uint16_t x) { return BF16ToFloat(x); }

template <typename T>
void ExpectRight(const Problem& p, bool overlap = false, GemmSm90Way way = {}) {
  SCOPED_TRACE(testing::Message() << p.n << " x " << p.s.d_in << " to " << p.s.d_out << ", output "
                                  << static_cast<int>(p.output) << ", bytes " << sizeof(T));
  const std::vector<T> got = p.Run<T>(0, p.n, overlap, way);
  // Tensor cores cut off what does not fit their sums, at each step of 16 terms; __expf.
  const double tolerance = 256 * 0x1p-23;
  const double rounding =
      (sizeof(T) == 2 ? 0x1p-8 : 0x1p-22) + (p.output == GemvOutput::kSiluMul ? 4e-6 : 0);
  for (int64_t i = 0; i < p.n; ++i) {
    for (int64_t j = 0; j < p.s.d_out; ++j) {
      double size = 0;
      const double want = p.Want(i, j, &size);
      ASSERT_NEAR(FromLane(got[i * p.s.d_out + j]), want,
                  tolerance * size + rounding * std::abs(want))
          << i << ", " << j;
    }
  }
}

TEST_P(GemmSm90Test, EqualsDoubles) {
  const Shape s = GetParam();
  for (const int64_t n : {1, 9, 33, 64, 200}) {
    if (n * s.d_in * s.d_out > 100'000'000) continue;  // the loops in double take too long
    ExpectRight<uint16_t>({s, n, GemvOutput::kStore});
    ExpectRight<float>({s, n, GemvOutput::kStore}, /*overlap=*/true);
    ExpectRight<float>({s, n, GemvOutput::kAdd});
    if (n <= 64) ExpectRight<uint16_t>({s, n, GemvOutput::kSiluMul}, /*overlap=*/true);
  }
}

// In one launch for each number of rows from which another kernel takes over, and beyond a tile's.
TEST_P(GemmSm90Test, TheOtherRowsDoNotChangeTheBits) {
  const Shape s = GetParam();
  constexpr int64_t kMost = 700;
  for (const GemvOutput output : {GemvOutput::kStore, GemvOutput::kAdd, GemvOutput::kSiluMul}) {
    const Problem p(s, kMost, output);
    const auto check = [&](auto lane) {
      using T = decltype(lane);
      const std::vector<T> all = p.Run<T>(0, kMost);
      for (const int64_t n : {1, 2, 16, 17, 32, 33, 64, 65, 96, 97, 128, 129, 192, 193, 256, 257}) {
        const int64_t first = (n * 37) % (kMost - n);
        const std::vector<T> some = p.Run<T>(first, n);
        ASSERT_EQ(std::memcmp(some.data(), all.data() + first * s.d_out, some.size() * sizeof(T)),
                  0)
            << n << " rows of " << s.d_in << " to " << s.d_out;
      }
    };
    if (output == GemvOutput::kSiluMul) {
      check(uint16_t{});
    } else {
      check(float{});
    }
  }
}

// However the work is divided among blocks: only into how many parts the columns are cut may show.
TEST_P(GemmSm90Test, AllWaysGiveTheSameBits) {
  const Shape s = GetParam();
  if (s.d_in * s.d_out > 5'000'000) return;  // no other tiles than those of the others
  for (const GemvOutput output : {GemvOutput::kAdd, GemvOutput::kSiluMul}) {
    const Problem p(s, 300, output);
    const auto check = [&](auto lane) {
      using T = decltype(lane);
      for (const int n_parts : {1, 2, 3, 4, 8}) {
        if (s.d_in < 64 * n_parts) continue;
        GemmSm90Way first = GemmSm90Ways().front();
        first.parts = n_parts;
        if (s.d_in * s.d_out <= 1'500'000) {
          ExpectRight<T>({s, 33, output}, /*overlap=*/false, first);
        }
        for (const int64_t n : {5, 300}) {
          const std::vector<T> want = p.Run<T>(0, n, false, first);
          for (GemmSm90Way way : GemmSm90Ways()) {
            if (way.sharing * n_parts > 8) continue;
            way.parts = n_parts;
            const std::vector<T> got = p.Run<T>(0, n, /*overlap=*/true, way);
            ASSERT_EQ(std::memcmp(got.data(), want.data(), got.size() * sizeof(T)), 0)
                << n << " rows of " << s.d_in << " to " << s.d_out << " by " << way.weight_rows
                << " x " << way.x_rows << ", sharing " << way.sharing << ", blocks " << way.blocks
                << ", parts " << n_parts;
          }
        }
      }
    };
    if (output == GemvOutput::kSiluMul) {
      check(uint16_t{});
    } else {
      check(float{});
    }
  }
}

// Of models (qwen3-0.6b's and llama-1b's) and of awkward sizes, whose columns are cut in 1, 2, 3, 4
// and 8 parts.
INSTANTIATE_TEST_SUITE_P(Shapes, GemmSm90Test,
                         testing::Values(Shape{64, 128}, Shape{8, 4}, Shape{72, 132},
                                         Shape{576, 960}, Shape{1536, 576}, Shape{1024, 3072},
                                         Shape{3072, 1024}, Shape{2048, 9000}, Shape{512, 16000},
                                         Shape{1000, 4096}));

// A chain of steps that overlap, as a graph, gives what they give one by one: each reads what the
// one before has written.
TEST(GemmSm90Chain, WaitsForThePreviousKernel) {
  AIOS_SKIP_WITHOUT_GPU();
  if (!GemmSm90Supports({.d_in = 64, .d_out = 64})) GTEST_SKIP() << "no Hopper GPU here";
  constexpr int64_t kWide = 2048, kNarrow = 1024, kRows = 24, kSteps = 20;
  const TestBuffer<uint16_t> up(ToBF16(RandomFloats(kWide * kNarrow, 5, 0.03F)));
  const TestBuffer<uint16_t> down(ToBF16(RandomFloats(kWide * kNarrow, 6, 0.03F)));
  const std::vector<uint16_t> begin = ToBF16(RandomFloats(kRows * kNarrow, 7));
  const auto run = [&](bool overlap) {
    const TestBuffer<uint16_t> narrow(begin), wide(kRows * kWide);
    cudaStream_t stream = nullptr;
    AIOS_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    for (int64_t i = 0; i < kSteps; ++i) {
      GemmSm90Args args = {.x = narrow.data(),
                           .weight = up.data(),
                           .y = wide.data(),
                           .n_rows = kRows,
                           .d_in = kNarrow,
                           .d_out = kWide,
                           .overlap_previous = overlap};
      GemmSm90(args, stream);
      args.x = wide.data(), args.weight = down.data(), args.y = narrow.data();
      args.d_in = kWide, args.d_out = kNarrow;
      GemmSm90(args, stream);
      if (!overlap) AIOS_CUDA_CHECK(cudaStreamSynchronize(stream));
    }
    AIOS_CUDA_CHECK(cudaStreamSynchronize(stream));
    cudaStreamDestroy(stream);
    return narrow.Download();
  };
  const std::vector<uint16_t> want = run(false);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(run(true), want);
}

TEST(GemmSm90Args, AreChecked) {
  AIOS_SKIP_WITHOUT_GPU();
  EXPECT_THROW(GemmSm90({.n_rows = 9, .d_in = 63, .d_out = 64}, nullptr), std::invalid_argument);
  EXPECT_THROW(GemmSm90({.n_rows = 9, .d_in = 64, .d_out = 63}, nullptr), std::invalid_argument);
  EXPECT_THROW(GemmSm90({.n_rows = 9, .d_in = 64, .d_out = 64, .way = {.parts = 5}}, nullptr),
               std::invalid_argument);
  EXPECT_THROW(
      GemmSm90({.n_rows = 9, .d_in = 64, .d_out = 64, .way = {.weight_rows = 65}}, nullptr),
      std::invalid_argument);
  EXPECT_THROW(
      GemmSm90({.n_rows = 9, .d_in = 64, .d_out = 64, .output = GemvOutput::kAdd}, nullptr),
      std::invalid_argument);
}

}  // namespace
}  // namespace aios::kernels::cuda
