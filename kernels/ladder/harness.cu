// What of the harness runs on the device: random inputs, timing, errors. The table is report.cc.
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>

#include "kernels/cuda/check.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/stream.h"
#include "kernels/ladder/harness.h"

namespace aios::ladder {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocks = 1024;  // grid-stride loops: any size

// SplitMix64 (Steele, Lea, Flood 2014): number `i` of the sequence of `seed`, without the ones
// before.
__device__ uint64_t RandomBits(uint64_t seed, uint64_t i) {
  uint64_t z = seed * 0xD1342543DE82EF95ull + (i + 1) * 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

template <typename T>
__global__ void FillNormal(T* out, size_t n, uint64_t seed, float scale) {
  for (size_t i = blockIdx.x * size_t{kThreads} + threadIdx.x; i < n;
       i += size_t{kThreads} * gridDim.x) {
    const uint64_t bits = RandomBits(seed, i);
    // Box and Muller: the first uniform in (0, 1], so that its logarithm is finite.
    const float u = (static_cast<uint32_t>(bits >> 40) + 1) * 0x1p-24f;
    const float v = static_cast<uint32_t>(bits & 0xFFFFFF) * 0x1p-24f;
    out[i] = static_cast<T>(scale * sqrtf(-2 * logf(u)) * cospif(2 * v));
  }
}

struct Sums {
  double difference2, want2;
  int has_nan;
};

template <typename T>
__global__ void SumDifferences(const T* got, const float* want, size_t n, Sums* of_blocks) {
  __shared__ Sums shared[kThreads];
  Sums mine = {};
  for (size_t i = blockIdx.x * size_t{kThreads} + threadIdx.x; i < n;
       i += size_t{kThreads} * gridDim.x) {
    const double g = static_cast<float>(got[i]), w = want[i];
    mine.difference2 += (g - w) * (g - w);
    mine.want2 += w * w;
    mine.has_nan |= isnan(g) || isnan(w);
  }
  shared[threadIdx.x] = mine;
  for (int stride = kThreads / 2; stride > 0; stride /= 2) {
    __syncthreads();
    if (threadIdx.x < stride) {
      const Sums& other = shared[threadIdx.x + stride];
      shared[threadIdx.x].difference2 += other.difference2;
      shared[threadIdx.x].want2 += other.want2;
      shared[threadIdx.x].has_nan |= other.has_nan;
    }
  }
  if (threadIdx.x == 0) of_blocks[blockIdx.x] = shared[0];
}

template <typename T>
double RelativeError(const T* got, const float* want, size_t n) {
  DeviceArray of_blocks(kBlocks * sizeof(Sums));
  SumDifferences<<<kBlocks, kThreads>>>(got, want, n, of_blocks.As<Sums>());
  AIOS_CUDA_CHECK_LAUNCH();
  std::vector<Sums> sums(kBlocks);
  AIOS_CUDA_CHECK(
      cudaMemcpy(sums.data(), of_blocks.As<Sums>(), of_blocks.n_bytes(), cudaMemcpyDeviceToHost));
  Sums total = {};
  for (const Sums& s : sums) {
    total.difference2 += s.difference2;
    total.want2 += s.want2;
    total.has_nan |= s.has_nan;
  }
  if (total.has_nan) return std::numeric_limits<double>::infinity();
  if (total.difference2 == 0) return 0;  // also where all that is wanted is zero
  return std::sqrt(total.difference2 / total.want2);
}

// Owners for one call: what throws between must not leak a stream with a capture under way.
struct ScopedStream {
  ScopedStream() { AIOS_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking)); }
  ~ScopedStream() { cudaStreamDestroy(stream); }
  ScopedStream(const ScopedStream&) = delete;
  cudaStream_t stream = nullptr;
};
struct ScopedEvent {
  ScopedEvent() { AIOS_CUDA_CHECK(cudaEventCreate(&event)); }
  ~ScopedEvent() { cudaEventDestroy(event); }
  ScopedEvent(const ScopedEvent&) = delete;
  cudaEvent_t event = nullptr;
};
struct ScopedGraph {
  ScopedGraph() = default;
  ~ScopedGraph() {
    if (executable) cudaGraphExecDestroy(executable);
    if (graph) cudaGraphDestroy(graph);
  }
  ScopedGraph(const ScopedGraph&) = delete;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

}  // namespace

DeviceArray::DeviceArray(size_t n_bytes) : n_bytes_(n_bytes) {
  AIOS_CUDA_CHECK(cudaMalloc(&data_, std::max<size_t>(n_bytes, 1)));
  Poison();
}

DeviceArray DeviceArray::NormalF32(size_t n, uint64_t seed, float scale) {
  DeviceArray array(n * sizeof(float));
  FillNormal<<<kBlocks, kThreads>>>(array.As<float>(), n, seed, scale);
  AIOS_CUDA_CHECK_LAUNCH();
  AIOS_CUDA_CHECK(cudaDeviceSynchronize());  // kernels on other streams may read it now
  return array;
}

DeviceArray DeviceArray::NormalBF16(size_t n, uint64_t seed, float scale) {
  DeviceArray array(n * sizeof(__nv_bfloat16));
  FillNormal<<<kBlocks, kThreads>>>(array.As<__nv_bfloat16>(), n, seed, scale);
  AIOS_CUDA_CHECK_LAUNCH();
  AIOS_CUDA_CHECK(cudaDeviceSynchronize());
  return array;
}

DeviceArray::DeviceArray(DeviceArray&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), n_bytes_(std::exchange(other.n_bytes_, 0)) {}

DeviceArray& DeviceArray::operator=(DeviceArray&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(n_bytes_, other.n_bytes_);
  return *this;
}

