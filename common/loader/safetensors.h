// safetensors: Hugging Face's tensor file. https://huggingface.co/docs/safetensors
//
//   u64 n | n bytes of JSON | tensor data
//
// The JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...}
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "common/base/mapped_file.h"
#include "common/loader/named_tensor.h"

namespace aios {

// Owns the mapping; tensors point into it. Immutable after Open, so thread-safe. Move-only.
class SafetensorsFile {
 public:
  // Throws InputError with the path and the tensor at fault: the header past the end, offsets past
  // the end, overlapping, or that do not agree with dtype and shape. UnsupportedError for a dtype
  // other than F32, F16, BF16.
  static SafetensorsFile Open(const std::filesystem::path& path);
  // The same for bytes in memory, which must outlive the result.
  static SafetensorsFile Parse(std::span<const std::byte> bytes, std::string name);

  const std::string& name() const { return name_; }
  // Sorted by name.
  std::span<const NamedTensor> tensors() const { return tensors_; }

 private:
  SafetensorsFile() = default;

  MappedFile file_;
  std::string name_;
  std::vector<NamedTensor> tensors_;
};

}  // namespace aios
