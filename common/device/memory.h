// Memory of a GPU, and memory of the host that a GPU copies from and to at full speed. Move-only
// owners; a costly copy is a call that one can see.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <string_view>

namespace aios {

// Bytes of the current GPU's memory, aligned to 256. Not initialized.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  // Throws InputError, which says what was asked for and what is free, if the memory is not there.
  // `what` it is for: "KV cache".
  DeviceBuffer(int64_t n_bytes, std::string_view what);

  void* data() const { return data_.get(); }
  int64_t n_bytes() const { return n_bytes_; }
  template <typename T>
  T* As() const {
    return static_cast<T*>(data_.get());
  }
  // Gives the memory away: the caller frees it, with cudaFree.
  void* Release() { return data_.release(); }

 private:
  struct Free {
    void operator()(void* data) const { cudaFree(data); }
  };
  std::unique_ptr<void, Free> data_;
  int64_t n_bytes_ = 0;
};

// Page-locked memory of the host: copies from and to it are asynchronous.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  // Throws InputError, which says what was asked for, if the memory is not there. Not initialized.
  explicit PinnedBuffer(int64_t n_bytes, std::string_view what = "copies to and from the GPU");

  void* data() const { return data_.get(); }
  int64_t n_bytes() const { return n_bytes_; }
  template <typename T>
  T* As() const {
    return static_cast<T*>(data_.get());
  }
  // Gives the memory away: the caller frees it, with cudaFreeHost.
  void* Release() { return data_.release(); }

 private:
  struct Free {
    void operator()(void* data) const { cudaFreeHost(data); }
  };
  std::unique_ptr<void, Free> data_;
  int64_t n_bytes_ = 0;
};

}  // namespace aios
