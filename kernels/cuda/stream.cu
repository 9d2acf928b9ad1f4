#include <cuda_runtime.h>

#include <algorithm>
#include <stdexcept>

#include "kernels/cuda/check.h"
#include "kernels/cuda/stream.h"

namespace aios::kernels::cuda {
namespace {

// What is in flight hides the latency: Little's law asks for 4.8 TB/s x ~700 ns = 3.4 MB at any
// moment. 132 SMs x 2,048 threads x 4 loads x 16 bytes are 17 MB.
constexpr int kThreads = 1024;
constexpr int kInFlight = 4;
constexpr int kMaxBlocks = 2112;  // 16 for each of 132 SMs: a short tail, few block starts

// Each block walks over tiles of kThreads * kInFlight vectors, a grid apart: at any moment the grid
// reads one contiguous stretch, which keeps the DRAM pages open.
template <typename Visit>
__device__ void ForEachBatch(size_t n_vectors, Visit visit) {
  constexpr size_t kTile = size_t{kThreads} * kInFlight;
  for (size_t tile = blockIdx.x * kTile; tile < n_vectors; tile += gridDim.x * kTile)
    visit(tile + threadIdx.x);
}

__global__ __launch_bounds__(kThreads) void ReadKernel(const uint4* data, size_t n_vectors,
                                                       uint32_t* sink) {
  uint32_t fold = 0;
  ForEachBatch(n_vectors, [&](size_t first) {
    uint4 loaded[kInFlight];
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      const size_t at = first + size_t{kThreads} * i;
      loaded[i] = at < n_vectors ? __ldcs(data + at) : uint4{};  // cs: will not be read again
    }
#pragma unroll
    for (const uint4& v : loaded) fold ^= v.x ^ v.y ^ v.z ^ v.w;
  });
  if (fold == 0x9E3779B9u) *sink = fold;
}

__global__ __launch_bounds__(kThreads) void CopyKernel(const uint4* from, uint4* to,
                                                       size_t n_vectors) {
  ForEachBatch(n_vectors, [&](size_t first) {
    uint4 loaded[kInFlight];
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      const size_t at = first + size_t{kThreads} * i;
      if (at < n_vectors) loaded[i] = __ldcs(from + at);
    }
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      const size_t at = first + size_t{kThreads} * i;
      if (at < n_vectors) __stcs(to + at, loaded[i]);
    }
  });
}

int NumBlocks(size_t n_vectors) {
  const size_t n_tiles = (n_vectors + kThreads * kInFlight - 1) / (kThreads * kInFlight);
  return static_cast<int>(std::min<size_t>(n_tiles, kMaxBlocks));
}

size_t NumVectors(size_t n_bytes, const void* a, const void* b) {
  if (n_bytes % 16 != 0 || reinterpret_cast<uintptr_t>(a) % 16 != 0 ||
      reinterpret_cast<uintptr_t>(b) % 16 != 0)
    throw std::invalid_argument("stream: addresses and n_bytes must be multiples of 16");
  return n_bytes / 16;
}

}  // namespace

void ReadStream(const void* data, size_t n_bytes, uint32_t* sink, cudaStream_t stream) {
  const size_t n = NumVectors(n_bytes, data, nullptr);
  if (n == 0) return;
  ReadKernel<<<NumBlocks(n), kThreads, 0, stream>>>(static_cast<const uint4*>(data), n, sink);
  AIOS_CUDA_CHECK_LAUNCH();
}

void CopyStream(const void* from, void* to, size_t n_bytes, cudaStream_t stream) {
  const size_t n = NumVectors(n_bytes, from, to);
  if (n == 0) return;
  CopyKernel<<<NumBlocks(n), kThreads, 0, stream>>>(static_cast<const uint4*>(from),
                                                    static_cast<uint4*>(to), n);
  AIOS_CUDA_CHECK_LAUNCH();
}

}  // namespace aios::kernels::cuda
