// HostBuffer: memory of the CPU that a tensor can view.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

#include "common/base/check.h"

namespace aios {

// Move-only owner of `n_bytes` bytes, aligned to a cache line. Not initialized: large buffers cost
// nothing until they are touched.
class HostBuffer {
 public:
  static constexpr size_t kAlignment = 64;

  HostBuffer() = default;
  // Throws std::bad_alloc.
  explicit HostBuffer(size_t n_bytes) : n_bytes_(n_bytes) {
    if (n_bytes > PTRDIFF_MAX - kAlignment) throw std::bad_alloc();  // rounding up would wrap
    const size_t rounded = (n_bytes + kAlignment - 1) / kAlignment * kAlignment;
    data_.reset(static_cast<std::byte*>(std::aligned_alloc(kAlignment, rounded)));
    if (rounded > 0 && data_ == nullptr) throw std::bad_alloc();
  }
  // What is moved from is empty.
  HostBuffer(HostBuffer&& other) noexcept
      : data_(std::move(other.data_)), n_bytes_(std::exchange(other.n_bytes_, 0)) {}
  HostBuffer& operator=(HostBuffer&& other) noexcept {
    data_ = std::move(other.data_);
    n_bytes_ = std::exchange(other.n_bytes_, 0);
    return *this;
  }

  std::byte* data() const { return data_.get(); }
  size_t n_bytes() const { return n_bytes_; }
  template <typename T>
  T* As() const {
    AIOS_CHECK(n_bytes_ % sizeof(T) == 0);
    return reinterpret_cast<T*>(data_.get());
  }

 private:
  struct Free {
    void operator()(std::byte* data) const { std::free(data); }
  };
  std::unique_ptr<std::byte[], Free> data_;
  size_t n_bytes_ = 0;
};

}  // namespace aios
