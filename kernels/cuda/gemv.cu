// Every weight is read once and used n_rows times: the memory's bandwidth is the limit, and all
// that matters is that enough bytes are on the way at every moment. Little's law: 4.7 TB/s x about
// 0.8 us of loaded latency = 3.8 MB, 29 KB a multiprocessor.
//
// - A block does a tile of 16 rows of W. Its warps, 8 or for long rows 16, split d_in: of 8, warp w
//   takes bytes [128 w, 128 w + 128) of every 1,024 of a row. Who sums what, in what order, depends
//   on d_in alone.
// - A lane has kDepth pieces on the way, in registers; a piece that was used is replaced by the one
//   kDepth further. The first are asked for before the kernel waits for the one that computes x.
// - kSharing blocks fit on a multiprocessor: those of the next kernel load their first pieces there
//   while the last ones of this kernel still work. That is the depth's price: deeper blocks are
//   fewer. LaunchBF16 says which is best for how many tiles.
// - bf16: tensor cores (mma m16n8k16: 16 rows of W, 8 vectors x). One vector could do without, but
//   8 would need all of the GPU's FMAs; and so a row's sums are the same with 1 row and with 8.
// - f32: fused multiply-add.
// - The warps' partial sums meet in shared memory and are added in the order of the warps.
//
// What is left below 40 MB is lost from one kernel to the next: some 1.3 us in which the last
// kernel's results are waited for, x comes, and the weights that are there already use no more of
// the memory's bandwidth. Kernels that only read overlap fully (bench_gemv, "read, same chain").
//
// Tried, and no better (H200): rings in shared memory, filled by cp.async or by bulk copies (TMA)
// of 1, 2 and 4 KB, with persistent blocks; x through shared memory; prefetching the rest of the
// tile or the next kernel's weights into the L2; letting the next kernel start after x has come.
#include <cuda_bf16.h>

#include <algorithm>
#include <stdexcept>
#include <type_traits>

#include "kernels/cuda/gemv.h"
#include "kernels/cuda/pdl.cuh"

namespace aios::kernels::cuda {
namespace {

constexpr int kTileRows = 16;     // rows of W of a block
constexpr int kPieceBytes = 128;  // of a row: what a warp takes of it at a time, a cache line

// Lane 4 g + t of a warp holds of a piece of rows g and g + 8 the bytes [16 t, 16 t + 16) of either
// half. That is what mma wants of it, up to the order of the columns, which is the same for W and x
// and so does not matter.
constexpr int kLaneRows = 2;
constexpr int kHalves = 2;
constexpr int kHalfBytes = kPieceBytes / kHalves;
using Piece = uint4[kLaneRows][kHalves];

// W is read once: not to be kept in the L1. Not ld.global.nc, which the assembler is free to move
// behind WaitForPreviousKernel, and it does: then the next kernel's weights are not on their way.
__device__ __forceinline__ uint4 LoadOnce(const char* from) {
  uint4 v;
  asm volatile("ld.global.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from));
  return v;
}

__device__ __forceinline__ void Store(float value, float* y) { *y = value; }
__device__ __forceinline__ void Store(float value, __nv_bfloat16* y) {
  *y = __float2bfloat16_rn(value);
}

// Of all that follows: where this lane is.
struct Lane {
  int group = threadIdx.x % 32 / 4;  // g above
  int quarter = threadIdx.x % 4;     // t
  int warp = threadIdx.x / 32;
};

// A warp's partial sums of a tile, in registers.
template <typename T, int kMaxRows>
struct Sums;

// D = A B + D with A: 16 rows of W, B: 8 vectors. This lane's D: outputs g (sum[.][0], [1]) and
// g + 8 (sum[.][2], [3]) of vectors 2 t and 2 t + 1. Two D, taken in turn: a product must wait for
// the one before it of its own D only.
template <int kMaxRows>
struct Sums<__nv_bfloat16, kMaxRows> {
  float sum[2][4] = {};

  // x: this lane's first byte of vector 0 in the half.
  __device__ void Add(const Piece& w, int half, const char* x, bool valid, int64_t row_bytes,
                      int n_rows, Lane lane) {
    uint4 b = {0, 0, 0, 0};  // vectors from n_rows on are zeros
    if (valid && lane.group < n_rows) {
      b = *reinterpret_cast<const uint4*>(x + lane.group * row_bytes);
    }
    const uint4 low = w[0][half], high = w[1][half];
    Mma(sum[0], low.x, high.x, low.y, high.y, b.x, b.y);
    Mma(sum[1], low.z, high.z, low.w, high.w, b.z, b.w);
  }
  __device__ static void Mma(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                             uint32_t b0, uint32_t b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  }
  __device__ void Write(float (&partial)[kGemvMaxRows][kTileRows], Lane lane) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      partial[2 * lane.quarter + i % 2][lane.group + i / 2 * 8] = sum[0][i] + sum[1][i];
    }
  }
};

// sum[i][r]: output g + 8 i of vector r, over the columns that lane t of 4 has.
template <int kMaxRows>
struct Sums<float, kMaxRows> {
  float sum[kLaneRows][kMaxRows] = {};

