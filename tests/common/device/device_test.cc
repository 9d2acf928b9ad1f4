// What a user hears when the GPU is not there, not usable or full; and the owners of its memory.
#include <cuda_runtime_api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/device/gpu.h"
#include "common/device/memory.h"
#include "common/device/stream.h"

namespace aios {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string ErrorOf(const std::function<void()>& body) {
  try {
    body();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(WhyNoGpu, SaysWhatIsInTheWay) {
  EXPECT_EQ(WhyNoGpu({.error = cudaErrorInsufficientDriver, .driver = 0, .built_with = 13000}),
            "there is no NVIDIA driver on this machine");
  EXPECT_EQ(WhyNoGpu({.error = cudaErrorNoDevice, .driver = 13010, .built_with = 13000}),
            "there is no NVIDIA GPU in this machine");
  EXPECT_THAT(
      WhyNoGpu({.error = cudaErrorInsufficientDriver, .driver = 12040, .built_with = 13000}),
      AllOf(HasSubstr("too old"), HasSubstr("up to 12.4"), HasSubstr("built with 13.0")));
  // A driver that only answers with another error is found by its number.
  EXPECT_THAT(WhyNoGpu({.error = cudaErrorUnknown, .driver = 12080, .built_with = 13000}),
              HasSubstr("too old"));
  EXPECT_THAT(WhyNoGpu({.error = cudaErrorNoDevice,
                        .driver = 13000,
                        .built_with = 13000,
                        .visible_devices = ""}),
              HasSubstr("CUDA_VISIBLE_DEVICES='' leaves no GPU"));
  EXPECT_THAT(WhyNoGpu({.error = cudaErrorSystemNotReady, .driver = 13000, .built_with = 13000}),
              HasSubstr("does not answer"));
}

class GpuTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string why;
    if (!CanOpenGpu(0, &why)) GTEST_SKIP() << why;
  }
};

TEST_F(GpuTest, AnIndexThatDoesNotExistIsNamedWithThoseThatDo) {
  const Gpu gpu = OpenGpu(0);
  EXPECT_GT(gpu.n_sms, 0);
  EXPECT_GT(gpu.total_bytes, 0);
  EXPECT_THAT(ErrorOf([] { OpenGpu(999); }), HasSubstr("--device 999: this machine has "));
  EXPECT_THAT(ErrorOf([] { OpenGpu(-1); }), HasSubstr("--device -1"));
}

TEST_F(GpuTest, OutOfMemorySaysWhatWasAskedAndWhatIsFree) {
  OpenGpu(0);
  constexpr int64_t kTooMuch = int64_t{1} << 50;
  EXPECT_THAT(
      ErrorOf([] { DeviceBuffer(kTooMuch, "KV cache"); }),
      AllOf(HasSubstr("out of memory"), HasSubstr("1125899.91 GB were asked for (KV cache)"),
            HasSubstr("GB are free")));
  // Nothing is lost: what fits is still there.
  EXPECT_NE(DeviceBuffer(1 << 20, "a test").data(), nullptr);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

TEST_F(GpuTest, CopiesThereAndBackInOrder) {
  OpenGpu(0);
  const Stream stream;
  const PinnedBuffer host(1 << 20);
  const DeviceBuffer device(1 << 20, "a test");
  std::memset(host.data(), 7, host.n_bytes());
  Event begin, end;
  begin.Record(stream);
  ASSERT_EQ(cudaMemcpyAsync(device.data(), host.data(), host.n_bytes(), cudaMemcpyHostToDevice,
                            stream.get()),
            cudaSuccess);
  end.Record(stream);
  end.Synchronize();
  EXPECT_GE(end.MillisecondsSince(begin), 0);
  std::vector<char> back(host.n_bytes());
  ASSERT_EQ(cudaMemcpy(back.data(), device.data(), back.size(), cudaMemcpyDeviceToHost),
            cudaSuccess);
  EXPECT_EQ(back, std::vector<char>(back.size(), 7));
}

TEST_F(GpuTest, OwnersMove) {
  OpenGpu(0);
  DeviceBuffer a(256, "a test");
  void* data = a.data();
  const DeviceBuffer b = std::move(a);
  EXPECT_EQ(b.data(), data);
  Stream s;
  cudaStream_t handle = s.get();
  const Stream t = std::move(s);
  EXPECT_EQ(t.get(), handle);
}

}  // namespace
}  // namespace aios
