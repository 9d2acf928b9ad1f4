#include <cuda_fp16.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "kernels/cuda/check.h"
#include "kernels/cuda/dequantize.h"
#include "kernels/cuda/pack.cuh"

namespace aios::kernels::cuda {
namespace {

// What a block has at an even address, as all of the fields below do: blocks are of an even size,
// and so are the fields before them. The compiler, which knows packed structures only, would load
// byte by byte.
__device__ __forceinline__ uint32_t Load16(const void* at) {
  return *static_cast<const uint16_t*>(at);
}
__device__ __forceinline__ float LoadF16(const void* at) {
  return __half2float(__ushort_as_half(Load16(at)));
}

// kRun bytes.
template <int kRun>
struct Bytes {
  uint32_t words[kRun / 4];

  __device__ __forceinline__ explicit Bytes(const void* at) {
#pragma unroll
    for (int i = 0; i < kRun / 4; ++i) {
      const char* word = static_cast<const char*>(at) + 4 * i;
      words[i] = Load16(word) | Load16(word + 2) << 16;
    }
  }
  __device__ __forceinline__ int operator[](int j) const { return words[j / 4] >> j % 4 * 8 & 255; }
};

__device__ __forceinline__ int LowHalf(int byte) { return byte & 15; }
__device__ __forceinline__ int HighHalf(int byte) { return byte >> 4; }

// Each product of the functions below is exact in f32 (kernels/cpu/dequantize.h says why), so that
// it does not matter which of them the compiler fuses with the sum.

// ---- Numbers [i, i + kRun) of one block, in the layouts of formats.h ----------------------------
// kRun is what fills 16 bytes of the output: 4 or 8, of the 16 at least that share a scale.

template <int kRun>
__device__ void Run(const BlockQ4_0& block, int i, float (&x)[kRun]) {
  const float d = LoadF16(&block.d);
  const Bytes<kRun> qs(block.qs + i % 16);
#pragma unroll
  for (int j = 0; j < kRun; ++j) {
    const int low = i < 16 ? LowHalf(qs[j]) : HighHalf(qs[j]);
    x[j] = d * static_cast<float>(low - 8);
  }
}

template <int kRun>
__device__ void Run(const BlockQ4_1& block, int i, float (&x)[kRun]) {
  const float d = LoadF16(&block.d);
  const float m = LoadF16(&block.m);
  const Bytes<kRun> qs(block.qs + i % 16);
#pragma unroll
  for (int j = 0; j < kRun; ++j) {
    x[j] = d * static_cast<float>(i < 16 ? LowHalf(qs[j]) : HighHalf(qs[j])) + m;
  }
}

// The fifth bit, as 0 or 16, of number i of a block of Q5_0 or Q5_1.
__device__ __forceinline__ int FifthBit(const uint8_t (&qh)[4], int i) {
  return (qh[i / 8] >> (i % 8) & 1) << 4;
}

template <int kRun>
__device__ void Run(const BlockQ5_0& block, int i, float (&x)[kRun]) {
  const float d = LoadF16(&block.d);
  const Bytes<kRun> qs(block.qs + i % 16);
#pragma unroll
  for (int j = 0; j < kRun; ++j) {
    const int low = i < 16 ? LowHalf(qs[j]) : HighHalf(qs[j]);
    x[j] = d * static_cast<float>((low | FifthBit(block.qh, i + j)) - 16);
  }
}

template <int kRun>
__device__ void Run(const BlockQ5_1& block, int i, float (&x)[kRun]) {
  const float d = LoadF16(&block.d);
  const float m = LoadF16(&block.m);
  const Bytes<kRun> qs(block.qs + i % 16);
#pragma unroll
  for (int j = 0; j < kRun; ++j) {
    const int low = i < 16 ? LowHalf(qs[j]) : HighHalf(qs[j]);
    x[j] = d * static_cast<float>(low | FifthBit(block.qh, i + j)) + m;
  }
}

template <int kRun>
__device__ void Run(const BlockQ8_0& block, int i, float (&x)[kRun]) {
  const float d = LoadF16(&block.d);
  const Bytes<kRun> qs(block.qs + i);
#pragma unroll
  for (int j = 0; j < kRun; ++j) {
    x[j] = d * static_cast<float>(static_cast<int8_t>(qs[j]));
  }
}

// Scale and offset (the negative min) of sub-block s of a Q4_K or Q5_K block.
template <typename Block>
__device__ __forceinline__ void UnpackScale(const Block& block, int s, float* scale,
                                            float* offset) {
  const uint8_t* packed = block.scales;
  int scale_bits = packed[s] & 63;
  int min_bits = packed[s + 4] & 63;
  if (s >= 4) {
    scale_bits = LowHalf(packed[s + 4]) | packed[s - 4] >> 6 << 4;
    min_bits = HighHalf(packed[s + 4]) | packed[s] >> 6 << 4;
  }
  *scale = LoadF16(&block.d) * static_cast<float>(scale_bits);
  *offset = -LoadF16(&block.dmin) * static_cast<float>(min_bits);
}

template <int kRun>
__device__ void Run(const BlockQ4_K& block, int i, float (&x)[kRun]) {
  const int s = i / 32;
  float scale;
  float offset;
  UnpackScale(block, s, &scale, &offset);
  const Bytes<kRun> qs(block.qs + s / 2 * 32 + i % 32);
#pragma unroll
  for (int j = 0; j < kRun; ++j) {
    x[j] = scale * static_cast<float>(s % 2 == 0 ? LowHalf(qs[j]) : HighHalf(qs[j])) + offset;
  }
}

template <int kRun>
__device__ void Run(const BlockQ5_K& block, int i, float (&x)[kRun]) {
  const int s = i / 32;
  float scale;
  float offset;
  UnpackScale(block, s, &scale, &offset);
  const Bytes<kRun> qs(block.qs + s / 2 * 32 + i % 32);
  const Bytes<kRun> qh(block.qh + i % 32);
#pragma unroll
  for (int j = 0; j < kRun; ++j) {
    const int fifth = (qh[j] >> s & 1) << 4;
    const int low = s % 2 == 0 ? LowHalf(qs[j]) : HighHalf(qs[j]);
    x[j] = scale * static_cast<float>(low | fifth) + offset;
  }
}

template <int kRun>
__device__ void Run(const BlockQ6_K& block, int i, float (&x)[kRun]) {
  const int half = i / 128;
  const int p = i % 128 / 32;
  const float scale = LoadF16(&block.d) * static_cast<float>(block.scales[i / 16]);
  const Bytes<kRun> ql(block.ql + 64 * half + 32 * (p % 2) + i % 32);
  const Bytes<kRun> qh(block.qh + 32 * half + i % 32);
#pragma unroll
  for (int j = 0; j < kRun; ++j) {
    const int low = p < 2 ? LowHalf(ql[j]) : HighHalf(ql[j]);
    const int high = (qh[j] >> (2 * p) & 3) << 4;
    x[j] = scale * static_cast<float>((low | high) - 32);
  }
}

// ---- Formats of blocks --------------------------------------------------------------------------

constexpr int kThreads = 256;
constexpr int kTile = 8192;  // numbers of a block of threads: whole blocks, of 16 * k bytes

// Blocks have odd sizes (18 bytes, 210), so that a thread that read its own from memory would read
// a few bytes at a time. The threads fetch the tile together in pieces of 16 bytes instead (of 2
// where the tensor is not aligned) and take it apart in shared memory.
template <typename Block, int kBlockSize, typename Piece, typename Out>
__global__ void __launch_bounds__(kThreads) BlocksKernel(const char* blocks, int64_t n, Out* out) {
  constexpr int kBlocks = kTile / kBlockSize;
  constexpr int kRun = kPackSize<Out>;
  static_assert(kBlocks * sizeof(Block) % 16 == 0);
  __shared__ __align__(16) char tile[kBlocks * sizeof(Block)];

  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kTile;
  const int n_here = static_cast<int>(min(static_cast<int64_t>(kTile), n - begin));
  const int bytes = n_here / kBlockSize * static_cast<int>(sizeof(Block));
  const char* from = blocks + begin / kBlockSize * static_cast<int64_t>(sizeof(Block));
  const int whole = bytes / static_cast<int>(sizeof(Piece));
  for (int i = threadIdx.x; i < whole; i += kThreads) {
    reinterpret_cast<Piece*>(tile)[i] = reinterpret_cast<const Piece*>(from)[i];
  }
  for (int i = whole * static_cast<int>(sizeof(Piece)) + threadIdx.x; i < bytes; i += kThreads) {
    tile[i] = from[i];
  }
  __syncthreads();

  for (int i = threadIdx.x * kRun; i < n_here; i += kThreads * kRun) {
    float x[kRun];
    Run(reinterpret_cast<const Block*>(tile)[i / kBlockSize], i % kBlockSize, x);
    StorePack(x, out + begin + i);
  }
}

template <typename Block, int kBlockSize, typename Out>
void Blocks(const DequantizeArgs& args, cudaStream_t stream) {
  if (args.n == 0) return;
  const auto grid = static_cast<unsigned>(CeilDiv(args.n, kTile));
  const auto* blocks = static_cast<const char*>(args.blocks);
  auto* out = static_cast<Out*>(args.out);
  if (AlignedTo16({blocks})) {
    BlocksKernel<Block, kBlockSize, uint4><<<grid, kThreads, 0, stream>>>(blocks, args.n, out);
  } else {
    BlocksKernel<Block, kBlockSize, uint16_t><<<grid, kThreads, 0, stream>>>(blocks, args.n, out);
  }
  AIOS_CUDA_CHECK_LAUNCH();
}

// ---- Formats without blocks ---------------------------------------------------------------------

__device__ __forceinline__ float NumberToFloat(float x) { return x; }
__device__ __forceinline__ float NumberToFloat(__half x) { return __half2float(x); }
__device__ __forceinline__ float NumberToFloat(__nv_bfloat16 x) { return __bfloat162float(x); }

template <typename In, typename Out>
__global__ void __launch_bounds__(kThreads)
    NumbersKernel(const In* in, int64_t n, bool aligned, Out* out) {
  constexpr int kRun = kPackSize<Out>;
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kRun;
  if (i >= n) return;
  if (aligned && i + kRun <= n) {
    struct alignas(kRun * sizeof(In) < 16 ? 8 : 16) Numbers {
      In values[kRun];
    };
    const Numbers numbers = *reinterpret_cast<const Numbers*>(in + i);
    float x[kRun];
#pragma unroll
    for (int j = 0; j < kRun; ++j) x[j] = NumberToFloat(numbers.values[j]);
    StorePack(x, out + i);
  } else {
    for (int64_t j = i; j < min(i + kRun, n); ++j) FromFloat(NumberToFloat(in[j]), out + j);
  }
}

template <typename In, typename Out>
void Numbers(const DequantizeArgs& args, cudaStream_t stream) {
  if (args.n == 0) return;
  const auto grid = static_cast<unsigned>(CeilDiv(args.n, kThreads * kPackSize<Out>));
  NumbersKernel<<<grid, kThreads, 0, stream>>>(static_cast<const In*>(args.blocks), args.n,
                                               AlignedTo16({args.blocks}),
                                               static_cast<Out*>(args.out));
  AIOS_CUDA_CHECK_LAUNCH();
}

template <typename Out>
void DequantizeTo(const DequantizeArgs& args, cudaStream_t stream) {
  switch (args.format) {
    case Format::kF32:
      return Numbers<float, Out>(args, stream);
    case Format::kF16:
      return Numbers<__half, Out>(args, stream);
    case Format::kBF16:
      return Numbers<__nv_bfloat16, Out>(args, stream);
    case Format::kQ4_0:
      return Blocks<BlockQ4_0, kBlock32, Out>(args, stream);
    case Format::kQ4_1:
      return Blocks<BlockQ4_1, kBlock32, Out>(args, stream);
    case Format::kQ5_0:
      return Blocks<BlockQ5_0, kBlock32, Out>(args, stream);
    case Format::kQ5_1:
      return Blocks<BlockQ5_1, kBlock32, Out>(args, stream);
    case Format::kQ8_0:
      return Blocks<BlockQ8_0, kBlock32, Out>(args, stream);
    case Format::kQ4_K:
      return Blocks<BlockQ4_K, kBlock256, Out>(args, stream);
    case Format::kQ5_K:
      return Blocks<BlockQ5_K, kBlock256, Out>(args, stream);
    case Format::kQ6_K:
      return Blocks<BlockQ6_K, kBlock256, Out>(args, stream);
  }
}

}  // namespace

void Dequantize(const DequantizeArgs& args, cudaStream_t stream) {
  const FormatInfo info = Info(args.format);
  if (args.n % info.block_size != 0) {
    throw std::invalid_argument("Dequantize: the numbers are no whole blocks of " +
                                std::string(info.name));
  }
  if (!AlignedTo16({args.out})) {
    throw std::invalid_argument("Dequantize: the output is not aligned to 16 bytes");
  }
  switch (args.out_dtype) {
    case Format::kF32:
      return DequantizeTo<float>(args, stream);
    case Format::kBF16:
      return DequantizeTo<__nv_bfloat16>(args, stream);
    default:
      throw std::invalid_argument("Dequantize: the output must be f32 or bf16");
  }
}

}  // namespace aios::kernels::cuda
