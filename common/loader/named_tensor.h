// NamedTensor: a tensor of a file, and the checks that every file format needs.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "common/tensor/tensor.h"

namespace aios {

struct NamedTensor {
  std::string name;
  Tensor tensor;  // points into the mapped file
};

// The bytes of a tensor whose dimensions a file claims, or nullopt if the number of elements or of
// bytes is 2^63 or more. After it has returned a value, a Shape of `dims` is safe to make.
// REQUIRES: the last dimension is a multiple of the dtype's block size.
std::optional<int64_t> CheckedBytes(DType dtype, std::span<const int64_t> dims);

// Throws InputError, which names `file` and the tensors, if two tensors share a name or a byte.
void CheckDistinct(std::span<const NamedTensor> tensors, std::string_view file);

}  // namespace aios
