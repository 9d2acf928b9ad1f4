// The harness of all ladders: the same operation at several levels, each held against a reference
// over many shapes before it is timed.
//
// A ladder's program (kernels/ladder/<op>/ladder_<op>.cu) makes its inputs, and for each level and
// shape calls Verify (which throws when it differs) and then TimeKernel, and adds a Row; Print
// shows the table, WriteJson keeps it.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace aios::ladder {

// What this GPU was measured to do in this very run, the limits that a level is compared with.
struct Limits {
  std::string device;       // "NVIDIA H200"
  std::string driver;       // "13.0"
  double read_bytes_s = 0;  // a kernel that reads a buffer far larger than the L2 once
  double copy_bytes_s = 0;  // read + written
  double gemm_flop_s = 0;   // cuBLASLt bf16, 8192 x 8192 x 8192; 0 unless asked for
};
Limits MeasureLimits(bool with_gemm);

// Runs `launch(i, stream)` for i = 0, 1, 2, ... (so that it can rotate among several sets of
// inputs) and returns the median seconds of one. The launches of a repeat are captured into one
// CUDA graph: the host's launch cost is not in the figure.
struct TimingOptions {
  int launches_per_repeat = 10;
  int repeats = 11;
  bool flush_l2 = false;  // write a buffer larger than the L2 before each (then timed one by one)
};
double TimeKernel(const std::function<void(int, cudaStream_t)>& launch, TimingOptions options = {});

// Device memory filled with random bits of the given kind, the same for the same seed.
class DeviceArray {  // Move-only owner.
 public:
  DeviceArray() = default;
  explicit DeviceArray(size_t n_bytes);  // filled with 0xFF: NaN
  static DeviceArray NormalF32(size_t n, uint64_t seed, float scale = 1);
  static DeviceArray NormalBF16(size_t n, uint64_t seed, float scale = 1);
  DeviceArray(DeviceArray&& other) noexcept;
  DeviceArray& operator=(DeviceArray&& other) noexcept;
  ~DeviceArray();
  template <typename T>
  T* As() const {
    return static_cast<T*>(data_);
  }
  size_t n_bytes() const { return n_bytes_; }
  void Poison();  // 0xFF in every byte

 private:
  void* data_ = nullptr;
  size_t n_bytes_ = 0;
};

// ||got - want|| / ||want|| over n numbers on the device, in double; infinite if `got` has a NaN.
double RelativeErrorF32(const float* got, const float* want, size_t n);
double RelativeErrorBF16(const void* got, const float* want, size_t n);

// Throws std::runtime_error, naming `what`, unless error <= tolerance.
void Verify(const std::string& what, double error, double tolerance);

struct Row {
  std::string op;             // "gemm"
  int level = 0;              // 1, 2, ...; 0: the library
  std::string name;           // "shared-memory tiles"; "cuBLASLt"
  std::string shape;          // "8192 x 8192 x 8192"
  double seconds = 0;         // median
  double flops = 0;           // of one launch
  double bytes = 0;           // that one launch must move at least
  double error = 0;           // relative, against the reference
  double limit = 0;           // FLOP/s or bytes/s: the measured limit that applies
  bool memory_bound = false;  // which of the two
};

// Flags of every ladder: [--json FILE] [--level N] [--quick].
struct Flags {
  std::string json;
  int only_level = 0;  // 0: all
  bool quick = false;  // fewer shapes and repeats
};
Flags ParseFlags(int argc, char** argv);  // Prints what is wrong and exits 2.

// The table for people: level, name, shape, time, TB/s or TFLOP/s, fraction of the limit, ratio to
// the library's row of the same shape.
void Print(const std::vector<Row>& rows);
void WriteJson(const std::string& path, const Limits& limits, const std::vector<Row>& rows);

}  // namespace aios::ladder
