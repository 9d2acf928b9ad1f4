#include "common/profile/gpu_probe.h"

#ifdef AIOS_HAVE_CUDA
#include <cuda_runtime_api.h>

#include <algorithm>
#include <exception>
#include <limits>

#include "common/device/gpu.h"
#include "common/device/stream.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/gemm.h"
#include "kernels/ladder/harness.h"
#endif

namespace aios {

#ifndef AIOS_HAVE_CUDA

std::vector<GpuProfile> FindGpus(std::string* why_none) {
  *why_none = "this program was built without CUDA";
  return {};
}

void MeasureGpus(std::vector<GpuProfile>&) {}

std::vector<GpuLink> MeasureGpuLinks(const std::vector<GpuProfile>&) { return {}; }

#else

namespace {

constexpr size_t kLinkBytes = size_t{256} << 20;

// Memory of one GPU. Unlike the ladder's DeviceArray it is not touched: only copied.
class Buffer {
 public:
  explicit Buffer(int device) {
    AIOS_CUDA_CHECK(cudaSetDevice(device));
    AIOS_CUDA_CHECK(cudaMalloc(&data_, kLinkBytes));
  }
  ~Buffer() { cudaFree(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
};

// FLOPs per second of the engine's product, cuBLASLt in bf16: the best of a few, each timed alone,
// since many in a row reach the limit of the GPU's power and lower its clock.
double MeasureGemm() {
  constexpr int kSize = 8192;
  constexpr int kTries = 8;
  constexpr size_t kCells = size_t{kSize} * kSize;
  const auto a = ladder::DeviceArray::NormalBF16(kCells, 1);
  const auto b = ladder::DeviceArray::NormalBF16(kCells, 2);
  const ladder::DeviceArray c(kCells * sizeof(uint16_t));
  kernels::cuda::Gemm gemm;
  double best_seconds = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kTries; ++i) {
    const double seconds = ladder::TimeKernel(
        [&](int, cudaStream_t stream) {
          gemm.Run({.x = a.As<void>(),
                    .weight = b.As<void>(),
                    .y = c.As<void>(),
                    .n_rows = kSize,
                    .d_in = kSize,
                    .d_out = kSize},
                   stream);
        },
        {.launches_per_repeat = 1, .repeats = 1});
    best_seconds = std::min(best_seconds, seconds);
  }
  return 2.0 * kCells * kSize / best_seconds;
}

int PeerAttribute(cudaDeviceP2PAttr attribute, const GpuLink& link) {
  int value = 0;
  AIOS_CUDA_CHECK(cudaDeviceGetP2PAttribute(&value, attribute, link.from, link.to));
  return value;
}

// The best of a few copies. Peer access must be switched on for the direct way to be taken.
double MeasureCopy(const GpuLink& link) {
  constexpr int kTries = 5;
  const Buffer to(link.to);
  const Buffer from(link.from);  // last, so that its GPU is current: the copies are issued there
  if (link.peer_access) {
    const cudaError_t error = cudaDeviceEnablePeerAccess(link.to, 0);
    if (error != cudaErrorPeerAccessAlreadyEnabled) AIOS_CUDA_CHECK(error);
    cudaGetLastError();
  }
  const Stream stream;
  Event begin;
  Event end;
  float best_ms = std::numeric_limits<float>::infinity();
  for (int i = 0; i < kTries; ++i) {
    begin.Record(stream);
    AIOS_CUDA_CHECK(
        cudaMemcpyPeerAsync(to.data(), link.to, from.data(), link.from, kLinkBytes, stream.get()));
    end.Record(stream);
    end.Synchronize();
    best_ms = std::min(best_ms, end.MillisecondsSince(begin));
  }
  return static_cast<double>(kLinkBytes) / (best_ms * 1e-3);
}

}  // namespace

std::vector<GpuProfile> FindGpus(std::string* why_none) {
  std::vector<GpuProfile> gpus;
  if (!CanOpenGpu(0, why_none)) return gpus;
  int n_gpus = 0;
  AIOS_CUDA_CHECK(cudaGetDeviceCount(&n_gpus));
  for (int i = 0; i < n_gpus; ++i) {
    std::string why;
    if (!CanOpenGpu(i, &why)) continue;
    const Gpu gpu = OpenGpu(i);
    gpus.push_back({.index = gpu.index,
                    .name = gpu.name,
                    .n_sms = gpu.n_sms,
                    .compute_capability = gpu.compute_capability,
                    .total_bytes = gpu.total_bytes,
                    .l2_bytes = gpu.l2_bytes});
  }
  return gpus;
}

void MeasureGpus(std::vector<GpuProfile>& gpus) {
  for (GpuProfile& gpu : gpus) {
    OpenGpu(gpu.index);  // makes it current
    try {
      const ladder::Limits limits = ladder::MeasureLimits(/*with_gemm=*/false);
      gpu.read_bytes_s = limits.read_bytes_s;
      gpu.copy_bytes_s = limits.copy_bytes_s;
      gpu.bf16_flop_s = MeasureGemm();
    } catch (const std::exception& error) {
      gpu.not_measured = error.what();
    }
  }
}

std::vector<GpuLink> MeasureGpuLinks(const std::vector<GpuProfile>& gpus) {
  std::vector<GpuLink> links;
  for (const GpuProfile& from : gpus) {
    for (const GpuProfile& to : gpus) {
      if (from.index == to.index) continue;
      GpuLink link = {.from = from.index, .to = to.index};
      link.peer_access = PeerAttribute(cudaDevP2PAttrAccessSupported, link) != 0;
      link.native_atomics = PeerAttribute(cudaDevP2PAttrNativeAtomicSupported, link) != 0;
      try {
        link.copy_bytes_s = MeasureCopy(link);
      } catch (const std::exception&) {
        link.copy_bytes_s = 0;  // others have the memory of one of the two, say
      }
      links.push_back(link);
    }
  }
  return links;
}

#endif  // AIOS_HAVE_CUDA

double MeasureGpuReadBandwidth(int index) {
  std::string why_none;
  std::vector<GpuProfile> gpus = FindGpus(&why_none);
  std::erase_if(gpus, [&](const GpuProfile& gpu) { return gpu.index != index; });
  MeasureGpus(gpus);
  return gpus.empty() ? 0 : gpus[0].read_bytes_s;
}

}  // namespace aios