DeviceArray::~DeviceArray() { cudaFree(data_); }

void DeviceArray::Poison() {
  AIOS_CUDA_CHECK(cudaMemset(data_, 0xFF, n_bytes_));
  AIOS_CUDA_CHECK(cudaDeviceSynchronize());
}

double RelativeErrorF32(const float* got, const float* want, size_t n) {
  return RelativeError(got, want, n);
}

double RelativeErrorBF16(const void* got, const float* want, size_t n) {
  return RelativeError(static_cast<const __nv_bfloat16*>(got), want, n);
}

void Verify(const std::string& what, double error, double tolerance) {
  if (error <= tolerance) return;  // written so that a NaN fails
  throw std::runtime_error(what + ": the relative error is " + std::to_string(error) +
                           ", the limit " + std::to_string(tolerance));
}

double TimeKernel(const std::function<void(int, cudaStream_t)>& launch, TimingOptions options) {
  if (options.launches_per_repeat < 1 || options.repeats < 1)
    throw std::invalid_argument("TimeKernel: at least one launch and one repeat");
  ScopedStream s;
  ScopedEvent begin, end;
  std::vector<double> seconds;
  const auto elapsed = [&] {
    float milliseconds = 0;
    AIOS_CUDA_CHECK(cudaEventSynchronize(end.event));
    AIOS_CUDA_CHECK(cudaEventElapsedTime(&milliseconds, begin.event, end.event));
    return milliseconds * 1e-3;
  };
  // Loads the module, sets attributes, and shows launch errors outside of a capture.
  launch(0, s.stream);
  AIOS_CUDA_CHECK(cudaStreamSynchronize(s.stream));

  if (options.flush_l2) {
    int device = 0, l2_bytes = 0;
    AIOS_CUDA_CHECK(cudaGetDevice(&device));
    AIOS_CUDA_CHECK(cudaDeviceGetAttribute(&l2_bytes, cudaDevAttrL2CacheSize, device));
    const DeviceArray flush(size_t{4} * l2_bytes);
    // The host queues the launch while the memset still runs, so its own time does not count.
    for (int i = 0; i < options.launches_per_repeat * options.repeats; ++i) {
      AIOS_CUDA_CHECK(cudaMemsetAsync(flush.As<void>(), i, flush.n_bytes(), s.stream));
      AIOS_CUDA_CHECK(cudaEventRecord(begin.event, s.stream));
      launch(i, s.stream);
      AIOS_CUDA_CHECK(cudaEventRecord(end.event, s.stream));
      seconds.push_back(elapsed());
    }
    return Median(seconds);
  }

  ScopedGraph g;
  AIOS_CUDA_CHECK(cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeThreadLocal));
  try {
    for (int i = 0; i < options.launches_per_repeat; ++i) launch(i, s.stream);
  } catch (...) {
    cudaStreamEndCapture(s.stream, &g.graph);
    throw;
  }
  AIOS_CUDA_CHECK(cudaStreamEndCapture(s.stream, &g.graph));
  AIOS_CUDA_CHECK(cudaGraphInstantiate(&g.executable, g.graph, 0));
  constexpr int kWarmUps = 2;  // the clocks settle, the graph is uploaded
  for (int i = 0; i < kWarmUps + options.repeats; ++i) {
    AIOS_CUDA_CHECK(cudaEventRecord(begin.event, s.stream));
    AIOS_CUDA_CHECK(cudaGraphLaunch(g.executable, s.stream));
    AIOS_CUDA_CHECK(cudaEventRecord(end.event, s.stream));
    const double repeat = elapsed() / options.launches_per_repeat;
    if (i >= kWarmUps) seconds.push_back(repeat);
  }
  return Median(seconds);
}

Limits MeasureLimits(bool with_gemm) {
  Limits limits;
  int device = 0, version = 0;
  AIOS_CUDA_CHECK(cudaGetDevice(&device));
  AIOS_CUDA_CHECK(cudaDriverGetVersion(&version));
  cudaDeviceProp properties;
  AIOS_CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
  limits.device = properties.name;
  limits.driver = std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
  {
    // 16 times an H200's L2 or more, so that what a repeat leaves there does not count.
    const size_t n = std::max<size_t>(size_t{1} << 30, size_t{16} * properties.l2CacheSize);
    const DeviceArray from = DeviceArray::NormalF32(n / sizeof(float), 1), to(n);
    const TimingOptions timing = {.launches_per_repeat = 3, .repeats = 7};
    limits.read_bytes_s =
        n / TimeKernel(
                [&](int, cudaStream_t s) {
                  kernels::cuda::ReadStream(from.As<void>(), n, to.As<uint32_t>(), s);
                },
                timing);
    limits.copy_bytes_s = 2.0 * n /
                          TimeKernel(
                              [&](int, cudaStream_t s) {
                                kernels::cuda::CopyStream(from.As<void>(), to.As<void>(), n, s);
                              },
                              timing);
  }
  if (with_gemm) {
    constexpr int kSize = 8192;
    constexpr size_t kCells = size_t{kSize} * kSize;
    const DeviceArray a = DeviceArray::NormalBF16(kCells, 1),
                      b = DeviceArray::NormalBF16(kCells, 2);
    const DeviceArray c(kCells * sizeof(__nv_bfloat16));
    kernels::cuda::Gemm gemm;
    limits.gemm_flop_s = 2.0 * kCells * kSize / TimeKernel([&](int, cudaStream_t s) {
                           gemm.Run({.x = a.As<void>(),
                                     .weight = b.As<void>(),
                                     .y = c.As<void>(),
                                     .n_rows = kSize,
                                     .d_in = kSize,
                                     .d_out = kSize},
                                    s);
                         });
  }
  return limits;
}

}  // namespace aios::ladder
