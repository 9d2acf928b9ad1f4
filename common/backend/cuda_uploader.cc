#include "common/backend/cuda_uploader.h"

#include <algorithm>
#include <cstring>

#include "kernels/cuda/check.h"
#include "kernels/cuda/dequantize.h"

namespace aios {

CudaUploader::CudaUploader() {
  for (Piece& piece : pieces_) {
    piece.host = PinnedBuffer(kPieceBytes);
    piece.device = DeviceBuffer(kPieceBytes, "loading weights");
  }
}

void CudaUploader::Upload(const Tensor& from, DType dtype, void* to, const Stream& stream) {
  const kernels::FormatInfo format = kernels::Info(from.dtype());
  const int64_t n_blocks = from.n_elements() / format.block_size;
  const int64_t blocks_per_piece = kPieceBytes / format.block_bytes;
  const auto* source = static_cast<const std::byte*>(from.data());
  auto* destination = static_cast<std::byte*>(to);
  for (int64_t begin = 0; begin < n_blocks; begin += blocks_per_piece) {
    const int64_t n = std::min(blocks_per_piece, n_blocks - begin);
    const int64_t n_bytes = n * format.block_bytes;
    Piece& piece = pieces_[next_];
    next_ = 1 - next_;

    piece.free.Synchronize();  // returns at once if it was never recorded
    std::memcpy(piece.host.data(), source + begin * format.block_bytes, n_bytes);
    void* out = destination + BytesOf(dtype, begin * format.block_size);
    const bool as_it_is = from.dtype() == dtype;
    AIOS_CUDA_CHECK(cudaMemcpyAsync(as_it_is ? out : piece.device.data(), piece.host.data(),
                                    n_bytes, cudaMemcpyHostToDevice, stream.get()));
    if (!as_it_is) {
      kernels::cuda::Dequantize({.format = from.dtype(),
                                 .blocks = piece.device.data(),
                                 .n = n * format.block_size,
                                 .out_dtype = dtype,
                                 .out = out},
                                stream.get());
    }
    piece.free.Record(stream);
  }
}

}  // namespace aios
