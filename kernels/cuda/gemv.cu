// Gemv's launches: what is done in one kernel and what in two, and with how many blocks.
//
// A step of decoding is a chain of these kernels, and from one to the next some 1.5 us are lost if
// nothing is done: the last blocks end, the GPU notices, x comes from the L2. So each kernel starts
// while the one before still runs (pdl.cuh), in the room that it leaves, and asks for its first
// weights. What was best in chains of whole models (bench_decode_chain):
//
// - As many blocks as there is room for, each going from tile to tile: loads go on across tiles,
//   and x is copied and normalized once.
// - To normalize inside is one kernel less, but every block does it all: for a few rows only.
//
// Tried, and no better (H100): half of the room for the kernel, half for the next, which then loads
// early, but not in the gap; letting the next kernel start later; copying x by cp.async; rings in
// shared memory, filled by cp.async or by bulk copies (TMA); prefetching the next kernel's weights
// into the L2.
#include <cuda_bf16.h>

#include <algorithm>
#include <stdexcept>

#include "kernels/cuda/check.h"
#include "kernels/cuda/gemv.h"
#include "kernels/cuda/gemv_tiles.cuh"
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/pdl.cuh"
#include "kernels/cuda/rms_norm.cuh"
#include "kernels/cuda/rms_norm.h"

