// The GPUs of this machine, and what they and the links between them were measured to do. In a
// build without CUDA there are none, and `why_none` says so.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace aios {

struct GpuProfile {
  int index = 0;     // among those that CUDA_VISIBLE_DEVICES leaves
  std::string name;  // "NVIDIA H200"
  int n_sms = 0;
  int compute_capability = 0;  // 90 for 9.0
  int64_t total_bytes = 0;
  int64_t l2_bytes = 0;
  // Measured; 0 if they could not be, and then `not_measured` says why.
  double read_bytes_s = 0;  // a kernel that reads 1 GiB once
  double copy_bytes_s = 0;  // read + written
  double bf16_flop_s = 0;   // cuBLASLt, 8192 x 8192 x 8192, sums in f32
  std::string not_measured = {};
};

// From one GPU to another, one direction.
struct GpuLink {
  int from = 0;
  int to = 0;
  // Whether one may address the other's memory; without, copies go through the host's.
  bool peer_access = false;
  // Atomic operations work over the link: so it is with NVLink, and not with PCIe.
  bool native_atomics = false;
  double copy_bytes_s = 0;  // measured, 256 MiB; 0 if it could not be

  const char* kind() const {
    return !peer_access ? "through the host" : native_atomics ? "NVLink" : "PCIe";
  }
};

// Those that a program can use, without measuring: `why_none` is a sentence if there are none.
std::vector<GpuProfile> FindGpus(std::string* why_none);

// Fills in what is measured: about a second each, and 2.5 GiB of its memory while it lasts. A GPU
// that cannot do it (others have its memory, say) keeps zeros and gets the reason.
void MeasureGpus(std::vector<GpuProfile>& gpus);

// Bytes/s that one of them reads, measured; 0 if it could not be.
double MeasureGpuReadBandwidth(int index);

// Every ordered pair of these GPUs.
std::vector<GpuLink> MeasureGpuLinks(const std::vector<GpuProfile>& gpus);

}  // namespace aios