  __device__ void Add(const Piece& w, int half, const char* x, bool valid, int64_t row_bytes,
                      int n_rows, Lane) {
#pragma unroll
    for (int r = 0; r < kMaxRows; ++r) {  // no branch on n_rows, so that all loads come first
      const char* const from = x + min(r, n_rows - 1) * row_bytes;
      const float4 b = valid ? *reinterpret_cast<const float4*>(from) : float4{0, 0, 0, 0};
#pragma unroll
      for (int i = 0; i < kLaneRows; ++i) {
        sum[i][r] = fmaf(__uint_as_float(w[i][half].x), b.x, sum[i][r]);
        sum[i][r] = fmaf(__uint_as_float(w[i][half].y), b.y, sum[i][r]);
        sum[i][r] = fmaf(__uint_as_float(w[i][half].z), b.z, sum[i][r]);
        sum[i][r] = fmaf(__uint_as_float(w[i][half].w), b.w, sum[i][r]);
      }
    }
  }
  __device__ void Write(float (&partial)[kGemvMaxRows][kTileRows], Lane lane) const {
#pragma unroll
    for (int r = 0; r < kMaxRows; ++r) {
#pragma unroll
      for (int i = 0; i < kLaneRows; ++i) {
        float all = sum[i][r];  // of the 4 lanes of the group
        all += __shfl_xor_sync(0xFFFFFFFF, all, 1);
        all += __shfl_xor_sync(0xFFFFFFFF, all, 2);
        if (lane.quarter == 0) partial[r][lane.group + 8 * i] = all;
      }
    }
  }
};

// Block b: outputs [16 b, 16 b + 16). Rows of W are whole multiples of 16 bytes, under 1 GB.
// kMaxRows >= n_rows (bf16: any). kDepth: pieces of 64 bytes that a lane has on the way, kSharing:
// blocks on a multiprocessor, which bounds their registers, kEarly: the next kernel may start
// before this one has asked for its first pieces rather than after. These three are no matter to
// the sums.
template <typename T, typename Y, int kMaxRows, int kWarps, int kDepth, int kSharing, bool kEarly>
__global__ __launch_bounds__(32 * kWarps, kSharing) void TilePerBlock(const GemvArgs args) {
  constexpr int kStepBytes = kWarps * kPieceBytes;  // of a row: what the block takes at a time
  static_assert(32 * kWarps >= kGemvMaxRows * kTileRows);
  if (kEarly) LetNextKernelStart();
  const Lane lane;
  const int row_bytes = static_cast<int>(args.d_in * sizeof(T));
  const int64_t first_output = static_cast<int64_t>(blockIdx.x) * kTileRows;

  // This lane's first byte of both of its rows. A row past the end becomes the last one: then it is
  // read in vain, and not written.
  const int first_byte = lane.warp * kPieceBytes + lane.quarter * 16;
  const char* rows[kLaneRows];
#pragma unroll
  for (int i = 0; i < kLaneRows; ++i) {
    const int64_t output = min(first_output + lane.group + 8 * i, args.d_out - 1);
    rows[i] = static_cast<const char*>(args.weight) + output * row_bytes + first_byte;
  }
  const char* const x = static_cast<const char*>(args.x) + first_byte;
  const auto is_in_row = [&](int offset) { return first_byte + offset < row_bytes; };
  const auto load = [&](Piece& to, int offset) {
#pragma unroll
    for (int i = 0; i < kLaneRows; ++i) {
#pragma unroll
      for (int half = 0; half < kHalves; ++half) {
        const int at = offset + half * kHalfBytes;
        to[i][half] = is_in_row(at) ? LoadOnce(rows[i] + at) : uint4{0, 0, 0, 0};
      }
    }
  };

  Piece pieces[kDepth];
#pragma unroll
  for (int i = 0; i < kDepth; ++i) load(pieces[i], i * kStepBytes);
  if (!kEarly) LetNextKernelStart();
  WaitForPreviousKernel();

  Sums<T, kMaxRows> sums;
  const int end = row_bytes - lane.warp * kPieceBytes;  // the same for the whole warp: mma needs it
  for (int offset = 0; offset < end; offset += kDepth * kStepBytes) {
#pragma unroll
    for (int i = 0; i < kDepth; ++i) {
#pragma unroll
      for (int half = 0; half < kHalves; ++half) {
        const int at = offset + i * kStepBytes + half * kHalfBytes;
        sums.Add(pieces[i], half, x + at, is_in_row(at), row_bytes, args.n_rows, lane);
      }
      load(pieces[i], offset + (i + kDepth) * kStepBytes);
    }
  }

  __shared__ float partials[kWarps][kGemvMaxRows][kTileRows];
  sums.Write(partials[lane.warp], lane);
  __syncthreads();
  const int r = threadIdx.x / kTileRows, i = threadIdx.x % kTileRows;
  if (r >= args.n_rows || first_output + i >= args.d_out) return;
  float sum = partials[0][r][i];
#pragma unroll
  for (int warp = 1; warp < kWarps; ++warp) sum += partials[warp][r][i];
  Store(sum, static_cast<Y*>(args.y) + r * args.d_out + first_output + i);
}

constexpr int kSlowWarps = 16;

// Any d_in, any alignment: a warp does an output of all vectors, number by number.
template <typename T, typename Y>
__global__ __launch_bounds__(32 * kSlowWarps) void WarpPerOutput(const GemvArgs args) {
  const int64_t output = static_cast<int64_t>(blockIdx.x) * kSlowWarps + threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  LetNextKernelStart();
  WaitForPreviousKernel();
  if (output >= args.d_out) return;
  const T* const w = static_cast<const T*>(args.weight) + output * args.d_in;
  for (int r = 0; r < args.n_rows; ++r) {
    const T* const x = static_cast<const T*>(args.x) + r * args.d_in;
    float sum = 0;
    for (int64_t k = lane; k < args.d_in; k += 32) {
      sum = fmaf(static_cast<float>(w[k]), static_cast<float>(x[k]), sum);
    }
#pragma unroll
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xFFFFFFFF, sum, step);
    if (lane == 0) Store(sum, static_cast<Y*>(args.y) + r * args.d_out + output);
  }
}

