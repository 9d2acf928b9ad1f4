// CudaUploader: weights from a mapped file to the GPU, in the type that the GPU computes with.
#pragma once

#include <array>
#include <cstdint>

#include "common/device/memory.h"
#include "common/device/stream.h"
#include "common/tensor/tensor.h"

namespace aios {

// Copies in pieces through two page-locked buffers, so that the host reads the file into one while
// the GPU empties the other; quantized blocks travel as they are and become numbers on the GPU.
class CudaUploader {
 public:
  CudaUploader();

  // Enqueues on `stream`; when it returns, `from` is not needed any more. to: memory for
  // from.n_elements() numbers of `dtype`, kF32 or kBF16.
  void Upload(const Tensor& from, DType dtype, void* to, const Stream& stream);

 private:
  static constexpr int64_t kPieceBytes = int64_t{16} << 20;

  struct Piece {
    PinnedBuffer host;
    DeviceBuffer device;  // the blocks, where they are not what `to` holds
    Event free;           // both may be written again
  };
  std::array<Piece, 2> pieces_;
  int next_ = 0;
};

}  // namespace aios
