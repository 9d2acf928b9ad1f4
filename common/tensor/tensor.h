// Tensor: a view of numbers that somebody else owns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "common/base/check.h"
#include "common/tensor/dtype.h"
#include "common/tensor/shape.h"

namespace aios {

// Which memory a view points into.
enum class Device : uint8_t { kCpu, kCuda };

// A copyable view: data, dtype, shape, device. Never owns, never allocates; the owner (a
// HostBuffer, a mapped file) must outlive it. Rows are contiguous and follow each other without
// gaps. The data may have any alignment: tensors in files lie where the file put them.
class Tensor {
 public:
  Tensor() = default;
  Tensor(const void* data, DType dtype, Shape shape, Device device = Device::kCpu)
      : data_(data), dtype_(dtype), shape_(shape), device_(device) {
    const int block = kernels::Info(dtype).block_size;
    AIOS_CHECK(shape.rank() == 0 || shape[shape.rank() - 1] % block == 0, "{} of {}",
               shape.ToString(), Name(dtype));
  }

  const void* data() const { return data_; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  Device device() const { return device_; }
  int64_t n_elements() const { return shape_.n_elements(); }
  int64_t n_bytes() const { return BytesOf(dtype_, n_elements()); }

  // The matrix as rows: everything but the last dimension, and the last dimension. A vector is one
  // row.
  int64_t row_size() const { return shape_.rank() == 0 ? 1 : shape_[shape_.rank() - 1]; }
  int64_t n_rows() const { return row_size() == 0 ? 0 : n_elements() / row_size(); }
  // Row i. REQUIRES: 0 <= i < n_rows().
  const void* row(int64_t i) const {
    AIOS_CHECK(i >= 0 && i < n_rows(), "row {} of {}", i, n_rows());
    return static_cast<const std::byte*>(data_) + i * BytesOf(dtype_, row_size());
  }

 private:
  const void* data_ = nullptr;
  DType dtype_ = DType::kF32;
  Shape shape_;
  Device device_ = Device::kCpu;
};

// A view that may be written through.
class MutableTensor : public Tensor {
 public:
  MutableTensor() = default;
  MutableTensor(void* data, DType dtype, Shape shape, Device device = Device::kCpu)
      : Tensor(data, dtype, shape, device), data_(data) {}

  void* mutable_data() const { return data_; }
  template <typename T>
  T* As() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
};

}  // namespace aios
