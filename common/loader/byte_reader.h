// ByteReader: reads a file's bytes front to back and never past their end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

namespace aios {

// Little-endian, of any alignment. Every length may come from a hostile file: it is compared with
// what is left of the file before it is used. The bytes and the strings given must outlive the
// reader.
class ByteReader {
 public:
  // `file` names the source in errors.
  ByteReader(std::span<const std::byte> bytes, std::string_view file)
      : bytes_(bytes), file_(file) {}

  // What the next bytes are, for errors: SetItem("tensor", name) gives "tensor
  // 'blk.0.attn_q.weight' is cut off ...".
  void SetItem(std::string_view kind, std::string_view name = {}) {
    item_kind_ = kind;
    item_name_ = name;
  }

  std::string_view file() const { return file_; }
  size_t offset() const { return offset_; }
  size_t remaining() const { return bytes_.size() - offset_; }

  // The number that comes next. Throws InputError if the file ends before it does, as all below do.
  template <typename T>
  T Read() {
    static_assert(std::is_arithmetic_v<T>);
    T value;
    std::memcpy(&value, Skip(1, sizeof(T)), sizeof(T));
    return value;
  }

  // Steps over `n` elements and returns their first byte.
  const std::byte* Skip(uint64_t n, size_t element_size) {
    // A division, because the product of hostile numbers wraps.
    if (n > remaining() / element_size) ThrowCutOff(n, element_size);
    const std::byte* data = bytes_.data() + offset_;
    offset_ += n * element_size;
    return data;
  }

  // A 64-bit length and as many bytes. The view points into the file.
  std::string_view ReadString() {
    const auto length = Read<uint64_t>();
    return {reinterpret_cast<const char*>(Skip(length, 1)), static_cast<size_t>(length)};
  }

 private:
  [[noreturn]] void ThrowCutOff(uint64_t n, size_t element_size) const;

  std::span<const std::byte> bytes_;
  std::string_view file_;
  size_t offset_ = 0;
  std::string_view item_kind_ = "the header";
  std::string_view item_name_;
};

}  // namespace aios
