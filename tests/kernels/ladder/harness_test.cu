// The harness itself: a ladder is only as honest as its checks and its clock.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/cuda/stream.h"
#include "kernels/ladder/harness.h"
#include "tests/kernels/cuda/gpu_testing.h"

namespace aios::ladder {
namespace {

using kernels::cuda::TestBuffer;

class HarnessTest : public testing::Test {
 protected:
  void SetUp() override { AIOS_SKIP_WITHOUT_GPU(); }
};

std::vector<float> Download(const DeviceArray& array) {
  std::vector<float> host(array.n_bytes() / sizeof(float));
  AIOS_CUDA_CHECK(
      cudaMemcpy(host.data(), array.As<float>(), array.n_bytes(), cudaMemcpyDeviceToHost));
  return host;
}

TEST_F(HarnessTest, RandomNumbersAreNormalAndTheSameForTheSameSeed) {
  constexpr size_t kN = 1 << 20;
  const std::vector<float> x = Download(DeviceArray::NormalF32(kN, 7, 2));
  EXPECT_EQ(x, Download(DeviceArray::NormalF32(kN, 7, 2)));
  EXPECT_NE(x, Download(DeviceArray::NormalF32(kN, 8, 2)));
  double sum = 0, sum2 = 0, sum4 = 0, neighbours = 0;
  for (size_t i = 0; i < kN; ++i) {
    sum += x[i];
    sum2 += x[i] * x[i];
    sum4 += std::pow(x[i], 4);
    if (i > 0) neighbours += x[i] * x[i - 1];
  }
  EXPECT_NEAR(sum / kN, 0, 0.01);
  EXPECT_NEAR(sum2 / kN, 4, 0.04);
  EXPECT_NEAR(sum4 / kN, 3 * 16, 1);  // the normal distribution's fourth moment
  EXPECT_NEAR(neighbours / kN, 0, 0.02);
}

TEST_F(HarnessTest, RelativeErrorSeesOneWrongNumberAndNaN) {
  std::vector<float> want(100003, 1);
  std::vector<float> got = want;
  const TestBuffer<float> device_want(want);
  TestBuffer<float> device_got(got);
  EXPECT_EQ(RelativeErrorF32(device_got.data(), device_want.data(), want.size()), 0);
  got.back() = 3;  // the last: a tail that is left out would hide it
  device_got.Upload(got);
  EXPECT_NEAR(RelativeErrorF32(device_got.data(), device_want.data(), want.size()),
              2 / std::sqrt(100003.0), 1e-9);
  got[5] = std::numeric_limits<float>::quiet_NaN();
  device_got.Upload(got);
  EXPECT_EQ(RelativeErrorF32(device_got.data(), device_want.data(), want.size()),
            std::numeric_limits<double>::infinity());
  const DeviceArray unwritten(want.size() * 2);  // 0xFFFF is a NaN in bf16 too
  EXPECT_EQ(RelativeErrorBF16(unwritten.As<void>(), device_want.data(), want.size()),
            std::numeric_limits<double>::infinity());
}

TEST_F(HarnessTest, VerifyThrowsPastTheToleranceAndOnNaN) {
  EXPECT_NO_THROW(Verify("x", 0.1, 0.1));
  EXPECT_THROW(Verify("x", 0.11, 0.1), std::runtime_error);
  EXPECT_THROW(Verify("x", std::nan(""), 0.1), std::runtime_error);
}

__global__ void Spin(int64_t cycles) {
  const int64_t begin = clock64();
  while (clock64() - begin < cycles) {
  }
}

// Twice the cycles, twice the time; one launch's time, whatever the number of launches in a repeat.
TEST_F(HarnessTest, TimesOneLaunch) {
  const auto spin = [](int64_t cycles) {
    return [cycles](int, cudaStream_t s) { Spin<<<1, 1, 0, s>>>(cycles); };
  };
  const double one = TimeKernel(spin(400'000), {.launches_per_repeat = 1, .repeats = 5});
  const double ten = TimeKernel(spin(400'000), {.launches_per_repeat = 10, .repeats = 5});
  const double twice = TimeKernel(spin(800'000), {.launches_per_repeat = 10, .repeats = 5});
  const double flushed =
      TimeKernel(spin(400'000), {.launches_per_repeat = 2, .repeats = 3, .flush_l2 = true});
  EXPECT_GT(one, 150e-6);  // 400,000 cycles are 200 us at 2 GHz
  EXPECT_LT(one, 800e-6);
  EXPECT_NEAR(ten / one, 1, 0.2);
  EXPECT_NEAR(twice / ten, 2, 0.2);
  EXPECT_NEAR(flushed / one, 1, 0.2);
}

TEST_F(HarnessTest, AFailingLaunchThrowsAndLeavesNoCaptureBehind) {
  const auto fail = [](int, cudaStream_t) { throw std::runtime_error("no"); };
  EXPECT_THROW(TimeKernel(fail), std::runtime_error);
  int n_launches = 0;
  const auto fail_later = [&](int, cudaStream_t) {
    if (++n_launches > 1) throw std::runtime_error("no");  // inside of the capture
  };
  EXPECT_THROW(TimeKernel(fail_later), std::runtime_error);
  EXPECT_NO_THROW(TimeKernel([](int, cudaStream_t s) { Spin<<<1, 1, 0, s>>>(1); }));
}

TEST_F(HarnessTest, CopyStreamCopiesAllAndNothingElse) {
  for (const size_t n_vectors : {1u, 3u, 4095u, 4097u, 1'000'003u}) {
    std::vector<uint32_t> want(n_vectors * 4);
    for (size_t i = 0; i < want.size(); ++i) want[i] = static_cast<uint32_t>(i * 2654435761u);
    const TestBuffer<uint32_t> from(want), to(want.size());
    kernels::cuda::CopyStream(from.data(), to.data(), want.size() * 4, nullptr);
    EXPECT_EQ(to.Download(), want) << n_vectors;
  }
}

TEST_F(HarnessTest, ReadStreamReadsEveryVector) {
  // The sink is written only where all words fold to this one value; one word makes them do so.
  constexpr uint32_t kFold = 0x9E3779B9;
  for (const size_t n_words : {4u, 4096u * 4u, 4097u * 4u + 4u})
    for (const size_t at : {size_t{0}, n_words - 1}) {
      std::vector<uint32_t> words(n_words);
      words[at] = kFold;
      const TestBuffer<uint32_t> device_words(words), sink(std::vector<uint32_t>{0});
      kernels::cuda::ReadStream(device_words.data(), n_words * 4, sink.data(), nullptr);
      EXPECT_EQ(sink.Download()[0], kFold) << at << " of " << n_words;
    }
  EXPECT_THROW(kernels::cuda::ReadStream(nullptr, 8, nullptr, nullptr), std::invalid_argument);
}

// Needs no GPU.
TEST(HarnessReportDeathTest, FlagsAndJson) {
  std::vector<std::string> words = {"ladder", "--quick", "--level", "3", "--json", "x.json"};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  const Flags flags = ParseFlags(static_cast<int>(argv.size()), argv.data());
  EXPECT_TRUE(flags.quick);
  EXPECT_EQ(flags.only_level, 3);
  EXPECT_EQ(flags.json, "x.json");
  std::string bad = "--level", word = "x";
  std::vector<char*> bad_argv = {words[0].data(), bad.data(), word.data()};
  EXPECT_EXIT(ParseFlags(3, bad_argv.data()), testing::ExitedWithCode(2), "--level wants a number");
  EXPECT_EXIT(ParseFlags(2, bad_argv.data()), testing::ExitedWithCode(2), "wants a value");

  const std::string path = testing::TempDir() + "harness_test.json";
  Row row = {.op = "op", .level = 1, .name = "a \"b\"", .shape = "1 x 2", .seconds = 2, .flops = 8};
  Row library = row;
  library.level = 0, library.seconds = 1;
  WriteJson(path, Limits{}, {row, library});
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  EXPECT_NE(text.str().find(R"("name": "a \"b\"")"), std::string::npos) << text.str();
  EXPECT_NE(text.str().find(R"("rate": 4,)"), std::string::npos) << text.str();
  EXPECT_NE(text.str().find(R"("of_library": 0.5,)"), std::string::npos) << text.str();
}

}  // namespace
}  // namespace aios::ladder
