// What tests of CUDA kernels share: skipping where there is no GPU, memory on the device with
// guards around it, random numbers.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/cuda/check.h"

namespace aios::kernels::cuda {

inline bool HaveGpu() {
  int n_devices = 0;
  const bool have = cudaGetDeviceCount(&n_devices) == cudaSuccess && n_devices > 0;
  if (!have) cudaGetLastError();
  return have;
}

// Memory on the device, between guards that nothing may write. The destructor checks them, after
// all work on the device is done.
template <typename T>
class TestBuffer {
 public:
  // Every byte 0xFF: NaN in floating point, so that what a kernel leaves unwritten shows.
  explicit TestBuffer(size_t n) : n_(n) {
    AIOS_CUDA_CHECK(cudaMalloc(&storage_, n * sizeof(T) + 2 * kGuardBytes));
    AIOS_CUDA_CHECK(cudaMemset(storage_, 0xFF, n * sizeof(T) + 2 * kGuardBytes));
  }
  explicit TestBuffer(const std::vector<T>& host) : TestBuffer(host.size()) { Upload(host); }
  TestBuffer(const TestBuffer&) = delete;
  TestBuffer& operator=(const TestBuffer&) = delete;
  ~TestBuffer() {
    std::vector<uint8_t> guards(2 * kGuardBytes);
    const bool read =
        cudaMemcpy(guards.data(), storage_, kGuardBytes, cudaMemcpyDeviceToHost) == cudaSuccess &&
        cudaMemcpy(guards.data() + kGuardBytes, storage_ + kGuardBytes + n_ * sizeof(T),
                   kGuardBytes, cudaMemcpyDeviceToHost) == cudaSuccess;
    EXPECT_TRUE(read);
    EXPECT_EQ(guards, std::vector<uint8_t>(2 * kGuardBytes, 0xFF)) << "written out of bounds";
    cudaFree(storage_);
  }

  T* data() const { return reinterpret_cast<T*>(storage_ + kGuardBytes); }
  size_t size() const { return n_; }
  void Upload(const std::vector<T>& host) {
    AIOS_CUDA_CHECK(cudaMemcpy(data(), host.data(), n_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  std::vector<T> Download() const {
    std::vector<T> host(n_);
    AIOS_CUDA_CHECK(cudaMemcpy(host.data(), data(), n_ * sizeof(T), cudaMemcpyDeviceToHost));
    return host;
  }

 private:
  static constexpr size_t kGuardBytes = 1024;  // Keeps data() as aligned as cudaMalloc's memory.
  uint8_t* storage_ = nullptr;
  size_t n_ = 0;
};

inline float BF16ToFloat(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

// To nearest, ties to even; no NaN.
inline uint16_t FloatToBF16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

// Normally distributed.
inline std::vector<float> RandomFloats(size_t n, uint64_t seed, float scale = 1) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(n);
  for (float& value : values) value = normal(random);
  return values;
}

inline std::vector<uint16_t> ToBF16(const std::vector<float>& values) {
  std::vector<uint16_t> bits;
  bits.reserve(values.size());
  for (const float value : values) bits.push_back(FloatToBF16(value));
  return bits;
}

}  // namespace aios::kernels::cuda

#define AIOS_SKIP_WITHOUT_GPU() \
  if (!::aios::kernels::cuda::HaveGpu()) GTEST_SKIP() << "no NVIDIA GPU here"
