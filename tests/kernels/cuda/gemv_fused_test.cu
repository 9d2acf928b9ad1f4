// Gemv with what comes before (RmsNorm) and after it (adding to the residual stream, SiLU). The
// product itself: gemv_test.cu.
#include <algorithm>
#include <cmath>
#include <functional>
#include <stdexcept>
#include <string>

#include "kernels/cuda/gemv.h"
#include "kernels/cuda/rms_norm.h"
#include "tests/kernels/cuda/gpu_testing.h"

namespace aios::kernels::cuda {
namespace {

constexpr float kEps = 1e-3F;  // large, so that forgetting it shows

// kGemvMaxRows vectors, a matrix and what y is before, of numbers that their types hold exactly.
struct Problem {
  int64_t d_in, d_out;
  Format dtype;
  GemvOutput output;
  bool norm;
  std::vector<float> x, norm_weight, weight, y;  // x: the residual, where it is normalized

  Problem(int64_t in, int64_t out, Format format, GemvOutput o, bool with_norm)
      : d_in(in),
        d_out(out),
        dtype(format),
        output(o),
        norm(with_norm),
        x(RandomFloats(kGemvMaxRows * in, 1, 3)),
        norm_weight(RandomFloats(in, 2)),
        weight(RandomFloats((o == GemvOutput::kSiluMul ? 2 : 1) * out * in, 3,
                            1 / std::sqrt(static_cast<float>(in)))),
        y(RandomFloats(kGemvMaxRows * out, 4)) {
    if (dtype != Format::kBF16) return;
    for (float& value : weight) value = BF16ToFloat(FloatToBF16(value));
    if (norm) return;
    for (float& value : x) value = BF16ToFloat(FloatToBF16(value));
  }

