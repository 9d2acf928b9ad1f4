#include <cuda_runtime.h>

#include <stdexcept>

#include "kernels/cuda/check.h"
#include "kernels/cuda/stream.h"

namespace aios::kernels::cuda {
namespace {

// What is in flight hides the latency: Little's law asks for 4.8 TB/s x ~700 ns = 3.4 MB at any
// moment; 132 SMs x 2,048 threads x 4 loads of 16 bytes are 17 MB. Each block takes one stretch and
// ends. Measured on an H200 over 4 GiB, TB/s: read 4.62 (4.57 with 2,112 blocks that walk),
// copy 4.21 with two in flight and 4.18 with four (3.98 walking).
constexpr int kThreads = 1024;
constexpr int kReadsInFlight = 4;
constexpr int kCopiesInFlight = 2;

__global__ __launch_bounds__(kThreads) void ReadKernel(const uint4* data, size_t n_vectors,
                                                       uint32_t* sink) {
  const size_t first = size_t{kThreads} * kReadsInFlight * blockIdx.x + threadIdx.x;
  uint4 loaded[kReadsInFlight];
#pragma unroll
  for (int i = 0; i < kReadsInFlight; ++i) {
    const size_t at = first + size_t{kThreads} * i;
    loaded[i] = at < n_vectors ? __ldcs(data + at) : uint4{};  // cs: will not be read again
  }
  uint32_t fold = 0;
#pragma unroll
  for (const uint4& v : loaded) fold ^= v.x ^ v.y ^ v.z ^ v.w;
  if (fold == 0x9E3779B9u) *sink = fold;
}

__global__ __launch_bounds__(kThreads) void CopyKernel(const uint4* from, uint4* to,
                                                       size_t n_vectors) {
  const size_t first = size_t{kThreads} * kCopiesInFlight * blockIdx.x + threadIdx.x;
  uint4 loaded[kCopiesInFlight];
#pragma unroll
  for (int i = 0; i < kCopiesInFlight; ++i) {
    const size_t at = first + size_t{kThreads} * i;
    if (at < n_vectors) loaded[i] = __ldcs(from + at);
  }
#pragma unroll
  for (int i = 0; i < kCopiesInFlight; ++i) {
    const size_t at = first + size_t{kThreads} * i;
    if (at < n_vectors) __stcs(to + at, loaded[i]);
  }
}

unsigned NumBlocks(size_t n_vectors, size_t vectors_per_block) {
  const size_t n = (n_vectors + vectors_per_block - 1) / vectors_per_block;
  if (n > 0x7FFFFFFF) throw std::invalid_argument("stream: more than the grid can hold");
  return static_cast<unsigned>(n);
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
  ReadKernel<<<NumBlocks(n, kThreads * kReadsInFlight), kThreads, 0, stream>>>(
      static_cast<const uint4*>(data), n, sink);
  AIOS_CUDA_CHECK_LAUNCH();
}

void CopyStream(const void* from, void* to, size_t n_bytes, cudaStream_t stream) {
  const size_t n = NumVectors(n_bytes, from, to);
  if (n == 0) return;
  CopyKernel<<<NumBlocks(n, kThreads * kCopiesInFlight), kThreads, 0, stream>>>(
      static_cast<const uint4*>(from), static_cast<uint4*>(to), n);
  AIOS_CUDA_CHECK_LAUNCH();
}

}  // namespace aios::kernels::cuda
