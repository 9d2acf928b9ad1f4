// DType: how a tensor's numbers are stored. The same enumeration as kernels::Format, under the name
// that the field uses.
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/formats.h"

namespace aios {

using DType = kernels::Format;

inline std::string_view Name(DType dtype) { return kernels::Info(dtype).name; }

// Bytes of `n` numbers. REQUIRES: n >= 0, a multiple of the block size.
inline int64_t BytesOf(DType dtype, int64_t n) {
  const kernels::FormatInfo info = kernels::Info(dtype);
  return n / info.block_size * info.block_bytes;
}

}  // namespace aios
