#include "common/base/memory.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <string_view>

#include "common/base/error.h"

namespace aios {

int64_t AvailableMemory() {
  int64_t available = std::numeric_limits<int64_t>::max();
  constexpr std::string_view kKey = "MemAvailable:";
  std::ifstream meminfo("/proc/meminfo");
  for (std::string line; std::getline(meminfo, line);) {  // "MemAvailable:   23456789 kB"
    if (!line.starts_with(kKey)) continue;
    available = std::strtoll(line.c_str() + kKey.size(), nullptr, 10) * 1024;
  }
  // A container may have less than the machine (cgroup v2; "max" does not parse).
  int64_t limit = 0;
  int64_t used = 0;
  if (std::ifstream("/sys/fs/cgroup/memory.max") >> limit &&
      std::ifstream("/sys/fs/cgroup/memory.current") >> used) {
    available = std::min(available, std::max<int64_t>(0, limit - used));
  }
  return available;
}

void CheckFitsMemory(int64_t n_bytes, const std::string& what) {
  const int64_t available = AvailableMemory();
  if (n_bytes <= available) return;
  throw InputError("{} needs {:.1f} GB of memory, but only {:.1f} GB are free", what,
                   n_bytes * 1e-9, available * 1e-9);
}

int64_t PeakMemory() {
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;  // Linux counts in KiB
}

}  // namespace aios
