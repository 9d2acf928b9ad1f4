// Hopper's instructions, one by one: each size of wgmma with both sources of A and both orders of
// B, and tensor copies that overhang their tensor. Small integers, so that every result is exact.
#include <gtest/gtest.h>

#include <vector>

#include "tests/kernels/cuda/gpu_testing.h"

#ifdef AIOS_CUDA_SM90A
#include "kernels/cuda/hopper.cuh"

namespace aios::kernels::cuda {
namespace {

constexpr int kK = 64;  // one swizzled row

bool HaveHopper() {
  int major = 0, minor = 0;
  AIOS_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0));
  AIOS_CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0));
  return major == 9 && minor == 0;
}

// d[64, kN] = start + a[64, 64] b, where b is [kN, 64] or, if kTransposeB, [64, kN]; all row-major.
template <int kN, bool kFromRegisters, bool kTransposeB>
__global__ __launch_bounds__(128, 1) void ProductKernel(const __nv_bfloat16* a,
                                                        const __nv_bfloat16* b, float start,
                                                        float* d) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using namespace hopper;
  extern __shared__ uint8_t shared[];
  uint8_t* const a_tile = shared + (1024 - SharedAddress(shared) % 1024) % 1024;
  uint8_t* const b_tile = a_tile + 64 * 128;
  // Element (row, column) of a panel of 64 columns, as TMA would have swizzled it.
  const auto at = [](uint8_t* panel, int row, int column) {
    return reinterpret_cast<__nv_bfloat16*>(panel + row * 128 + ((column / 8 ^ row % 8) * 16) +
                                            column % 8 * 2);
  };
  for (int i = threadIdx.x; i < 64 * kK; i += 128) *at(a_tile, i / kK, i % kK) = a[i];
  for (int i = threadIdx.x; i < kN * kK; i += 128) {
    if (kTransposeB) {
      const int row = i / kN, column = i % kN;  // a panel of 64 columns after the other
      *at(b_tile + column / 64 * kK * 128, row, column % 64) = b[i];
    } else {
      *at(b_tile, i / kK, i % kK) = b[i];
    }
  }
  FenceAsyncProxy();
  __syncthreads();

  float sums[kN / 2];
  for (float& sum : sums) sum = start;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int row = 16 * warp + lane / 4, column = lane % 4 * 2;
  uint32_t a_registers[kK / 16][4];
  for (int k16 = 0; k16 < kK / 16; ++k16)
    for (int i = 0; i < 4; ++i)
      a_registers[k16][i] = *reinterpret_cast<const uint32_t*>(a + (row + i % 2 * 8) * kK +
                                                               16 * k16 + column + i / 2 * 8);
  PinRegisters(sums);
  WgmmaFence();
#pragma unroll
  for (int k16 = 0; k16 < kK / 16; ++k16) {
    const uint64_t b16 =
        kTransposeB ? Descriptor(b_tile + k16 * 16 * 128, kK * 128) : Descriptor(b_tile + k16 * 32);
    // A start of 1 is kept, one of 0 must be thrown away by the first product.
    const bool accumulate = start != 0 || k16 > 0;
    if constexpr (kFromRegisters)
      WgmmaRS<kN, kTransposeB>(sums, a_registers[k16], b16, accumulate);
    else
      WgmmaSS<kN>(sums, Descriptor(a_tile + k16 * 32), b16, accumulate);
  }
  WgmmaCommit();
  WgmmaWait<0>();
  PinRegisters(sums);
  for (int i = 0; i < kN / 2; ++i)
    d[(row + i / 2 % 2 * 8) * kN + i / 4 * 8 + column + i % 2] = sums[i];
#endif
}

template <int kN, bool kFromRegisters, bool kTransposeB>
void ExpectProduct() {
  SCOPED_TRACE(testing::Message() << "N " << kN << ", A from "
                                  << (kFromRegisters ? "registers" : "shared memory")
                                  << (kTransposeB ? ", B transposed" : ""));
  std::vector<float> a(64 * kK), b(size_t{kN} * kK);
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i * 7919 % 17) - 8;
  for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(i * 104729 % 13) - 6;
  const TestBuffer<uint16_t> device_a(ToBF16(a)), device_b(ToBF16(b));
  for (const float start : {0.0f, 1.0f}) {
    const TestBuffer<float> d(size_t{64} * kN);
    constexpr int kBytes = 1024 + (64 + 256) * 128;
    const auto kernel = ProductKernel<kN, kFromRegisters, kTransposeB>;
    AIOS_CUDA_CHECK(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
    kernel<<<1, 128, kBytes>>>(reinterpret_cast<const __nv_bfloat16*>(device_a.data()),
                               reinterpret_cast<const __nv_bfloat16*>(device_b.data()), start,
                               d.data());
    AIOS_CUDA_CHECK_LAUNCH();
    const std::vector<float> got = d.Download();
    int n_wrong = 0;
    for (int row = 0; row < 64; ++row)
      for (int column = 0; column < kN; ++column) {
        float want = start;
        for (int k = 0; k < kK; ++k)
          want += a[row * kK + k] * (kTransposeB ? b[k * kN + column] : b[column * kK + k]);
        if (got[row * kN + column] != want && ++n_wrong <= 3)
          ADD_FAILURE() << row << ", " << column << ": " << got[row * kN + column] << ", not "
                        << want;
      }
    EXPECT_EQ(n_wrong, 0) << "start " << start;
  }
}

