// Needs no GPU: the host's code is the GPU's.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/cuda/page_division.cuh"

namespace aios::kernels::cuda {
namespace {

constexpr int64_t kMaxPosition = std::numeric_limits<int32_t>::max();

// Where the quotient changes is where it can be wrong.
TEST(PageDivisionTest, IsDivision) {
  std::vector<int64_t> sizes = {
      4095,          4096,    4097,          100000,           1 << 20,
      (1 << 30) - 1, 1 << 30, (1 << 30) + 1, kMaxPosition - 1, kMaxPosition};
  for (int64_t size = 1; size <= 1100; ++size) sizes.push_back(size);
  for (const int64_t size : sizes) {
    const PageDivision paging(static_cast<int>(size));
    const int64_t n_pages = kMaxPosition / size + 1;
    const int64_t step = n_pages / 500 + 1;
    for (int64_t page = 0; page < n_pages + step; page += step) {
      const int64_t first = std::min(page, n_pages - 1) * size;
      for (const int64_t position : {first - 1, first, first + size - 1, kMaxPosition}) {
        if (position < 0 || position > kMaxPosition) continue;
        const int at = static_cast<int>(position);
        ASSERT_EQ(paging.Page(at), position / size) << position << " / " << size;
        ASSERT_EQ(paging.Slot(at, paging.Page(at)), position % size) << position << " / " << size;
      }
    }
  }
}

}  // namespace
}  // namespace aios::kernels::cuda
