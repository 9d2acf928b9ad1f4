#include "common/base/write_file.h"

#include <cstdio>

#include "common/base/error.h"

namespace aios {

void CheckWritable(const std::string& flag, const std::string& path) {
  if (path.empty() || path == "-") return;
  std::FILE* file = std::fopen(path.c_str(), "a");
  if (file == nullptr) throw InputError("{} {}: cannot write", flag, Quoted(path));
  std::fclose(file);
}

void WriteFile(const std::string& flag, const std::string& path, const std::string& text) {
  std::FILE* file = path == "-" ? stdout : std::fopen(path.c_str(), "w");
  if (file == nullptr) throw InputError("{} {}: cannot write", flag, Quoted(path));
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const bool closed = file == stdout ? std::fflush(file) == 0 : std::fclose(file) == 0;
  if (!written || !closed) throw InputError("{} {}: cannot write", flag, Quoted(path));
}

}  // namespace aios