template <int kN>
void ExpectProducts() {
  ExpectProduct<kN, false, false>();
  ExpectProduct<kN, true, false>();
  ExpectProduct<kN, true, true>();
}

TEST(HopperTest, WarpgroupProducts) {
  AIOS_SKIP_WITHOUT_GPU();
  if (!HaveHopper()) GTEST_SKIP() << "wgmma is Hopper's alone";
  ExpectProducts<64>();
  ExpectProducts<80>();
  ExpectProducts<96>();
  ExpectProducts<128>();
  ExpectProducts<192>();
  ExpectProducts<256>();
}

// Loads a box of 16 x 64 at (x, y, z) of a 3D tensor and, unless x or y is negative, stores it at
// the same place of another.
__global__ __launch_bounds__(32) void CopyBoxKernel(const __grid_constant__ CUtensorMap from,
                                                    const __grid_constant__ CUtensorMap to, int x,
                                                    int y, int z, uint16_t* tile) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using namespace hopper;
  __shared__ __align__(1024) uint16_t box[16 * 64];
  __shared__ uint64_t barrier;
  if (threadIdx.x == 0) {
    InitBarrier(&barrier, 1);
    FenceBarrierInit();
    ArriveExpectTx(&barrier, sizeof(box));
    TmaLoad3D(box, &from, &barrier, x, y, z);
  }
  __syncwarp();
  Wait(&barrier, 0);
  for (int i = threadIdx.x; i < 16 * 64; i += 32) tile[i] = box[i];
  __syncwarp();
  if (threadIdx.x == 0 && x >= 0 && y >= 0) {
    TmaStore3D(&to, box, x, y, z);
    TmaStoreCommit();
    TmaStoreWaitRead<0>();
  }
#endif
}

TEST(HopperTest, TensorCopiesSwizzleAndClip) {
  AIOS_SKIP_WITHOUT_GPU();
  if (!HaveHopper()) GTEST_SKIP() << "this build has the copy engine for Hopper alone";
  constexpr int kX = 72, kY = 21, kZ = 3;
  std::vector<uint16_t> values(kX * kY * kZ);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint16_t>(i + 1);
  const TestBuffer<uint16_t> from(values);
  const auto map = [&](const TestBuffer<uint16_t>& of) {
    return hopper::MakeTensorMap<3>(of.data(), {kX, kY, kZ}, {kX * 2, kX * kY * 2}, {64, 16, 1},
                                    hopper::Swizzle::k128B);
  };
  const struct {
    int x, y, z;
  } kPlaces[] = {{0, 0, 0}, {0, 16, 1}, {64, 8, 2}, {64, 16, 0},
                 {0, 0, 3}, {0, -3, 1}, {-8, -3, 1}};
  for (const auto& p : kPlaces) {
    SCOPED_TRACE(testing::Message() << p.x << ", " << p.y << ", " << p.z);
    const TestBuffer<uint16_t> to(values.size()), tile(16 * 64);
    CopyBoxKernel<<<1, 32>>>(map(from), map(to), p.x, p.y, p.z, tile.data());
    AIOS_CUDA_CHECK_LAUNCH();
    std::vector<uint16_t> want(values.size(), 0xFFFF), want_tile(16 * 64, 0);
    for (int row = 0; row < 16; ++row)
      for (int column = 0; column < 64; ++column) {
        const int x = p.x + column, y = p.y + row;
        if (x < 0 || x >= kX || y < 0 || y >= kY || p.z >= kZ) continue;
        const int i = (p.z * kY + y) * kX + x;
        if (p.x >= 0 && p.y >= 0) want[i] = values[i];
        want_tile[row * 64 + (column / 8 ^ row % 8) * 8 + column % 8] = values[i];
      }
    EXPECT_EQ(tile.Download(), want_tile);
    EXPECT_EQ(to.Download(), want);
  }
}

TEST(HopperTest, MapsThatTheEngineCannotDoAreRefused) {
  AIOS_SKIP_WITHOUT_GPU();
  const TestBuffer<uint16_t> matrix(64 * 72);
  using hopper::MakeMatrixMap, hopper::Swizzle;
  EXPECT_NO_THROW(MakeMatrixMap(matrix.data(), 64, 71, 72, 16, 64, Swizzle::k128B));
  EXPECT_THROW(MakeMatrixMap(matrix.data(), 64, 64, 71, 16, 64, Swizzle::k128B),
               std::invalid_argument);  // rows at odd addresses
  EXPECT_THROW(MakeMatrixMap(matrix.data(), 64, 72, 72, 16, 72, Swizzle::k128B),
               std::invalid_argument);  // a box wider than the swizzle
}

}  // namespace
}  // namespace aios::kernels::cuda
#endif