bool IsAligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

template <typename T, typename Y, int kMaxRows, int kWarps, int kDepth, int kSharing, bool kEarly>
void LaunchTiles(const GemvArgs& args, cudaStream_t stream) {
  Launch(TilePerBlock<T, Y, kMaxRows, kWarps, kDepth, kSharing, kEarly>,
         {.grid = dim3(static_cast<unsigned>((args.d_out + kTileRows - 1) / kTileRows)),
          .block = dim3(32 * kWarps),
          .overlap_previous = args.overlap_previous},
         stream, args);
}

constexpr int64_t kMultiprocessors = 132;  // of an H200; on others this is fast or less so
constexpr int64_t kShortRow = 8192;        // bytes

// mma does 8 vectors at the price of 1. The number of warps, and so the order of the sums, is by
// d_in alone; the rest is by the number of tiles, as measured.
template <typename Y>
void LaunchBF16(const GemvArgs& args, cudaStream_t stream) {
  using T = __nv_bfloat16;
  const int64_t n_tiles = (args.d_out + kTileRows - 1) / kTileRows;
  if (args.d_in * static_cast<int64_t>(sizeof(T)) > kShortRow) {
    if (n_tiles <= kMultiprocessors) {
      LaunchTiles<T, Y, 1, 16, 3, 1, false>(args, stream);  // a block alone: 96 KB on the way
    } else {
      LaunchTiles<T, Y, 1, 16, 1, 2, false>(args, stream);
    }
  } else if (2 * n_tiles <= 3 * kMultiprocessors) {
    LaunchTiles<T, Y, 1, 8, 4, 2, true>(args, stream);  // 4 KB of a row: the tile of d_in 2048
  } else if (n_tiles > 2 * kMultiprocessors && n_tiles <= 8 * kMultiprocessors) {
    LaunchTiles<T, Y, 1, 8, 2, 3, false>(args, stream);
  } else if (n_tiles > 30 * kMultiprocessors) {  // the output matrix: many waves of small blocks
    LaunchTiles<T, Y, 1, 8, 1, 5, false>(args, stream);
  } else {
    LaunchTiles<T, Y, 1, 8, 3, 2, true>(args, stream);
  }
}

