// Copies between a backend's memory and the host's, as pages take them that are swapped out and in.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/backend/backend.h"
#include "common/base/error.h"

namespace aios {
namespace {

class BackendCopyTest : public testing::TestWithParam<std::string> {
 protected:
  static constexpr int64_t kPage = 10'007;  // numbers: no multiple of anything
  static constexpr int64_t kPages = 24;

  void SetUp() override {
    if (GetParam() == "cuda" && !WhyNoCuda(0).empty()) GTEST_SKIP() << WhyNoCuda(0);
    backend_ = MakeBackend({.backend = GetParam(), .n_threads = 1});
    pages_ = backend_->Allocate(kPages * kPageBytes, "a test");
    host_ = backend_->AllocateHost(kPages * kPageBytes, "a test");
  }

  static constexpr int64_t kPageBytes = kPage * sizeof(float);
  static MutableTensor PageOf(const Buffer& buffer, int64_t i, Device device) {
    return {static_cast<std::byte*>(buffer.data()) + i * kPageBytes, DType::kF32, {kPage}, device};
  }
  MutableTensor Page(int64_t i) const { return PageOf(pages_, i, backend_->device()); }
  MutableTensor Host(int64_t i) const { return PageOf(host_, i, Device::kCpu); }

  void Fill(int64_t i, float number) const { std::fill_n(Host(i).As<float>(), kPage, number); }
  std::vector<float> Read(int64_t i) const {
    const auto* begin = Host(i).As<float>();
    return {begin, begin + kPage};
  }
  static std::vector<float> All(float number) { return std::vector<float>(kPage, number); }

  std::unique_ptr<Backend> backend_;
  Buffer pages_;
  Buffer host_;
};

TEST_P(BackendCopyTest, GoesOutAndComesBackInAnotherPlace) {
  for (int64_t i = 0; i < kPages; ++i) {
    Fill(i, static_cast<float>(i));
    backend_->Copy(Host(i), Page(kPages - 1 - i));
  }
  backend_->Synchronize();
  for (int64_t i = 0; i < kPages; ++i) Fill(i, -1);
  for (int64_t i = 0; i < kPages; ++i) backend_->Copy(Page(i), Host(i));
  backend_->Synchronize();
  for (int64_t i = 0; i < kPages; ++i) {
    EXPECT_EQ(Read(i), All(static_cast<float>(kPages - 1 - i))) << i;
  }
}

// What is enqueued after a copy out may overwrite the page; what is enqueued after a copy in reads
// it.
TEST_P(BackendCopyTest, CopiesTakePlaceInTheOrderOfTheCalls) {
  Fill(0, 1);
  Fill(1, 2);
  backend_->Copy(Host(0), Page(0));
  for (int64_t i = 2; i < kPages; i += 2) {
    backend_->Copy(Page(0), Host(i));  // the one that came before
    backend_->Copy(Host(i % 4 == 2 ? 1 : 0), Page(0));
    backend_->Copy(Page(0), Page(1));
    backend_->Copy(Page(1), Host(i + 1));  // and this one
  }
  backend_->Synchronize();
  for (int64_t i = 2; i < kPages; i += 2) {
    EXPECT_EQ(Read(i), All(i % 4 == 2 ? 1 : 2)) << i;
    EXPECT_EQ(Read(i + 1), All(i % 4 == 2 ? 2 : 1)) << i;
  }
}

TEST_P(BackendCopyTest, HostMemoryThatIsNotThereIsAnErrorThatNamesWhatItIsFor) {
  try {
    backend_->AllocateHost(int64_t{1} << 50, "swapped pages");
    FAIL() << "a petabyte";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("swapped pages"));
  }
  EXPECT_NE(backend_->AllocateHost(1 << 20, "a test").data(), nullptr);
}

INSTANTIATE_TEST_SUITE_P(Backends, BackendCopyTest, testing::Values("cpu", "cuda"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace aios
