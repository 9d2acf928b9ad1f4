#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

#include "kernels/cuda/gather.h"
#include "tests/kernels/cuda/gpu_testing.h"

namespace aios::kernels::cuda {
namespace {

class GatherTest : public ::testing::Test {
 protected:
  void SetUp() override { AIOS_SKIP_WITHOUT_GPU(); }
};

template <typename T>
void Check(Format dtype, int n_rows, int64_t d, int shift) {
  constexpr int kInputRows = 41;
  std::vector<T> x(kInputRows * d + shift);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(i * 2654435761U);  // any bits do
  std::vector<int32_t> rows;
  for (int i = 0; i < n_rows; ++i) rows.push_back((40 + 23 * i) % kInputRows);
  const TestBuffer<T> device_x(x);
  const TestBuffer<int32_t> device_rows(rows);
  const TestBuffer<T> out(n_rows * d + shift);
  Gather({.dtype = dtype,
          .x = device_x.data() + shift,
          .rows = device_rows.data(),
          .n_rows = n_rows,
          .d = d,
          .out = out.data() + shift},
         nullptr);
  const auto got = out.Download();
  for (int i = 0; i < n_rows; ++i) {
    for (int64_t j = 0; j < d; ++j) {
      ASSERT_EQ(got[shift + i * d + j], x[shift + rows[i] * d + j]) << d << " row " << i;
    }
  }
}

TEST_F(GatherTest, CopiesRowsExactly) {
  for (const int n_rows : {1, 3, 17, 100}) {
    for (const int64_t d : {1, 4, 7, 8, 100, 576, 8192}) {
      for (const int shift : {0, 1}) {
        Check<uint32_t>(Format::kF32, n_rows, d, shift);
        Check<uint16_t>(Format::kBF16, n_rows, d, shift);
      }
    }
  }
}

TEST_F(GatherTest, RefusesOtherTypes) {
  EXPECT_THROW(Gather({.dtype = Format::kF16, .n_rows = 1, .d = 8}, nullptr),
               std::invalid_argument);
}

}  // namespace
}  // namespace aios::kernels::cuda
