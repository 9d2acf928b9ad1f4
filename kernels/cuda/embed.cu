#include <stdexcept>

#include "kernels/cuda/embed.h"
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/pdl.cuh"

namespace aios::kernels::cuda {
namespace {

constexpr int kThreads = 256;

// A block takes kThreads pieces of a row (blockIdx.y) of the token blockIdx.x. A piece is 16 bytes
// of the table, or, where those would not be aligned, one number.
template <typename T, bool kPacked>
__global__ void __launch_bounds__(kThreads)
    EmbedKernel(const T* table, const int32_t* tokens, const int32_t* sampled, int64_t d_model,
                float* out) {
  WaitForPreviousKernel();
  constexpr int kSize = kPacked ? kPackSize<T> : 1;
  int64_t token = tokens[blockIdx.x];
  if (token < 0) token = max(sampled[-1 - token], 0);
  const int64_t i = (blockIdx.y * int64_t{kThreads} + threadIdx.x) * kSize;
  if (i >= d_model) return;
  const T* from = table + token * d_model + i;
  float* to = out + blockIdx.x * d_model + i;
  if constexpr (!kPacked) {
    *to = ToFloat(*from);
  } else {
    float x[kSize];
    LoadPack(from, x);
#pragma unroll
    for (int j = 0; j < kSize; j += 4) {
      *reinterpret_cast<float4*>(to + j) = make_float4(x[j], x[j + 1], x[j + 2], x[j + 3]);
    }
  }
}

template <typename T>
void EmbedAs(const EmbedArgs& args, cudaStream_t stream) {
  const bool packed = AlignedTo16({args.table, args.out}) && args.d_model % kPackSize<T> == 0;
  const int64_t pieces = args.d_model / (packed ? kPackSize<T> : 1);
  const LaunchShape shape = {.grid = dim3(args.n_tokens, CeilDiv(pieces, kThreads)),
                             .block = dim3(kThreads),
                             .overlap_previous = args.overlap_previous};
  Launch(packed ? EmbedKernel<T, true> : EmbedKernel<T, false>, shape, stream,
         static_cast<const T*>(args.table), args.tokens, args.sampled, args.d_model, args.out);
}

}  // namespace

void Embed(const EmbedArgs& args, cudaStream_t stream) {
  if (args.n_tokens == 0 || args.d_model == 0) return;
  switch (args.table_dtype) {
    case Format::kF32:
      return EmbedAs<float>(args, stream);
    case Format::kBF16:
      return EmbedAs<__nv_bfloat16>(args, stream);
    default:
      throw std::invalid_argument("Embed: the table must be f32 or bf16");
  }
}

}  // namespace aios::kernels::cuda
