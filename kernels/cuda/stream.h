// Reading and copying device memory as fast as this GPU can: the limits that every memory-bound
// kernel is compared with. Measured on H200s: 4.6 to 4.7 TB/s read, 4.2 to 4.3 TB/s copied (read +
// written); their datasheet says 4.8.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace aios::kernels::cuda {

// Reads `n_bytes` (a multiple of 16) at `data` (16-byte aligned) once. `sink` is one word on the
// device, which is written only if all that was read folds to one certain value: without that
// possibility the compiler would drop the loads. Time it over a buffer far larger than the L2.
void ReadStream(const void* data, size_t n_bytes, uint32_t* sink, cudaStream_t stream);

// Copies `n_bytes` (a multiple of 16) from `from` to `to` (16-byte aligned, not overlapping).
void CopyStream(const void* from, void* to, size_t n_bytes, cudaStream_t stream);

}  // namespace aios::kernels::cuda