  std::string Name() const {
    const char* const outputs[] = {"store", "add", "silu"};
    return std::string(Info(dtype).name) + (norm ? " norm " : " ") +
           outputs[static_cast<int>(output)] + " " + std::to_string(d_in) + " to " +
           std::to_string(d_out);
  }
};

struct Options {
  int n_rows = 1;
  int first_row = 0;  // of the problem's
  Format y_dtype = Format::kF32;
  int shift = 0;  // numbers past an aligned address
  bool overlap_previous = false;
  bool apart = false;  // RmsNorm as a kernel of its own
};

// The bits of `values` in the dtype, `shift` numbers in.
TestBuffer<uint16_t> OfDtype(std::vector<float> values, Format dtype, int shift) {
  values.insert(values.begin(), shift, 0);
  if (dtype == Format::kBF16) return TestBuffer<uint16_t>(ToBF16(values));
  std::vector<uint16_t> bits(2 * values.size());
  std::memcpy(bits.data(), values.data(), 4 * values.size());
  return TestBuffer<uint16_t>(bits);
}

// [n_rows, d_out]
std::vector<float> Compute(const Problem& p, const Options& o) {
  const int64_t size = Info(p.dtype).block_bytes, y_size = Info(o.y_dtype).block_bytes;
  const auto rows = [&](const std::vector<float>& all, int64_t n) {
    const auto begin = all.begin() + o.first_row * n;
    return std::vector<float>(begin, begin + o.n_rows * n);
  };
  const std::vector<float> x_rows = rows(p.x, p.d_in);
  const TestBuffer<uint16_t> x = OfDtype(x_rows, p.dtype, o.shift);
  const TestBuffer<uint16_t> residual = OfDtype(x_rows, Format::kF32, o.shift);
  const TestBuffer<uint16_t> norm_weight = OfDtype(p.norm_weight, Format::kF32, o.shift);
  const TestBuffer<uint16_t> weight = OfDtype(p.weight, p.dtype, o.shift);
  const TestBuffer<char> workspace(GemvWorkspaceBytes(o.n_rows, p.d_in, p.dtype));
  const TestBuffer<uint16_t> y =
      p.output == GemvOutput::kAdd
          ? OfDtype(rows(p.y, p.d_out), Format::kF32, o.shift)
          : TestBuffer<uint16_t>((o.n_rows * p.d_out + o.shift) * y_size / 2);
  const auto shifted = [&](const TestBuffer<uint16_t>& buffer, int64_t bytes) {
    return static_cast<void*>(reinterpret_cast<char*>(buffer.data()) + o.shift * bytes);
  };
  GemvArgs args = {.x = shifted(x, size),
                   .weight = shifted(weight, size),
                   .y = shifted(y, y_size),
                   .n_rows = o.n_rows,
                   .d_in = p.d_in,
                   .d_out = p.d_out,
                   .dtype = p.dtype,
                   .y_dtype = o.y_dtype,
                   .output = p.output,
                   .overlap_previous = o.overlap_previous};
  if (p.norm && o.apart) {
    RmsNorm({.x = static_cast<float*>(shifted(residual, 4)),
             .weight = static_cast<float*>(shifted(norm_weight, 4)),
             .out = workspace.data(),
             .eps = kEps,
             .n_rows = o.n_rows,
             .d_model = p.d_in,
             .dtype = p.dtype},
            nullptr);
    args.x = workspace.data();
  } else if (p.norm) {
    args.x = nullptr;
    args.residual = static_cast<float*>(shifted(residual, 4));
    args.norm_weight = static_cast<float*>(shifted(norm_weight, 4));
    args.norm_eps = kEps;
    args.workspace = workspace.data();
  }
  Gemv(args, nullptr);
  AIOS_CUDA_CHECK(cudaDeviceSynchronize());
  std::vector<uint16_t> bits = y.Download();
  bits.erase(bits.begin(), bits.begin() + o.shift * y_size / 2);
  std::vector<float> result(o.n_rows * p.d_out);
  if (o.y_dtype == Format::kBF16) {
    std::transform(bits.begin(), bits.end(), result.begin(), BF16ToFloat);
  } else {
    std::memcpy(result.data(), bits.data(), 4 * result.size());
  }
  return result;
}

// A number and how far f32 sums and, of a norm, x rounded to bf16 may take it.
struct Expected {
  double value, tolerance;
};

Expected Dot(const Problem& p, int64_t row, int64_t row_of_w) {
  double scale = 1;
  if (p.norm) {
    double sum = 0;
    for (int64_t k = 0; k < p.d_in; ++k) sum += std::pow(double{p.x[row * p.d_in + k]}, 2);
    scale = 1 / std::sqrt(sum / static_cast<double>(p.d_in) + double{kEps});
  }
  double sum = 0, size = 0;
  for (int64_t k = 0; k < p.d_in; ++k) {
    const double x = double{p.x[row * p.d_in + k]} * (p.norm ? scale * p.norm_weight[k] : 1);
    const double term = x * double{p.weight[row_of_w * p.d_in + k]};
    sum += term;
    size += std::abs(term);
  }
  const bool rounded = p.norm && p.dtype == Format::kBF16;
  return {sum, (rounded ? 0x1p-8 : 0) * size + 2e-6 * size};
}

void ExpectRight(const Problem& p, const Options& o, const std::vector<float>& y) {
  for (int r = 0; r < o.n_rows; ++r) {
    const int64_t row = o.first_row + r;
    for (int64_t i = 0; i < p.d_out; ++i) {
      Expected want = Dot(p, row, i);
      if (p.output == GemvOutput::kAdd) {
        want.value += double{p.y[row * p.d_out + i]};
        want.tolerance += 1e-7 * std::abs(want.value);
      } else if (p.output == GemvOutput::kSiluMul) {
        const Expected up = Dot(p, row, p.d_out + i);
        const double silu = want.value / (1 + std::exp(-want.value));
        // SiLU is nowhere steeper than 1.1.
        want = {silu * up.value, 1.1 * want.tolerance * (std::abs(up.value) + up.tolerance) +
                                     std::abs(silu) * up.tolerance +
                                     2e-6 * std::abs(silu * up.value)};
      }
      if (o.y_dtype == Format::kBF16) want.tolerance += 0x1p-8 * std::abs(want.value);
      ASSERT_LE(std::abs(double{y[r * p.d_out + i]} - want.value), want.tolerance)
          << p.Name() << ", row " << r << ", output " << i;
    }
  }
}

bool SameBits(const float* a, const float* b, size_t n) {
  return std::memcmp(a, b, n * sizeof(float)) == 0;
}

class GemvFusedTest : public ::testing::Test {
 protected:
  void SetUp() override { AIOS_SKIP_WITHOUT_GPU(); }
};

// Odd ones; those of whole models; more tiles than there is room for blocks, in each of the fast
// path's ways; d_in too long to be normalized inside.
const std::vector<std::pair<int64_t, int64_t>> kShapes = {
    {1, 1},       {7, 17},      {8, 8},     {24, 9},     {256, 33},   {264, 40},
    {576, 4500},  {1000, 57},   {1001, 31}, {1024, 130}, {2048, 300}, {4096, 70},
    {1032, 4300}, {2056, 2200}, {4104, 23}, {8192, 24},  {14336, 40}, {16392, 9}};

void ForAllProblems(const std::function<void(const Problem&)>& body) {
  for (const Format dtype : {Format::kBF16, Format::kF32}) {
    for (const GemvOutput output : {GemvOutput::kStore, GemvOutput::kAdd, GemvOutput::kSiluMul}) {
      for (const bool norm : {false, true}) {
        if (output == GemvOutput::kStore && !norm) continue;  // gemv_test.cu
        for (const auto& [d_in, d_out] : kShapes) body({d_in, d_out, dtype, output, norm});
      }
    }
  }
}

TEST_F(GemvFusedTest, AgreesWithDouble) {
  ForAllProblems([](const Problem& p) {
    for (const int n_rows : {1, 3}) {
      const Options o = {.n_rows = n_rows, .first_row = 2};
      ExpectRight(p, o, Compute(p, o));
    }
    if (p.output == GemvOutput::kAdd) return;
    const Options o = {.n_rows = 2, .y_dtype = Format::kBF16};
    ExpectRight(p, o, Compute(p, o));
  });
}

TEST_F(GemvFusedTest, AnyAlignment) {
  for (const Format dtype : {Format::kBF16, Format::kF32}) {
    for (const GemvOutput output : {GemvOutput::kStore, GemvOutput::kAdd, GemvOutput::kSiluMul}) {
      const Problem p(512, 70, dtype, output, true);
      const Options o = {.n_rows = 5, .shift = 1};
      ExpectRight(p, o, Compute(p, o));
    }
  }
}

TEST_F(GemvFusedTest, NormalizesToTheBitsOfRmsNorm) {
  ForAllProblems([](const Problem& p) {
    if (!p.norm) return;
    for (const int n_rows : {1, 2, 8}) {
      const std::vector<float> apart = Compute(p, {.n_rows = n_rows, .apart = true});
      const std::vector<float> fused = Compute(p, {.n_rows = n_rows});
      ASSERT_TRUE(SameBits(fused.data(), apart.data(), apart.size())) << p.Name() << ", " << n_rows;
    }
  });
}

TEST_F(GemvFusedTest, BitsDoNotDependOnTheOtherRows) {
  ForAllProblems([](const Problem& p) {
    const std::vector<float> all = Compute(p, {.n_rows = kGemvMaxRows});
    for (int n_rows = 1; n_rows < kGemvMaxRows; ++n_rows) {
      for (const int first_row : {0, kGemvMaxRows - n_rows}) {
        const std::vector<float> some =
            Compute(p, {.n_rows = n_rows, .first_row = first_row, .overlap_previous = true});
        ASSERT_TRUE(SameBits(some.data(), &all[first_row * p.d_out], some.size()))
            << p.Name() << ", " << n_rows << " rows";
      }
    }
  });
}

// The second half of a layer, again and again on one residual stream, each kernel reading what the
// one before wrote: captured once, run twice.
TEST_F(GemvFusedTest, OverlappedLayersInAGraph) {
  struct Shape {
    int64_t d_model, d_ff;
    int n_rows;
  };
  for (const Shape& s : {Shape{256, 512, 8}, Shape{576, 1536, 3}, Shape{2048, 8192, 1}}) {
    constexpr int kLayers = 12;
    const auto weights = [](int64_t n, int64_t d_in, uint64_t seed) {
      return TestBuffer<uint16_t>(
          ToBF16(RandomFloats(n, seed, 1 / std::sqrt(static_cast<float>(d_in)))));
    };
    const TestBuffer<uint16_t> gate_up = weights(2 * s.d_ff * s.d_model, s.d_model, 1);
    const TestBuffer<uint16_t> down = weights(s.d_model * s.d_ff, s.d_ff, 2);
    const TestBuffer<float> norm_weight(RandomFloats(s.d_model, 3));
    const std::vector<float> residual0 = RandomFloats(s.n_rows * s.d_model, 4);
    const auto run = [&](bool overlap) {
      const TestBuffer<float> residual(residual0);
      const TestBuffer<uint16_t> hidden(s.n_rows * s.d_ff);
      const TestBuffer<char> workspace(GemvWorkspaceBytes(s.n_rows, s.d_model, Format::kBF16));
      cudaStream_t stream;
      cudaGraph_t graph;
      cudaGraphExec_t exec;
      AIOS_CUDA_CHECK(cudaStreamCreate(&stream));
      AIOS_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
      for (int i = 0; i < kLayers; ++i) {
        Gemv({.residual = residual.data(),
              .norm_weight = norm_weight.data(),
              .workspace = workspace.data(),
              .weight = gate_up.data(),
              .y = hidden.data(),
              .n_rows = s.n_rows,
              .d_in = s.d_model,
              .d_out = s.d_ff,
              .output = GemvOutput::kSiluMul,
              .overlap_previous = overlap},
             stream);
        Gemv({.x = hidden.data(),
              .weight = down.data(),
              .y = residual.data(),
              .n_rows = s.n_rows,
              .d_in = s.d_ff,
              .d_out = s.d_model,
              .y_dtype = Format::kF32,
              .output = GemvOutput::kAdd,
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
      return residual.Download();
    };
    const std::vector<float> want = run(false);
    ASSERT_FALSE(SameBits(want.data(), residual0.data(), want.size()));
    for (const float value : want) ASSERT_TRUE(std::isfinite(value));
    for (int i = 0; i < 5; ++i) {
      const std::vector<float> got = run(true);
      ASSERT_TRUE(SameBits(got.data(), want.data(), want.size())) << s.d_model;
    }
  }
}

TEST_F(GemvFusedTest, EmptySizes) {
  const TestBuffer<float> y(std::vector<float>{1, 2});
  GemvArgs args = {.y = y.data(), .d_in = 0, .d_out = 2, .y_dtype = Format::kF32};
  args.output = GemvOutput::kAdd;
  Gemv(args, nullptr);
  AIOS_CUDA_CHECK(cudaDeviceSynchronize());
  EXPECT_EQ(y.Download(), (std::vector<float>{1, 2}));
  args.output = GemvOutput::kSiluMul;
  Gemv(args, nullptr);
  AIOS_CUDA_CHECK(cudaDeviceSynchronize());
  EXPECT_EQ(y.Download(), (std::vector<float>{0, 0}));
}

TEST_F(GemvFusedTest, RefusesWhatItCannotDo) {
  const TestBuffer<float> some(8);
  EXPECT_THROW(Gemv({.y = some.data(), .d_in = 8, .d_out = 8, .output = GemvOutput::kAdd}, nullptr),
               std::invalid_argument);
  EXPECT_THROW(
      Gemv({.residual = some.data(), .norm_weight = some.data(), .d_in = 8, .d_out = 8}, nullptr),
      std::invalid_argument);
}

}  // namespace
}  // namespace aios::kernels::cuda
