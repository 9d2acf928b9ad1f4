#include "common/base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "common/base/error.h"

namespace aios {

MappedFile MappedFile::Open(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a named pipe that nobody writes to must not hang.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) throw InputError("{}: cannot open: {}", path.string(), std::strerror(errno));
  struct stat status = {};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(fd);
    throw InputError("{}: not a regular file", path.string());
  }
  MappedFile file;
  file.size_ = static_cast<size_t>(status.st_size);
  if (file.size_ > 0) {
    void* data = ::mmap(nullptr, file.size_, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) {
      const int error = errno;
      ::close(fd);
      file.size_ = 0;
      throw InputError("{}: cannot map: {}", path.string(), std::strerror(error));
    }
    file.data_ = static_cast<const std::byte*>(data);
  }
  ::close(fd);  // the mapping holds its own reference to the file
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

std::string ReadTextFile(const std::filesystem::path& path, size_t max_bytes) {
  const MappedFile file = MappedFile::Open(path);
  if (file.size() > max_bytes) {
    throw InputError("{}: {} bytes, more than the {} that are allowed here", path.string(),
                     file.size(), max_bytes);
  }
  return {reinterpret_cast<const char*>(file.bytes().data()), file.size()};
}

}  // namespace aios
