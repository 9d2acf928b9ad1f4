// Memory of this machine that the process holds, and that it can still have.
#pragma once

#include <cstdint>
#include <string>

namespace aios {

// Bytes of memory that can be had without swapping; INT64_MAX if the system does not say.
int64_t AvailableMemory();

// Throws InputError, which names `what`, if `n_bytes` is more than AvailableMemory().
void CheckFitsMemory(int64_t n_bytes, const std::string& what);

// The most memory that this process has held so far, in bytes, mapped files included.
int64_t PeakMemory();

}  // namespace aios