// The registers hold few vectors' sums and a deep queue, or many sums.
template <typename Y, int kMaxRows>
void LaunchF32(const GemvArgs& args, cudaStream_t stream) {
  if (kMaxRows <= 4 && args.d_out <= kTileRows * kMultiprocessors) {
    LaunchTiles<float, Y, std::min(kMaxRows, 4), 16, 3, 1, false>(args, stream);
  } else {
    LaunchTiles<float, Y, kMaxRows, 16, 1, (kMaxRows <= 4 ? 2 : 1), false>(args, stream);
  }
}

template <typename T, typename Y>
void GemvOf(const GemvArgs& args, cudaStream_t stream) {
  const int64_t row_bytes = args.d_in * static_cast<int64_t>(sizeof(T));
  if (row_bytes % 16 != 0 || row_bytes >= 1 << 30 || !IsAligned(args.x) ||
      !IsAligned(args.weight)) {
    Launch(WarpPerOutput<T, Y>,
           {.grid = dim3(static_cast<unsigned>((args.d_out + kSlowWarps - 1) / kSlowWarps)),
            .block = dim3(32 * kSlowWarps),
            .overlap_previous = args.overlap_previous},
           stream, args);
  } else if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    LaunchBF16<Y>(args, stream);
  } else if (args.n_rows > 4) {
    LaunchF32<Y, 8>(args, stream);
  } else if (args.n_rows > 2) {
    LaunchF32<Y, 4>(args, stream);
  } else if (args.n_rows > 1) {
    LaunchF32<Y, 2>(args, stream);
  } else {
    LaunchF32<Y, 1>(args, stream);
  }
}

}  // namespace

void Gemv(const GemvArgs& args, cudaStream_t stream) {
  const auto is_known = [](Format f) { return f == Format::kBF16 || f == Format::kF32; };
  if (!is_known(args.dtype) || !is_known(args.y_dtype)) {
    throw std::invalid_argument("Gemv: dtype and y_dtype must be BF16 or F32");
  }
  if (args.n_rows < 1 || args.n_rows > kGemvMaxRows) {
    throw std::invalid_argument("Gemv: n_rows must be 1 to 8");
  }
  if (args.d_in < 0 || args.d_out < 0 || args.d_out > INT32_MAX) {
    throw std::invalid_argument("Gemv: d_in and d_out must be 0 to 2^31 - 1");
  }
  if (args.d_out == 0) return;
  if (args.dtype == Format::kBF16) {
    args.y_dtype == Format::kBF16 ? GemvOf<__nv_bfloat16, __nv_bfloat16>(args, stream)
                                  : GemvOf<__nv_bfloat16, float>(args, stream);
  } else {
    args.y_dtype == Format::kBF16 ? GemvOf<float, __nv_bfloat16>(args, stream)
                                  : GemvOf<float, float>(args, stream);
  }
}

}  // namespace aios::kernels::cuda
