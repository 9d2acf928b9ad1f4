#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <tuple>

#include "kernels/cuda/rms_norm.h"
#include "tests/kernels/cuda/gpu_testing.h"

namespace aios::kernels::cuda {
namespace {

// A problem of n_rows rows on the device, in either dtype, with its answer in double.
struct Problem {
  int64_t n_rows, d_model;
  Format dtype;
  bool has_delta;
  std::vector<float> x, delta, weight;

  Problem(int64_t rows, int64_t d, Format format, bool with_delta, float scale = 1)
      : n_rows(rows),
        d_model(d),
        dtype(format),
        has_delta(with_delta),
        x(RandomFloats(rows * d, 1, scale)),
        delta(RandomFloats(rows * d, 2, scale)),
        weight(RandomFloats(d, 3)) {
    if (dtype != Format::kBF16) return;
    for (float& value : delta) value = BF16ToFloat(FloatToBF16(value));
  }

  std::vector<double> Answer(float eps) const {
    std::vector<double> out(x.size());
    for (int64_t r = 0; r < n_rows; ++r) {
      double sum = 0;
      const auto sum_of = [&](int64_t i) {  // the stream is f32: the addition rounds
        return static_cast<double>(has_delta ? x[r * d_model + i] + delta[r * d_model + i]
                                             : x[r * d_model + i]);
      };
      for (int64_t i = 0; i < d_model; ++i) sum += sum_of(i) * sum_of(i);
      const double scale = 1 / std::sqrt(sum / static_cast<double>(d_model) + eps);
      for (int64_t i = 0; i < d_model; ++i) out[r * d_model + i] = sum_of(i) * scale * weight[i];
    }
    return out;
  }
};

struct Result {
  std::vector<float> x, out;
};

// Only the problem's first n_rows rows; `shift` numbers past an aligned address.
Result Compute(const Problem& p, int64_t n_rows, float eps = 1e-5F, int shift = 0,
               bool overlap = false) {
  const size_t n = n_rows * p.d_model;
  const auto shifted = [&](std::vector<float> values, size_t size) {
    values.resize(size);
    values.insert(values.begin(), shift, 0);
    return values;
  };
  TestBuffer<float> x(shifted(p.x, n)), weight(shifted(p.weight, p.d_model));
  TestBuffer<float> delta(shifted(p.delta, n)), out(n + shift);
  TestBuffer<uint16_t> delta16(ToBF16(shifted(p.delta, n))), out16(n + shift);
  const bool bf16 = p.dtype == Format::kBF16;
  const void* const delta_of_dtype =
      bf16 ? static_cast<void*>(delta16.data() + shift) : static_cast<void*>(delta.data() + shift);
  RmsNorm({.x = x.data() + shift,
           .delta = p.has_delta ? delta_of_dtype : nullptr,
           .weight = weight.data() + shift,
           .out = bf16 ? static_cast<void*>(out16.data() + shift)
                       : static_cast<void*>(out.data() + shift),
           .eps = eps,
           .n_rows = n_rows,
           .d_model = p.d_model,
           .dtype = p.dtype,
           .overlap_previous = overlap},
          nullptr);
  AIOS_CUDA_CHECK(cudaDeviceSynchronize());
  Result result = {.x = x.Download(), .out = out.Download()};
  if (bf16) {
    const std::vector<uint16_t> bits = out16.Download();
    std::transform(bits.begin(), bits.end(), result.out.begin(), BF16ToFloat);
  }
  result.x.erase(result.x.begin(), result.x.begin() + shift);
  result.out.erase(result.out.begin(), result.out.begin() + shift);
  return result;
}

void ExpectRight(const Problem& p, const Result& result, float eps = 1e-5F) {
  for (size_t i = 0; i < p.x.size(); ++i) {
    ASSERT_EQ(result.x[i], p.has_delta ? p.x[i] + p.delta[i] : p.x[i]) << "x at " << i;
  }
  // bf16 keeps 8 bits: rounding is off by up to 2^-8 of the number.
  const double tolerance = p.dtype == Format::kBF16 ? 0x1.01p-8 : 1e-6;
  const std::vector<double> answer = p.Answer(eps);
  for (size_t i = 0; i < answer.size(); ++i) {
    ASSERT_LE(std::abs(result.out[i] - answer[i]), tolerance * std::abs(answer[i])) << "at " << i;
  }
}

// Comparing bits, so that NaN equals NaN.
bool SameBits(const float* a, const float* b, size_t n) {
  return std::memcmp(a, b, n * sizeof(float)) == 0;
}

class RmsNormTest : public ::testing::Test {
 protected:
  void SetUp() override { AIOS_SKIP_WITHOUT_GPU(); }
};

TEST_F(RmsNormTest, AgreesWithDouble) {
  for (const Format dtype : {Format::kBF16, Format::kF32}) {
    for (const bool has_delta : {true, false}) {
      for (const auto& [n_rows, d_model] : std::vector<std::pair<int64_t, int64_t>>{{1, 1},
                                                                                    {3, 7},
                                                                                    {2, 8},
                                                                                    {17, 17},
                                                                                    {5, 24},
                                                                                    {1, 576},
                                                                                    {7, 1000},
                                                                                    {2, 2047},
                                                                                    {33, 2048},
                                                                                    {3, 4096},
                                                                                    {2, 8192},
                                                                                    {2, 8200},
                                                                                    {1, 16384},
                                                                                    {2, 16392},
                                                                                    {1, 40001}}) {
        SCOPED_TRACE(testing::Message() << Info(dtype).name << " " << n_rows << " x " << d_model
                                        << (has_delta ? " + delta" : ""));
        const Problem p(n_rows, d_model, dtype, has_delta);
        ExpectRight(p, Compute(p, n_rows));
      }
    }
  }
}

TEST_F(RmsNormTest, AnyAlignment) {
  for (const Format dtype : {Format::kBF16, Format::kF32}) {
    const Problem p(3, 512, dtype, true);
    ExpectRight(p, Compute(p, 3, 1e-5F, 1));
  }
}

TEST_F(RmsNormTest, LargeAndSmallNumbers) {
  for (const float scale : {1e-12F, 1e-3F, 1e15F}) {
    const Problem p(2, 4096, Format::kF32, true, scale);
    ExpectRight(p, Compute(p, 2));
    ExpectRight(p, Compute(p, 2, 1e-3F), 1e-3F);
  }
}

TEST_F(RmsNormTest, ZerosStayZero) {
  Problem p(2, 64, Format::kBF16, true);
  std::fill(p.x.begin(), p.x.end(), 0);
  std::fill(p.delta.begin(), p.delta.end(), 0);
  EXPECT_EQ(Compute(p, 2).out, std::vector<float>(128, 0));
}

TEST_F(RmsNormTest, BitsDoNotDependOnTheOtherRows) {
  for (const Format dtype : {Format::kBF16, Format::kF32}) {
    for (const int64_t d_model : {17, 576, 4096, 16384}) {
      const Problem p(300, d_model, dtype, true);
      const Result all = Compute(p, 300);
      for (const int64_t n_rows : {1, 2, 7, 133}) {
        const Result some = Compute(p, n_rows);
        EXPECT_TRUE(SameBits(some.out.data(), all.out.data(), some.out.size())) << n_rows;
        EXPECT_TRUE(SameBits(some.x.data(), all.x.data(), some.x.size())) << n_rows;
      }
      Problem last = p;  // the last row, as the first
      last.x.assign(p.x.end() - d_model, p.x.end());
      last.delta.assign(p.delta.end() - d_model, p.delta.end());
      EXPECT_TRUE(SameBits(Compute(last, 1).out.data(), &all.out[299 * d_model], d_model));
    }
  }
}

// A chain in which each kernel reads what the one before wrote, captured once, run twice.
TEST_F(RmsNormTest, OverlappedChainInAGraph) {
  constexpr int64_t kRows = 200, kModel = 4096;
  constexpr int kSteps = 20;
  const std::vector<float> x0 = RandomFloats(kRows * kModel, 1), w0 = RandomFloats(kModel, 2);
  const auto run = [&](bool overlap) {
    TestBuffer<float> x(x0), weight(w0), a(RandomFloats(kRows * kModel, 3)), b(kRows * kModel);
    cudaStream_t stream;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    AIOS_CUDA_CHECK(cudaStreamCreate(&stream));
    AIOS_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    for (int i = 0; i < kSteps; ++i) {
      RmsNorm({.x = x.data(),
               .delta = i % 2 == 0 ? a.data() : b.data(),
               .weight = weight.data(),
               .out = i % 2 == 0 ? b.data() : a.data(),
               .n_rows = kRows,
               .d_model = kModel,
               .dtype = Format::kF32,
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
  const std::vector<float> want = run(false);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(SameBits(run(true).data(), want.data(), want.size()));
}

TEST_F(RmsNormTest, NothingToDo) {
  RmsNorm({.n_rows = 0, .d_model = 8}, nullptr);
  RmsNorm({.n_rows = 8, .d_model = 0}, nullptr);
  AIOS_CUDA_CHECK(cudaDeviceSynchronize());
}

TEST_F(RmsNormTest, RefusesOtherDtypes) {
  EXPECT_THROW(RmsNorm({.n_rows = 1, .d_model = 8, .dtype = Format::kF16}, nullptr),
               std::invalid_argument);
  EXPECT_THROW(RmsNorm({.n_rows = -1, .d_model = 8}, nullptr), std::invalid_argument);
}

}  // namespace
}  // namespace aios::kernels::cuda
