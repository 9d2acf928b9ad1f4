// Stream and Event: move-only owners of CUDA's.
#pragma once

#include <cuda_runtime_api.h>

#include <utility>

#include "kernels/cuda/check.h"

namespace aios {

// Work in a stream is done in order; work in different streams may overlap. Does not wait for the
// default stream.
class Stream {
 public:
  Stream() { AIOS_CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  Stream(Stream&& other) noexcept : stream_(std::exchange(other.stream_, nullptr)) {}
  Stream& operator=(Stream&& other) noexcept {
    std::swap(stream_, other.stream_);
    return *this;
  }
  ~Stream() {
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
  }

  cudaStream_t get() const { return stream_; }
  // Waits for all that was put into it.
  void Synchronize() const { AIOS_CUDA_CHECK(cudaStreamSynchronize(stream_)); }

 private:
  cudaStream_t stream_ = nullptr;
};

// A point in a stream's work, with the time at which it was reached.
class Event {
 public:
  Event() { AIOS_CUDA_CHECK(cudaEventCreate(&event_)); }
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&& other) noexcept {
    std::swap(event_, other.event_);
    return *this;
  }
  ~Event() {
    if (event_ != nullptr) cudaEventDestroy(event_);
  }

  void Record(const Stream& stream) { AIOS_CUDA_CHECK(cudaEventRecord(event_, stream.get())); }
  void Synchronize() const { AIOS_CUDA_CHECK(cudaEventSynchronize(event_)); }
  // From `earlier` to this, both of which have been reached.
  float MillisecondsSince(const Event& earlier) const {
    float milliseconds = 0;
    AIOS_CUDA_CHECK(cudaEventElapsedTime(&milliseconds, earlier.event_, event_));
    return milliseconds;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace aios
