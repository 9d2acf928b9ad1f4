// In which page a position lies: position / page_size, for any page size, in a multiplication.
#pragma once

#include <cuda_runtime.h>

#include <bit>
#include <cstdint>

namespace aios::kernels::cuda {

// n / d = (n * m) >> s for all n below 2^31, with s = 31 + ceil(log2 d) and m = ceil(2^s / d): then
// n * m / 2^s is above n / d by less than 1 / d, which leaves its floor as it is (Granlund and
// Montgomery, "Division by Invariant Integers using Multiplication", 1994, theorem 4.2).
//
// Made on the host, passed to kernels by value. REQUIRES: page_size >= 1.
class PageDivision {
 public:
  explicit PageDivision(int page_size)
      : shift_(31 + std::bit_width(static_cast<uint32_t>(page_size) - 1)),
        multiplier_(static_cast<uint32_t>(((uint64_t{1} << shift_) + page_size - 1) / page_size)),
        size_(page_size) {}

  __host__ __device__ int size() const { return size_; }
  __host__ __device__ int Page(int position) const {
    return static_cast<int>(static_cast<uint64_t>(static_cast<uint32_t>(position)) * multiplier_ >>
                            shift_);
  }
  // REQUIRES: page = Page(position).
  __host__ __device__ int Slot(int position, int page) const { return position - page * size_; }

 private:
  int shift_;
  uint32_t multiplier_;
  int size_;
};

}  // namespace aios::kernels::cuda
