#include <algorithm>
#include <cmath>
#include <map>
#include <stdexcept>

#include "kernels/cuda/gemv.h"
#include "tests/kernels/cuda/gpu_testing.h"

namespace aios::kernels::cuda {
namespace {

// kGemvMaxRows vectors and a matrix of numbers that `dtype` holds exactly.
struct Problem {
  int64_t d_in, d_out;
  Format dtype;
  std::vector<float> x, weight;

  Problem(int64_t in, int64_t out, Format format, float scale = 1)
      : d_in(in),
        d_out(out),
        dtype(format),
        x(RandomFloats(kGemvMaxRows * in, 1, scale)),
        weight(RandomFloats(out * in, 2, scale)) {
    if (dtype != Format::kBF16) return;
    for (float& value : x) value = BF16ToFloat(FloatToBF16(value));
    for (float& value : weight) value = BF16ToFloat(FloatToBF16(value));
  }
};

struct Options {
  int n_rows = 1;
  int first_row = 0;  // of the problem's
  Format y_dtype = Format::kF32;
  int shift = 0;  // numbers past an aligned address
  bool overlap_previous = false;
};

// [n_rows, d_out]
std::vector<float> Compute(const Problem& p, const Options& o) {
  const auto on_device = [&](std::vector<float> values) {
    values.insert(values.begin(), o.shift, 0);
    if (p.dtype == Format::kF32) {
      std::vector<uint16_t> bits(2 * values.size());
      std::memcpy(bits.data(), values.data(), 4 * values.size());
      return bits;
    }
    return ToBF16(values);
  };
  const int64_t size = p.dtype == Format::kF32 ? 4 : 2;
  const auto begin = p.x.begin() + o.first_row * p.d_in;
  const TestBuffer<uint16_t> x(on_device({begin, begin + o.n_rows * p.d_in}));
  const TestBuffer<uint16_t> weight(on_device(p.weight));
  const TestBuffer<float> y(o.n_rows * p.d_out + o.shift);
  const TestBuffer<uint16_t> y16(o.n_rows * p.d_out + o.shift);
  const bool bf16 = o.y_dtype == Format::kBF16;
  Gemv({.x = reinterpret_cast<const char*>(x.data()) + o.shift * size,
        .weight = reinterpret_cast<const char*>(weight.data()) + o.shift * size,
        .y = bf16 ? static_cast<void*>(y16.data() + o.shift)
                  : static_cast<void*>(y.data() + o.shift),
        .n_rows = o.n_rows,
        .d_in = p.d_in,
        .d_out = p.d_out,
        .dtype = p.dtype,
        .y_dtype = o.y_dtype,
        .overlap_previous = o.overlap_previous},
       nullptr);
  AIOS_CUDA_CHECK(cudaDeviceSynchronize());
  std::vector<float> result = y.Download();
  if (bf16) {
    const std::vector<uint16_t> bits = y16.Download();
    std::transform(bits.begin(), bits.end(), result.begin(), BF16ToFloat);
  }
  result.erase(result.begin(), result.begin() + o.shift);
  return result;
}

// Each number may be off by some roundings of f32 of its own terms, and one to y's dtype.
void ExpectRight(const Problem& p, const Options& o, const std::vector<float>& y) {
  for (int r = 0; r < o.n_rows; ++r) {
    for (int64_t i = 0; i < p.d_out; ++i) {
      double sum = 0, size = 0;
      for (int64_t k = 0; k < p.d_in; ++k) {
        const double term = static_cast<double>(p.x[(o.first_row + r) * p.d_in + k]) *
                            static_cast<double>(p.weight[i * p.d_in + k]);
        sum += term;
        size += std::abs(term);
      }
      const double tolerance =
          1e-6 * size + (o.y_dtype == Format::kBF16 ? 0x1p-8 * std::abs(sum) : 0);
      ASSERT_LE(std::abs(y[r * p.d_out + i] - sum), tolerance) << "row " << r << ", output " << i;
    }
  }
}

bool SameBits(const float* a, const float* b, size_t n) {
  return std::memcmp(a, b, n * sizeof(float)) == 0;
}

class GemvTest : public ::testing::Test {
 protected:
  void SetUp() override { AIOS_SKIP_WITHOUT_GPU(); }
};

// d_in x d_out: multiples of 8 take the fast path, the others the slow one. The last four have more
// tiles than there is room for blocks, in each of the fast path's ways.
const std::vector<std::pair<int64_t, int64_t>> kShapes = {
    {1, 1},      {3, 5},       {7, 17},      {8, 1},      {8, 9},      {24, 7},
    {64, 16},    {100, 33},    {576, 192},   {1000, 129}, {1001, 31},  {1536, 57},
    {2048, 300}, {4096, 100},  {4104, 65},   {8192, 24},  {14336, 40}, {24, 5000},
    {17, 3000},  {2048, 4500}, {2056, 5000}, {8, 17000},  {4104, 2200}};

TEST_F(GemvTest, AgreesWithDouble) {
  for (const Format dtype : {Format::kBF16, Format::kF32}) {
    for (const Format y_dtype : {Format::kBF16, Format::kF32}) {
      for (const auto& [d_in, d_out] : kShapes) {
        SCOPED_TRACE(testing::Message() << Info(dtype).name << " to " << Info(y_dtype).name << ", "
                                        << d_in << " to " << d_out);
        const Problem p(d_in, d_out, dtype);
        for (const int n_rows : {1, 3, 8}) {
          const Options o = {.n_rows = n_rows, .y_dtype = y_dtype};
          ExpectRight(p, o, Compute(p, o));
        }
      }
    }
  }
}

TEST_F(GemvTest, AnyAlignment) {
  for (const Format dtype : {Format::kBF16, Format::kF32}) {
    for (const int shift : {1, 2, 3}) {
      const Problem p(512, 70, dtype);
      const Options o = {.n_rows = 5, .shift = shift};
      ExpectRight(p, o, Compute(p, o));
    }
  }
}

TEST_F(GemvTest, LargeAndSmallNumbers) {
  for (const Format dtype : {Format::kBF16, Format::kF32}) {
    for (const float scale : {1e-15F, 1e15F}) {
      const Problem p(4096, 40, dtype, scale);
      const Options o = {.n_rows = 2};
      ExpectRight(p, o, Compute(p, o));
    }
  }
}

TEST_F(GemvTest, BitsDoNotDependOnTheOtherRows) {
  for (const Format dtype : {Format::kBF16, Format::kF32}) {
    for (const auto& [d_in, d_out] : kShapes) {
      const Problem p(d_in, d_out, dtype);
      const std::vector<float> all = Compute(p, {.n_rows = kGemvMaxRows});
      for (int n_rows = 1; n_rows < kGemvMaxRows; ++n_rows) {
        for (const int first_row : {0, kGemvMaxRows - n_rows}) {
          const std::vector<float> some =
              Compute(p, {.n_rows = n_rows, .first_row = first_row, .overlap_previous = true});
          ASSERT_TRUE(SameBits(some.data(), &all[first_row * d_out], some.size()))
              << Info(dtype).name << " " << d_in << " to " << d_out << ", " << n_rows << " rows";
        }
      }
    }
  }
}

// A row of W gives the same bits whatever its place and how many others there are.
TEST_F(GemvTest, BitsDoNotDependOnTheOtherOutputs) {
  for (const Format dtype : {Format::kBF16, Format::kF32}) {
    constexpr int64_t kIn = 1536;
    const Problem p(kIn, 5000, dtype);
    const std::vector<float> all = Compute(p, {});
    for (const int64_t row : {int64_t{1}, int64_t{8}, int64_t{2001}, int64_t{4999}}) {
      Problem one = p;
      one.d_out = 1;
      one.weight.assign(p.weight.begin() + row * kIn, p.weight.begin() + (row + 1) * kIn);
      EXPECT_EQ(Compute(one, {})[0], all[row]) << row;
    }
  }
}

// What is not a number stays in its row and its output.
TEST_F(GemvTest, NaNAndInfinityDoNotSpread) {
  for (const Format dtype : {Format::kBF16, Format::kF32}) {
    for (const int64_t d_in : {1000, 1001}) {
      constexpr int64_t kOut = 40;
      Problem p(d_in, kOut, dtype);
      const std::vector<float> want = Compute(p, {.n_rows = 3});
      p.x[d_in + 5] = NAN;
      p.weight[7 * d_in + 999] = INFINITY;
      const std::vector<float> y = Compute(p, {.n_rows = 3});
      for (int64_t r = 0; r < 3; ++r) {
        for (int64_t i = 0; i < kOut; ++i) {
          const float got = y[r * kOut + i];
          if (r == 1) {
            EXPECT_TRUE(std::isnan(got));
          } else if (i == 7) {
            EXPECT_TRUE(std::isinf(got));
          } else {
            EXPECT_EQ(got, want[r * kOut + i]);
          }
        }
      }
    }
  }
}

// y = W ... W x, each product reading what the one before wrote: captured once, run twice. With
// matrices large enough to still be loading, and small ones that all start at once.
TEST_F(GemvTest, OverlappedChainInAGraph) {
  for (const int64_t d_model : {256, 4096}) {
    constexpr int kSteps = 30;
    const int n_rows = d_model == 256 ? 8 : 1;
    const TestBuffer<uint16_t> weight(
        ToBF16(RandomFloats(d_model * d_model, 1, 1 / std::sqrt(static_cast<float>(d_model)))));
    const std::vector<uint16_t> x0 = ToBF16(RandomFloats(n_rows * d_model, 2));
    const auto run = [&](bool overlap) {
      const TestBuffer<uint16_t> a(x0), b(n_rows * d_model);
      cudaStream_t stream;
      cudaGraph_t graph;
      cudaGraphExec_t exec;
      AIOS_CUDA_CHECK(cudaStreamCreate(&stream));
      AIOS_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
      for (int i = 0; i < kSteps; ++i) {
        Gemv({.x = i % 2 == 0 ? a.data() : b.data(),
              .weight = weight.data(),
              .y = i % 2 == 0 ? b.data() : a.data(),
              .n_rows = n_rows,
              .d_in = d_model,
              .d_out = d_model,
              .overlap_previous = overlap},
             stream);
      }
      AIOS_CUDA_CHECK(cudaStreamEndCapture(stream, &graph));
      AIOS_CUDA_CHECK(cudaGraphInstantiate(&exec, graph, 0));
      for (int i = 0; i < 2; ++i) AIOS_CUDA_CHECK(cudaGraphLaunch(exec, stream));
      AIOS_CUDA_CHECK(cudaStreamSynchronize(stream));
      AIOS_CUDA_CHECK(cudaGraphExecDestroy(exec));
      AIOS_CUDA_CHECK(cudaGraphDestroy(graph));
      AIOS_CUDA_CHECK(cudaStreamDestroy(stream));
      return a.Download();
    };
    const std::vector<uint16_t> want = run(false);
    for (int i = 0; i < 5; ++i) ASSERT_EQ(run(true), want) << d_model;
  }
}

TEST_F(GemvTest, EmptySizes) {
  Gemv({.d_in = 8, .d_out = 0}, nullptr);
  const TestBuffer<float> y(4);
  Gemv({.y = y.data(), .n_rows = 2, .d_in = 0, .d_out = 2, .y_dtype = Format::kF32}, nullptr);
  AIOS_CUDA_CHECK(cudaDeviceSynchronize());
  EXPECT_EQ(y.Download(), std::vector<float>(4, 0));
}

TEST_F(GemvTest, RefusesWhatItCannotDo) {
  EXPECT_THROW(Gemv({.n_rows = 0, .d_in = 8, .d_out = 8}, nullptr), std::invalid_argument);
  EXPECT_THROW(Gemv({.n_rows = 9, .d_in = 8, .d_out = 8}, nullptr), std::invalid_argument);
  EXPECT_THROW(Gemv({.d_in = -8, .d_out = 8}, nullptr), std::invalid_argument);
  EXPECT_THROW(Gemv({.d_in = 8, .d_out = 8, .dtype = Format::kF16}, nullptr),
               std::invalid_argument);
  EXPECT_THROW(Gemv({.d_in = 8, .d_out = 8, .y_dtype = Format::kF16}, nullptr),
               std::invalid_argument);
}

}  // namespace
}  // namespace aios::kernels::cuda
