// A file mapped read-only into memory: nothing is read until it is touched, and the pages belong to
// the page cache, so that a second program that maps the same file shares them.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace aios {

// Move-only owner of a mapping. The bytes stay where they are when the owner moves, until it is
// destroyed. Thread-safe to read. If another process shortens the file meanwhile, touching the lost
// bytes raises SIGBUS: replace model files by renaming, do not rewrite them in place.
class MappedFile {
 public:
  // Throws InputError if the file cannot be opened, is not a regular file, or cannot be mapped. An
  // empty file is valid.
  static MappedFile Open(const std::filesystem::path& path);

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  size_t size() const { return size_; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// The whole file as text. Throws InputError if it cannot be read or is larger than `max_bytes`.
std::string ReadTextFile(const std::filesystem::path& path, size_t max_bytes = size_t{1} << 30);

}  // namespace aios
