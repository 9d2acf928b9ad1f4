// Files that a flag names: --json FILE, --svg FILE.
#pragma once

#include <string>

namespace aios {

// Finds out now, not after the work, that the file cannot be written: throws InputError. Leaves one
// that is there as it is. Empty, for a flag that was not given, and "-" are fine.
void CheckWritable(const std::string& flag, const std::string& path);

// Replaces the file's content. "-": standard output. Throws InputError if it cannot.
void WriteFile(const std::string& flag, const std::string& path, const std::string& text);

}  // namespace aios