namespace aios::kernels::cuda {
namespace {

constexpr int kSlowWarps = 16;

// Any d_in, any alignment: a warp does an output of all vectors, number by number.
template <typename T>
__global__ __launch_bounds__(32 * kSlowWarps) void WarpPerOutput(const GemvArgs args) {
  const int64_t output = static_cast<int64_t>(blockIdx.x) * kSlowWarps + threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  LetNextKernelStart();
  WaitForPreviousKernel();
  if (output >= args.d_out) return;
  const auto product = [&](int64_t row_of_w, const T* x) {
    const T* const w = static_cast<const T*>(args.weight) + row_of_w * args.d_in;
    float sum = 0;
    for (int64_t k = lane; k < args.d_in; k += 32) {
      sum = fmaf(static_cast<float>(w[k]), static_cast<float>(x[k]), sum);
    }
    return WarpSum(sum);
  };
  for (int r = 0; r < args.n_rows; ++r) {
    const T* const x = static_cast<const T*>(args.x) + r * args.d_in;
    const int64_t at = r * args.d_out + output;
    float value = product(output, x);
    if (args.output == GemvOutput::kSiluMul) {
      value = SiluMulOf<T>(value, product(args.d_out + output, x));
    }
    const bool add = args.output == GemvOutput::kAdd;
    if (lane == 0) StoreOutput<T>(args, at, value, add ? static_cast<float*>(args.y)[at] : 0);
  }
}

constexpr int kMultiprocessors = 132;  // of an H200; on others this is fast or less so

// Of a multiprocessor's 228 KB, for the kernels that share it; what remains is the L1, through
// which the weights pass. The same for all of these kernels: a multiprocessor must run empty
// between two that divide it differently.
constexpr int kSharedBytes = 160 << 10;
constexpr int kSharedPercent = 70;

int XStride(int64_t row_bytes) {  // in shared memory rows begin half of the banks apart
  return static_cast<int>((row_bytes + kPieceBytes - 1) / kPieceBytes * kPieceBytes + kHalfBytes);
}

// Launches RmsNorm for it.
void NormalizeBefore(GemvArgs& args, cudaStream_t stream) {
  RmsNorm({.x = const_cast<float*>(args.residual),  // only read where there is no delta
           .weight = args.norm_weight,
           .out = args.workspace,
           .eps = args.norm_eps,
           .n_rows = args.n_rows,
           .d_model = args.d_in,
           .dtype = args.dtype,
           .overlap_previous = args.overlap_previous},
          stream);
  args.x = args.workspace;
  args.residual = nullptr;
}

int64_t TileCount(const GemvArgs& args) { return CeilDiv(args.d_out, TileOutputs(args.output)); }

// What x may take of a block's memory; the rest is for the partial sums.
int MaxXBytes(int sharing) {
  constexpr int kPartialSumsBytes = 24 << 10;
  int device = 0, of_block = 0;
  AIOS_CUDA_CHECK(cudaGetDevice(&device));
  AIOS_CUDA_CHECK(
      cudaDeviceGetAttribute(&of_block, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  return std::min(kSharedBytes / sharing, of_block) - kPartialSumsBytes;
}

// The parameters: TilesPerBlock's.
template <typename T, int kMaxRows, int kWarps, int kDepth, int kSharing>
void LaunchTiles(GemvArgs args, cudaStream_t stream) {
  if (args.residual != nullptr &&
      !(args.d_in % kNormVector == 0 && args.d_in <= kMaxNormChunks * kNormChunk &&
        args.n_rows * CeilDiv(args.d_in, kNormChunk) <= kWarps * kNormBatch<kSharing> &&
        AlignedTo16({args.residual, args.norm_weight}))) {
    NormalizeBefore(args, stream);
  }
  const int64_t row_bytes = args.d_in * static_cast<int64_t>(sizeof(T));
  const int64_t n_tiles = TileCount(args);
  const int64_t n_blocks = std::min<int64_t>(n_tiles, kMultiprocessors * kSharing);
  const int64_t x_bytes = args.n_rows * static_cast<int64_t>(XStride(row_bytes));
  const int max_x_bytes = MaxXBytes(kSharing);
  // Many rows of x take long to copy: they must be of use to several tiles.
  const bool x_in_shared = args.residual != nullptr ||
                           (x_bytes <= max_x_bytes && (args.n_rows <= 4 || n_tiles > n_blocks));
  const auto kernel = TilesPerBlock<T, kMaxRows, kWarps, kDepth, kSharing>;
  AIOS_CUDA_CHECK(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, max_x_bytes));
  AIOS_CUDA_CHECK(
      cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, kSharedPercent));
  Launch(kernel,
         {.grid = dim3(static_cast<unsigned>(n_blocks)),
          .block = dim3(32 * kWarps),
          .shared_bytes = x_in_shared ? static_cast<size_t>(x_bytes) : 0,
          .overlap_previous = args.overlap_previous},
         stream, args,
         GemvPlan{.n_tiles = static_cast<int>(n_tiles),
                  .x_in_shared = x_in_shared,
                  .x_stride = x_in_shared ? XStride(row_bytes) : static_cast<int>(row_bytes)});
}

// mma does 8 vectors at the price of 1. The number of warps, and so the order of the sums, is by
// d_in alone; the rest is as measured.
void LaunchBF16(const GemvArgs& args, cudaStream_t stream) {
  using T = __nv_bfloat16;
  const int64_t row_bytes = args.d_in * static_cast<int64_t>(sizeof(T));
  if (row_bytes > 4096) {
    LaunchTiles<T, 1, 16, 4, 1>(args, stream);
  } else if (row_bytes > 2048 || 2 * TileCount(args) <= 3 * kMultiprocessors) {
    LaunchTiles<T, 1, 8, 4, 2>(args, stream);
  } else {  // many tiles of 2 pieces a warp
    LaunchTiles<T, 1, 8, 2, 3>(args, stream);
  }
}

// The registers hold few vectors' sums and a deep queue, or many sums.
void LaunchF32(const GemvArgs& args, cudaStream_t stream) {
  if (args.n_rows > 4) {
    LaunchTiles<float, 8, 16, 1, 1>(args, stream);
  } else if (args.n_rows > 2) {
    LaunchTiles<float, 4, 16, 1, 1>(args, stream);
  } else if (args.n_rows > 1) {
    LaunchTiles<float, 2, 16, 2, 1>(args, stream);
  } else {
    LaunchTiles<float, 1, 16, 3, 1>(args, stream);
  }
}

}  // namespace

size_t GemvWorkspaceBytes(int n_rows, int64_t d_in, Format dtype) {
  return static_cast<size_t>(n_rows) * d_in * Info(dtype).block_bytes;
}

void Gemv(const GemvArgs& args, cudaStream_t stream) {
  const auto is_known = [](Format f) { return f == Format::kBF16 || f == Format::kF32; };
  if (!is_known(args.dtype) || !is_known(args.y_dtype)) {
    throw std::invalid_argument("Gemv: dtype and y_dtype must be BF16 or F32");
  }
  if (args.output == GemvOutput::kAdd && args.y_dtype != Format::kF32) {
    throw std::invalid_argument("Gemv: y must be F32 to be added to");
  }
  if (args.n_rows < 1 || args.n_rows > kGemvMaxRows) {
    throw std::invalid_argument("Gemv: n_rows must be 1 to 8");
  }
  if (args.d_in < 0 || args.d_out < 0 || args.d_out > INT32_MAX / 2) {
    throw std::invalid_argument("Gemv: d_in and d_out must be 0 to 2^30 - 1");
  }
  if (args.residual != nullptr && args.workspace == nullptr && args.d_in > 0) {
    throw std::invalid_argument("Gemv: to normalize the residual takes a workspace");
  }
  if (args.d_out == 0) return;
  const bool bf16 = args.dtype == Format::kBF16;
  const int64_t row_bytes = args.d_in * Info(args.dtype).block_bytes;
  if (row_bytes > 0 && row_bytes % 16 == 0 && row_bytes < 1 << 27 &&
      AlignedTo16({args.x, args.weight, args.workspace})) {
    return bf16 ? LaunchBF16(args, stream) : LaunchF32(args, stream);
  }
  GemvArgs product = args;
  if (args.residual != nullptr) NormalizeBefore(product, stream);
  Launch(bf16 ? WarpPerOutput<__nv_bfloat16> : WarpPerOutput<float>,
         {.grid = dim3(static_cast<unsigned>((args.d_out + kSlowWarps - 1) / kSlowWarps)),
          .block = dim3(32 * kSlowWarps),
          .overlap_previous = args.overlap_previous},
         stream, product);
}

}  // namespace aios::kernels::cuda
