// GGUF: llama.cpp's model file. One file holds metadata (the hyperparameters, the tokenizer) and
// tensors. Format, versions 2 and 3: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
//
//   header | metadata: key, type, value ... | tensor infos: name, dims, type, offset ... | padding
//   | tensor data
//
// Opening a file maps it and checks every length, offset and product in it against the file's size;
// tensor data is not read. A hostile file costs time and memory in proportion to its own size,
// never to a number in it.
//
// Stricter than the format where it leaves room: an alignment is a power of two, at least 8; names
// and keys are 1 to 65,535 bytes of UTF-8 and unique; no dimension is 0; no two tensors share a
// byte; arrays nest at most 4 deep. The parts of a split model are refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/mapped_file.h"
#include "common/loader/byte_reader.h"
#include "common/loader/named_tensor.h"

namespace aios {

// A metadata value, or one element type of an array. The numbers are the file's.
enum class GgufType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

// Owns the mapping; tensors and strings point into it. Immutable after Open, so thread-safe.
// Move-only.
class GgufFile {
 public:
  // Throws InputError with the path, the tensor or key and the byte at fault; UnsupportedError for
  // a tensor type or a version that is valid but not read here.
  static GgufFile Open(const std::filesystem::path& path);
  // The same for bytes in memory, which must outlive the result. `name` stands for the path in
  // errors.
  static GgufFile Parse(std::span<const std::byte> bytes, std::string name);

  const std::string& name() const { return name_; }
  uint32_t version() const { return version_; }
  // In the order of the file. Shapes are row-major: a matrix that the file lists as {d_in, d_out}
  // is [d_out, d_in] here.
  std::span<const NamedTensor> tensors() const { return tensors_; }

  // Metadata. Each getter returns nullopt if the key is absent and throws InputError if its type
  // does not fit. An integer of any width fits Int if its value does; a float of any width fits
  // Float.
  bool Has(std::string_view key) const;
  std::optional<int64_t> Int(std::string_view key) const;
  std::optional<double> Float(std::string_view key) const;
  std::optional<bool> Bool(std::string_view key) const;
  std::optional<std::string_view> String(std::string_view key) const;
  // The bytes of the file, which need not be UTF-8: a vocabulary may hold half a character.
  std::optional<std::vector<std::string_view>> Strings(std::string_view key) const;
  // Elements of any integer type, if their values fit.
  std::optional<std::vector<int32_t>> Ints(std::string_view key) const;
  std::optional<std::vector<float>> Floats(std::string_view key) const;
  // All keys, sorted.
  std::vector<std::string_view> keys() const;

 private:
  struct Value {
    GgufType type;
    const std::byte* data;       // all inside the file; of a string or an array, after its length
    GgufType element_type = {};  // of an array
    uint64_t n_elements = 1;     // of an array; of a string, its bytes
  };
  struct KeyValue {
    std::string_view key;
    Value value;
  };

  GgufFile() = default;

  void ReadMetadata(ByteReader& reader, uint64_t n);
  void ReadTensors(ByteReader& reader, uint64_t n, std::span<const std::byte> bytes);
  static Value ReadValue(ByteReader& reader, GgufType type, int depth, std::string_view key);
  const Value* Find(std::string_view key) const;
  // The array of that key, or nullptr if the key is absent.
  const Value* FindArray(std::string_view key, std::string_view of_what,
                         std::initializer_list<GgufType> types) const;

  MappedFile file_;
  std::string name_;
  uint32_t version_ = 0;
  std::vector<KeyValue> metadata_;  // sorted by key
  std::vector<NamedTensor> tensors_;
};

}  // namespace aios
