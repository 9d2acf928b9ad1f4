// Probe: what this machine is, and the limits that it was measured to have.
#pragma once

#include <cstdint>
#include <string>

namespace aios {

struct MachineInfo {
  std::string cpu;   // "AMD EPYC 9654"
  int n_cores = 0;   // that this process may run on
  std::string simd;  // the widest of "avx512", "avx2", "sse2", "neon" that the CPU has
  int64_t memory_bytes = 0;
  // A core's first two caches and the last, in bytes; 0: the system does not say. A virtual machine
  // may report its host's.
  int64_t l1d_bytes = 0;
  int64_t l2_bytes = 0;
  int64_t l3_bytes = 0;
};
MachineInfo ProbeMachine();

// Bytes per second that `n_threads` threads read from memory together: the best stretch of a
// millisecond or so in a few passes over a buffer that no cache holds. Takes about 0.5 s. Decoding
// reads every weight once a token, so this is what limits it.
double MeasureReadBandwidth(int n_threads);

}  // namespace aios
