#include <stdexcept>

#include "kernels/cuda/gather.h"
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/pdl.cuh"

namespace aios::kernels::cuda {
namespace {

constexpr int kThreads = 256;

// Numbers are only moved, so all that matters of them is their size. A block takes kThreads pieces
// of a row (blockIdx.y) of the output's row blockIdx.x.
template <typename Piece>
__global__ void __launch_bounds__(kThreads)
    GatherKernel(const Piece* x, const int32_t* rows, int64_t pieces_per_row, Piece* out) {
  WaitForPreviousKernel();
  const int64_t row = rows[blockIdx.x];
  const int64_t i = blockIdx.y * int64_t{kThreads} + threadIdx.x;
  if (i < pieces_per_row) out[blockIdx.x * pieces_per_row + i] = x[row * pieces_per_row + i];
}

template <typename Piece>
void GatherAs(const GatherArgs& args, int64_t row_bytes, cudaStream_t stream) {
  const int64_t pieces = row_bytes / static_cast<int64_t>(sizeof(Piece));
  const LaunchShape shape = {.grid = dim3(args.n_rows, CeilDiv(pieces, kThreads)),
                             .block = dim3(kThreads),
                             .overlap_previous = args.overlap_previous};
  Launch(GatherKernel<Piece>, shape, stream, static_cast<const Piece*>(args.x), args.rows, pieces,
         static_cast<Piece*>(args.out));
}

}  // namespace

void Gather(const GatherArgs& args, cudaStream_t stream) {
  if (args.dtype != Format::kF32 && args.dtype != Format::kBF16) {
    throw std::invalid_argument("Gather: the dtype must be f32 or bf16");
  }
  if (args.n_rows == 0 || args.d == 0) return;
  const int64_t row_bytes = args.d * Info(args.dtype).block_bytes;
  if (row_bytes % 16 == 0 && AlignedTo16({args.x, args.out})) {
    return GatherAs<uint4>(args, row_bytes, stream);
  }
  if (args.dtype == Format::kF32) return GatherAs<uint32_t>(args, row_bytes, stream);
  return GatherAs<uint16_t>(args, row_bytes, stream);
}

}  // namespace aios::kernels::cuda
