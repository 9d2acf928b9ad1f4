#include <algorithm>
#include <stdexcept>

#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/pdl.cuh"
#include "kernels/cuda/silu.cuh"
#include "kernels/cuda/silu_mul.h"

namespace aios::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxGridY = 65535;

// A thread takes one piece of the gate and the same piece of up: 16 bytes, or one number. Blocks go
// over the pieces of a row in x, over the rows in y.
template <typename T, bool kPacked>
__global__ void __launch_bounds__(kThreads)
    SiluMulKernel(const T* gate_up, int64_t n_tokens, int64_t d_ff, T* out) {
  WaitForPreviousKernel();
  constexpr int kSize = kPacked ? kPackSize<T> : 1;
  const int64_t i = (blockIdx.x * int64_t{kThreads} + threadIdx.x) * kSize;
  if (i >= d_ff) return;
  for (int64_t token = blockIdx.y; token < n_tokens; token += gridDim.y) {
    const T* gate = gate_up + token * 2 * d_ff + i;
    T* to = out + token * d_ff + i;
    if constexpr (!kPacked) {
      FromFloat(SiluMulOf<T>(ToFloat(gate[0]), ToFloat(gate[d_ff])), to);
    } else {
      float g[kSize];
      float up[kSize];
      LoadPack(gate, g);
      LoadPack(gate + d_ff, up);
#pragma unroll
      for (int j = 0; j < kSize; ++j) g[j] = SiluMulOf<T>(g[j], up[j]);
      StorePack(g, to);
    }
  }
}

template <typename T>
void SiluMulAs(const SiluMulArgs& args, cudaStream_t stream) {
  const bool packed = AlignedTo16({args.gate_up, args.out}) && args.d_ff % kPackSize<T> == 0;
  const int64_t pieces = args.d_ff / (packed ? kPackSize<T> : 1);
  const LaunchShape shape = {
      .grid = dim3(CeilDiv(pieces, kThreads), std::min(args.n_tokens, kMaxGridY)),
      .block = dim3(kThreads),
      .overlap_previous = args.overlap_previous};
  Launch(packed ? SiluMulKernel<T, true> : SiluMulKernel<T, false>, shape, stream,
         static_cast<const T*>(args.gate_up), args.n_tokens, args.d_ff, static_cast<T*>(args.out));
}

}  // namespace

void SiluMul(const SiluMulArgs& args, cudaStream_t stream) {
  if (args.n_tokens == 0 || args.d_ff == 0) return;
  switch (args.dtype) {
    case Format::kF32:
      return SiluMulAs<float>(args, stream);
    case Format::kBF16:
      return SiluMulAs<__nv_bfloat16>(args, stream);
    default:
      throw std::invalid_argument("SiluMul: the dtype must be f32 or bf16");
  }
}

}  // namespace aios::kernels::cuda
