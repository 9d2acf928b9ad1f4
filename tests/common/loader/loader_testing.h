// What the tests of the loaders share: writing files by hand, bytes that end where memory ends, and
// the sentence of an error.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/check.h"
#include "common/base/error.h"

namespace aios {

// What `function` throws as `Error`, or "no error". Any other exception is not caught.
template <typename Error = InputError, typename Function>
std::string ErrorOf(const Function& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

// A copy of bytes whose end is the end of a page, before one that nobody may touch: reading a byte
// too many is a crash, in every build.
class GuardedBytes {
 public:
  explicit GuardedBytes(std::string_view bytes) : size_(bytes.size()) {
    const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    const size_t room = (size_ + page - 1) / page * page;
    n_mapped_ = room + page;
    void* mapped =
        ::mmap(nullptr, n_mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    AIOS_CHECK(mapped != MAP_FAILED);
    mapped_ = static_cast<std::byte*>(mapped);
    AIOS_CHECK(::mprotect(mapped_ + room, page, PROT_NONE) == 0);
    begin_ = mapped_ + room - size_;
    if (size_ > 0) std::memcpy(begin_, bytes.data(), size_);
  }
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;
  ~GuardedBytes() { ::munmap(mapped_, n_mapped_); }

  std::span<const std::byte> span() const { return {begin_, size_}; }

 private:
  std::byte* mapped_;
  std::byte* begin_;
  size_t size_;
  size_t n_mapped_;
};

// A number's bytes, little-endian.
template <typename T>
std::string Raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

// ---- GGUF
// ----------------------------------------------------------------------------------------

// A length and the bytes.
inline std::string GgufString(std::string_view text) {
  return Raw<uint64_t>(text.size()) + std::string(text);
}

// The type's number, and the value's bytes.
inline std::string GgufPair(std::string_view key, uint32_t type, const std::string& value) {
  return GgufString(key) + Raw(type) + value;
}

// `dims` in the order of the file: the fastest first.
inline std::string GgufTensorInfo(std::string_view name, const std::vector<uint64_t>& dims,
                                  uint32_t type, uint64_t offset) {
  std::string out = GgufString(name) + Raw(static_cast<uint32_t>(dims.size()));
  for (const uint64_t dim : dims) out += Raw(dim);
  return out + Raw(type) + Raw(offset);
}

// A file from its parts; a test changes the one that it is about.
struct GgufParts {
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::vector<std::string> metadata;
  std::vector<std::string> infos;
  uint64_t extra_tensors = 0;  // added to the counts that the header states; they wrap
  uint64_t extra_metadata = 0;
  size_t alignment = 32;
  std::string data;

  std::string Bytes() const {
    std::string out = magic + Raw(version) + Raw<uint64_t>(infos.size() + extra_tensors) +
                      Raw<uint64_t>(metadata.size() + extra_metadata);
    for (const std::string& pair : metadata) out += pair;
    for (const std::string& info : infos) out += info;
    out.resize((out.size() + alignment - 1) / alignment * alignment);
    return out + data;
  }
};

// ---- safetensors
// ---------------------------------------------------------------------------------

inline std::string SafetensorsBytes(std::string_view header, std::string_view data) {
  return Raw<uint64_t>(header.size()) + std::string(header) + std::string(data);
}

}  // namespace aios
