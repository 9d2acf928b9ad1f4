#include "common/tensor/tensor.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "common/tensor/buffer.h"
#include "common/tensor/dtype.h"
#include "common/tensor/shape.h"

namespace aios {
namespace {

TEST(ShapeTest, CountsElements) {
  EXPECT_EQ(Shape().rank(), 0);
  EXPECT_EQ(Shape().n_elements(), 1);  // a scalar
  const Shape shape = {2, 3, 4};
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape[1], 3);
  EXPECT_EQ(shape.n_elements(), 24);
  EXPECT_EQ(shape.ToString(), "[2, 3, 4]");
  EXPECT_EQ(Shape().ToString(), "[]");
  EXPECT_EQ(Shape({7, 0}).n_elements(), 0);
  EXPECT_EQ(shape, Shape({2, 3, 4}));
  EXPECT_NE(shape, Shape({2, 3, 4, 1}));
  EXPECT_NE(shape, Shape({2, 4, 3}));
}

TEST(ShapeDeathTest, ChecksItsDimensions) {
  EXPECT_DEATH(Shape({1, 2, 3, 4, 5}), "5 dimensions");
  EXPECT_DEATH(Shape({2, -1}), "dimension -1");
  EXPECT_DEATH(Shape({int64_t{1} << 32, int64_t{1} << 32}), "check failed");
}

TEST(DTypeTest, BytesOfWholeBlocks) {
  EXPECT_EQ(Name(DType::kQ4_K), "Q4_K");
  EXPECT_EQ(BytesOf(DType::kF32, 10), 40);
  EXPECT_EQ(BytesOf(DType::kBF16, 10), 20);
  EXPECT_EQ(BytesOf(DType::kQ4_1, 64), 40);
  EXPECT_EQ(BytesOf(DType::kQ6_K, 512), 420);
}

TEST(TensorTest, RowsFollowEachOther) {
  const std::vector<float> numbers(24);
  const Tensor tensor(numbers.data(), DType::kF32, {2, 3, 4});
  EXPECT_EQ(tensor.n_bytes(), 96);
  EXPECT_EQ(tensor.row_size(), 4);
  EXPECT_EQ(tensor.n_rows(), 6);
  EXPECT_EQ(tensor.row(5), numbers.data() + 20);

  const std::vector<std::byte> blocks(3 * 2 * 18);
  const Tensor quantized(blocks.data(), DType::kQ4_0, {3, 64});
  EXPECT_EQ(quantized.n_bytes(), 108);
  EXPECT_EQ(quantized.row(2), blocks.data() + 72);
}

TEST(TensorTest, ScalarsVectorsAndNothing) {
  const float x = 1;
  const Tensor scalar(&x, DType::kF32, {});
  EXPECT_EQ(scalar.n_elements(), 1);
  EXPECT_EQ(scalar.n_rows(), 1);
  EXPECT_EQ(Tensor(&x, DType::kF32, {1}).n_rows(), 1);
  EXPECT_EQ(Tensor(&x, DType::kF32, {5, 0}).n_rows(), 0);
  EXPECT_EQ(Tensor().data(), nullptr);
}

TEST(TensorDeathTest, ChecksBlocksAndRows) {
  const float x = 1;
  EXPECT_DEATH(Tensor(&x, DType::kQ4_0, {2, 48}), "\\[2, 48\\] of Q4_0");
  const Tensor vector(&x, DType::kF32, {1});
  EXPECT_DEATH((void)vector.row(1), "row 1 of 1");
  EXPECT_DEATH((void)vector.row(-1), "row -1 of 1");
}

TEST(HostBufferTest, IsAlignedAndMoves) {
  HostBuffer buffer(100);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % HostBuffer::kAlignment, 0);
  buffer.As<float>()[24] = 7;
  const std::byte* data = buffer.data();
  const HostBuffer moved = std::move(buffer);
  EXPECT_EQ(moved.data(), data);
  EXPECT_EQ(moved.n_bytes(), 100);
  EXPECT_EQ(buffer.n_bytes(), 0);  // NOLINT: what is left is empty
  EXPECT_EQ(buffer.data(), nullptr);
  EXPECT_EQ(HostBuffer(0).n_bytes(), 0);
}

TEST(HostBufferDeathTest, ChecksTheType) { EXPECT_DEATH((void)HostBuffer(7).As<float>(), "check"); }

TEST(HostBufferTest, MoreThanThereIs) {
  EXPECT_THROW(HostBuffer(SIZE_MAX), std::bad_alloc);
  EXPECT_THROW(HostBuffer(SIZE_MAX / 2), std::bad_alloc);
}

}  // namespace
}  // namespace aios
