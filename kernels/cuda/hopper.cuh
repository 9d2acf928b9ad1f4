// Hopper's own instructions as functions, one PTX instruction each: asynchronous barriers
// (mbarrier), the tensor copy engine (TMA), warpgroup matrix products (wgmma), register hand-over
// (setmaxnreg). Device code may call them only where __CUDA_ARCH_FEAT_SM90_ALL is defined (-gencode
// arch=compute_90a,code=sm_90a; the build then defines AIOS_CUDA_SM90A for the host as well).
//
// How the parts meet, a pipeline of shared-memory stages:
//
//     producer thread                              consumer warpgroup (128 threads)
//     Wait(empty[s], phase ^ 1)                    Wait(full[s], phase)
//     ArriveExpectTx(full[s], bytes)               WgmmaFence(); Wgmma...(...); WgmmaCommit();
//     TmaLoad2D(tile of A, ..., full[s])           WgmmaWait<0>();
//     TmaLoad2D(tile of B, ..., full[s])           Arrive(empty[s])
//
// A barrier's phase begins at 0 and flips when all its arrivals (and bytes) have come. Wait(b, p)
// returns once the phase of parity p is complete, so Wait(b, 1) on a fresh barrier returns at once:
// the "phase before the first".
//
// Source: the PTX ISA 8.x, sections "mbarrier", "cp.async.bulk.tensor", "wgmma", "setmaxnreg".
#pragma once

#include <cuda.h>  // CUtensorMap, its enums; nothing of libcuda is linked
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "kernels/cuda/check.h"

namespace aios::kernels::cuda::hopper {

// ---- Host: tensor maps -------------------------------------------------------------------------

enum class Swizzle {  // How TMA permutes the 16-byte chunks of a tile's rows in shared memory
  kNone,
  k128B,  // chunk c of row r lies at c ^ (r % 8): rows are 128 bytes (64 bf16), banks do not
          // collide
};

// Describes a row-major bf16 tensor in device memory and the box of it that one TMA copy moves.
// sizes: elements of each dimension, the fastest (contiguous) first. strides_bytes: of the
// dimensions after the first, each a multiple of 16. box: elements of a tile, each at most 256;
// with k128B its first is at most 64 (128 bytes). `data` must be 16-byte aligned. What a load takes
// from outside of the tensor arrives as zeros, and counts as bytes; what a store puts there is
// dropped. Pass the result to a kernel by value, as `const __grid_constant__ CUtensorMap`.
template <int kRank>
CUtensorMap MakeTensorMap(const void* data, const std::array<uint64_t, kRank>& sizes,
                          const std::array<uint64_t, kRank - 1>& strides_bytes,
                          const std::array<uint32_t, kRank>& box, Swizzle swizzle) {
  static_assert(kRank >= 2 && kRank <= 5);
  // The function comes from the driver that is there, so that programs start where there is none.
  static void* const function = [] {
    void* entry = nullptr;
    cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
    AIOS_CUDA_CHECK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000,
                                                     cudaEnableDefault, &found));
    if (found != cudaDriverEntryPointSuccess || entry == nullptr)
      throw std::runtime_error(
          "the CUDA driver has no cuTensorMapEncodeTiled: it is older than 12.0");
    return entry;
  }();
  std::array<uint32_t, kRank> element_strides;
  element_strides.fill(1);
  CUtensorMap map;
  const CUresult result = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function)(
      &map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, kRank, const_cast<void*>(data), sizes.data(),
      strides_bytes.data(), box.data(), element_strides.data(), CU_TENSOR_MAP_INTERLEAVE_NONE,
      swizzle == Swizzle::k128B ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_NONE,
      CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS)
    throw std::invalid_argument("cuTensorMapEncodeTiled refused: error " + std::to_string(result));
  return map;
}

// A row-major matrix [n_rows, n_columns] whose rows lie `pitch` elements apart (a multiple of 8).
inline CUtensorMap MakeMatrixMap(const void* data, int64_t n_rows, int64_t n_columns, int64_t pitch,
                                 int box_rows, int box_columns, Swizzle swizzle) {
  return MakeTensorMap<2>(data, {static_cast<uint64_t>(n_columns), static_cast<uint64_t>(n_rows)},
                          {static_cast<uint64_t>(pitch) * sizeof(__nv_bfloat16)},
                          {static_cast<uint32_t>(box_columns), static_cast<uint32_t>(box_rows)},
                          swizzle);
}

// ---- Shared-memory barriers --------------------------------------------------------------------

__device__ inline uint32_t SharedAddress(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// By one thread; then FenceBarrierInit, then a __syncthreads (or ClusterSync) before anyone uses
// it.
__device__ inline void InitBarrier(uint64_t* barrier, uint32_t n_arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(SharedAddress(barrier)),
               "r"(n_arrivals)
               : "memory");
}

// Makes initialized barriers visible to the copy engine and to the other blocks of the cluster.
__device__ inline void FenceBarrierInit() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ inline void Arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0];" ::"r"(SharedAddress(barrier))
               : "memory");
}

// Arrives at the barrier at the same place in the shared memory of block `rank` of the cluster.
// That orders none of this thread's own loads and stores for the other block. `.release.cluster`
// would, by waiting for all of them: MEMBAR.ALL.GPU, hundreds of cycles. Nothing of the kind is
// needed to say that wgmma has read a stage, once WgmmaWait has returned.
__device__ inline void ArriveRemote(uint64_t* barrier, uint32_t rank) {
  asm volatile(
      "{\n"
      ".reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.relaxed.cluster.shared::cluster.b64 _, [remote];\n"
      "}" ::"r"(SharedAddress(barrier)),
      "r"(rank)
      : "memory");
}

// One arrival that also says how many bytes TMA copies will bring in this phase.
__device__ inline void ArriveExpectTx(uint64_t* barrier, uint32_t n_bytes) {
  asm volatile("mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 _, [%0], %1;" ::"r"(
                   SharedAddress(barrier)),
               "r"(n_bytes)
               : "memory");
}

__device__ inline bool TryWait(uint64_t* barrier, uint32_t parity) {
  uint32_t done;
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 done, [%1], %2;\n"
      "selp.u32 %0, 1, 0, done;\n"
      "}"
      : "=r"(done)
      : "r"(SharedAddress(barrier)), "r"(parity)
      : "memory");
  return done != 0;
}

__device__ inline void Wait(uint64_t* barrier, uint32_t parity) {
  while (!TryWait(barrier, parity)) {
  }
}

// bar.sync `id` (1 to 15; 0 is __syncthreads) among `n_threads` threads: one warpgroup, say.
__device__ inline void NamedBarrierSync(int id, int n_threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(n_threads) : "memory");
}
// Counts towards barrier `id` without waiting at it.
__device__ inline void NamedBarrierArrive(int id, int n_threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(n_threads) : "memory");
}

// ---- Clusters ----------------------------------------------------------------------------------

__device__ inline uint32_t ClusterRank() {
  uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

// All threads of all blocks of the cluster. Also needed before a block ends while another may still
// write its shared memory or arrive at its barriers.
__device__ inline void ClusterSync() {
  asm volatile(
      "barrier.cluster.arrive.release.aligned;\n"
      "barrier.cluster.wait.acquire.aligned;" ::
          : "memory");
}

// A ClusterSync in two halves, between which a warp can do other work. Whole warps call them.
__device__ inline void ClusterArrive() {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
__device__ inline void ClusterWait() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// ---- Tensor copies (TMA): one thread starts a copy of a whole tile -----------------------------

__device__ inline void PrefetchTensorMap(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

// Global to shared memory. `to`: 128-byte aligned, 1,024 with Swizzle::k128B. x is the element of
// the fastest dimension where the box begins, y of the next one, and so on; they may lie outside.
// The bytes of the whole box arrive at `barrier`.
__device__ inline void TmaLoad2D(void* to, const CUtensorMap* map, uint64_t* barrier, int x,
                                 int y) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4}], [%2];" ::"r"(SharedAddress(to)),
      "l"(map), "r"(SharedAddress(barrier)), "r"(x), "r"(y)
      : "memory");
}
__device__ inline void TmaLoad3D(void* to, const CUtensorMap* map, uint64_t* barrier, int x, int y,
                                 int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(SharedAddress(to)),
      "l"(map), "r"(SharedAddress(barrier)), "r"(x), "r"(y), "r"(z)
      : "memory");
}
__device__ inline void TmaLoad4D(void* to, const CUtensorMap* map, uint64_t* barrier, int x, int y,
                                 int z, int w) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(SharedAddress(to)),
      "l"(map), "r"(SharedAddress(barrier)), "r"(x), "r"(y), "r"(z), "r"(w)
      : "memory");
}

// The tile is read once and written to the same place in the shared memory of each block of the
// cluster whose bit is set in `ranks`; the bytes arrive at each of these blocks' own `barrier`.
__device__ inline void TmaLoad2DMulticast(void* to, const CUtensorMap* map, uint64_t* barrier,
                                          int x, int y, uint16_t ranks) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
      ".multicast::cluster [%0], [%1, {%3, %4}], [%2], %5;" ::"r"(SharedAddress(to)),
      "l"(map), "r"(SharedAddress(barrier)), "r"(x), "r"(y), "h"(ranks)
      : "memory");
}

// Shared to global memory. The box may end outside, but x, y, z must not be negative: then a store
// is an illegal instruction (seen on an H200; loads may). First FenceAsyncProxy by each thread that
// wrote the tile, then a barrier among them, then one thread stores; that same thread commits and
// waits.
__device__ inline void TmaStore2D(const CUtensorMap* map, const void* from, int x, int y) {
  asm volatile(
      "cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];" ::"l"(map),
      "r"(SharedAddress(from)), "r"(x), "r"(y)
      : "memory");
}
__device__ inline void TmaStore3D(const CUtensorMap* map, const void* from, int x, int y, int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(
          map),
      "r"(SharedAddress(from)), "r"(x), "r"(y), "r"(z)
      : "memory");
}
__device__ inline void TmaStoreCommit() {
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

// Until at most kPending committed groups still read shared memory: it may be written again.
template <int kPending>
__device__ inline void TmaStoreWaitRead() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kPending) : "memory");
}

// What this thread wrote to shared memory with ordinary stores becomes visible to TMA and wgmma.
__device__ inline void FenceAsyncProxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// Four 8 x 8 matrices of 16-bit numbers from registers to shared memory: lane 8 i + j gives the
// address of row j of matrix i; r[i] holds this lane's two numbers of matrix i.
__device__ inline void StoreMatrixX4(void* row, uint32_t r0, uint32_t r1, uint32_t r2,
                                     uint32_t r3) {
  asm volatile(
      "stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(SharedAddress(row)),
      "r"(r0), "r"(r1), "r"(r2), "r"(r3)
      : "memory");
}

// ---- Registers ---------------------------------------------------------------------------------

// A warpgroup gives registers back, or takes some (waiting until there are): kCount a thread
// afterwards, a multiple of 8 from 24 to 240. All four warps call it. The kernel needs
// __launch_bounds__(threads, 1).
template <int kCount>
__device__ inline void DecreaseRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}
template <int kCount>
__device__ inline void IncreaseRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}

// ---- Warpgroup matrix products (wgmma) ---------------------------------------------------------
//
// D[64, N] (+)= A[64, 16] B[16, N]: bf16 operands, f32 accumulators, by the 128 threads of one
// warpgroup (four warps, the first one's index a multiple of 4), asynchronously.
//
// The accumulator is `float d[N / 2]` a thread. With w the warp (0 to 3), g = lane / 4 and
// t = lane % 4, the thread holds rows 16 w + g and 16 w + g + 8:
//     d[4 j + 0], d[4 j + 1]: row 16 w + g,     columns 8 j + 2 t, 8 j + 2 t + 1
//     d[4 j + 2], d[4 j + 3]: row 16 w + g + 8, the same columns
// An A operand in registers has that same layout with 16 columns, as pairs of bf16 (the lower
// column in the lower half): a[0] row g, columns 2 t, 2 t + 1; a[1] row g + 8, the same columns;
// a[2] row g, columns 2 t + 8, 2 t + 9; a[3] row g + 8, those. So columns 16 i to 16 i + 15 of an
// accumulator, rounded, are an A operand: a = {d[8i], d[8i+1]}, {d[8i+2], d[8i+3]}, {d[8i+4],
// d[8i+5]}, {d[8i+6], d[8i+7]}: what attention needs for P V.

// Where an operand lies in shared memory, in the form of 128-byte swizzle (as TMA wrote it with
// Swizzle::k128B; atoms of 8 rows x 128 bytes, 1,024-byte aligned).
//
// K-major (rows are rows of A or columns of B, each with 64 numbers of k): stride_bytes is the
// distance of one group of 8 rows to the next, 1,024 when rows follow each other; leading_bytes is
// not used. The next 16 of k lie 32 bytes on: Descriptor(tile) + 2 (the address counts 16-byte
// units).
//
// MN-major (kTransposeB: rows are of k, each with 64 numbers of n; V in attention): stride_bytes is
// the distance of 8 rows of k to the next 8 (1,024); leading_bytes that of 64 columns of n to the
// next 64 (rows x 128 if each such panel is stored whole). The next 16 of k: 2,048 bytes on (+
// 128).
__device__ inline uint64_t Descriptor(const void* tile, uint32_t leading_bytes = 16,
                                      uint32_t stride_bytes = 1024) {
  constexpr uint64_t kSwizzle128B = 1;
  return uint64_t{(SharedAddress(tile) & 0x3FFFF) >> 4} | uint64_t{leading_bytes >> 4} << 16 |
         uint64_t{stride_bytes >> 4} << 32 | kSwizzle128B << 62;
}

// Before the first product of a group: registers that were touched (accumulators, A) are ready.
__device__ inline void WgmmaFence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void WgmmaCommit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Until at most kPending committed groups are under way. Only then may their accumulators be read,
// their A registers be changed and their shared memory be given back.
template <int kPending>
__device__ inline void WgmmaWait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
// The compiler may not move uses of these registers over this point (it knows nothing of the
// asynchronous writes): put it before the WgmmaFence and after the WgmmaWait of a group.
template <int kCount>
__device__ inline void PinRegisters(float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

// Products of one N. AIOS_WGMMA below writes the specializations: PTX wants each register named.
template <int kN>
struct Wgmma;

// WgmmaSS: A and B from shared memory, both K-major. accumulate == false: D is overwritten.
template <int kN>
__device__ inline void WgmmaSS(float (&d)[kN / 2], uint64_t a, uint64_t b, bool accumulate = true) {
  Wgmma<kN>::SS(d, a, b, accumulate);
}
// WgmmaRS: A from registers; kTransposeB: B is MN-major.
template <int kN, bool kTransposeB = false>
__device__ inline void WgmmaRS(float (&d)[kN / 2], const uint32_t (&a)[4], uint64_t b,
                               bool accumulate = true) {
  Wgmma<kN>::template RS<kTransposeB>(d, a, b, accumulate);
}

#define AIOS_D0 "%0, %1, %2, %3, %4, %5, %6, %7"
#define AIOS_D1 "%8, %9, %10, %11, %12, %13, %14, %15"
#define AIOS_D2 "%16, %17, %18, %19, %20, %21, %22, %23"
#define AIOS_D3 "%24, %25, %26, %27, %28, %29, %30, %31"
#define AIOS_D4 "%32, %33, %34, %35, %36, %37, %38, %39"
#define AIOS_D5 "%40, %41, %42, %43, %44, %45, %46, %47"
#define AIOS_D6 "%48, %49, %50, %51, %52, %53, %54, %55"
#define AIOS_D7 "%56, %57, %58, %59, %60, %61, %62, %63"
#define AIOS_D8 "%64, %65, %66, %67, %68, %69, %70, %71"
#define AIOS_D9 "%72, %73, %74, %75, %76, %77, %78, %79"
#define AIOS_D10 "%80, %81, %82, %83, %84, %85, %86, %87"
#define AIOS_D11 "%88, %89, %90, %91, %92, %93, %94, %95"
#define AIOS_D12 "%96, %97, %98, %99, %100, %101, %102, %103"
#define AIOS_D13 "%104, %105, %106, %107, %108, %109, %110, %111"
#define AIOS_D14 "%112, %113, %114, %115, %116, %117, %118, %119"
#define AIOS_D15 "%120, %121, %122, %123, %124, %125, %126, %127"
#define AIOS_NAMES_8 AIOS_D0
#define AIOS_NAMES_16 AIOS_D0 ", " AIOS_D1
#define AIOS_NAMES_32 AIOS_D0 ", " AIOS_D1 ", " AIOS_D2 ", " AIOS_D3
#define AIOS_NAMES_40 AIOS_NAMES_32 ", " AIOS_D4
#define AIOS_NAMES_48 AIOS_NAMES_40 ", " AIOS_D5
#define AIOS_NAMES_64 AIOS_NAMES_48 ", " AIOS_D6 ", " AIOS_D7
#define AIOS_NAMES_96 AIOS_NAMES_64 ", " AIOS_D8 ", " AIOS_D9 ", " AIOS_D10 ", " AIOS_D11
#define AIOS_NAMES_128 AIOS_NAMES_96 ", " AIOS_D12 ", " AIOS_D13 ", " AIOS_D14 ", " AIOS_D15
#define AIOS_F8(i)                                                                            \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])
#define AIOS_REGISTERS_8 AIOS_F8(0)
#define AIOS_REGISTERS_16 AIOS_REGISTERS_8, AIOS_F8(8)
#define AIOS_REGISTERS_32 AIOS_F8(0), AIOS_F8(8), AIOS_F8(16), AIOS_F8(24)
#define AIOS_REGISTERS_40 AIOS_REGISTERS_32, AIOS_F8(32)
#define AIOS_REGISTERS_48 AIOS_REGISTERS_40, AIOS_F8(40)
#define AIOS_REGISTERS_64 AIOS_REGISTERS_48, AIOS_F8(48), AIOS_F8(56)
#define AIOS_REGISTERS_96 AIOS_REGISTERS_64, AIOS_F8(64), AIOS_F8(72), AIOS_F8(80), AIOS_F8(88)
#define AIOS_REGISTERS_128 AIOS_REGISTERS_96, AIOS_F8(96), AIOS_F8(104), AIOS_F8(112), AIOS_F8(120)

// n: columns; r: n / 2 accumulators, operands 0 to r - 1; p0 to p6: the operands after them.
#define AIOS_WGMMA(n, r, p0, p1, p2, p3, p4, p5, p6)                                               \
  template <>                                                                                      \
  struct Wgmma<n> {                                                                                \
    __device__ static void SS(float (&d)[r], uint64_t a, uint64_t b, int accumulate) {             \
      asm volatile("{\n.reg .pred accumulate;\nsetp.ne.b32 accumulate, %" #p2                      \
                   ", 0;\n"                                                                        \
                   "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" AIOS_NAMES_##r     \
                   "}, %" #p0 ", %" #p1 ", accumulate, 1, 1, 0, 0;\n}"                             \
                   : AIOS_REGISTERS_##r                                                            \
                   : "l"(a), "l"(b), "r"(accumulate));                                             \
    }                                                                                              \
    template <bool kTransposeB>                                                                    \
    __device__ static void RS(float (&d)[r], const uint32_t (&a)[4], uint64_t b, int accumulate) { \
      asm volatile("{\n.reg .pred accumulate;\nsetp.ne.b32 accumulate, %" #p5                      \
                   ", 0;\n"                                                                        \
                   "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" AIOS_NAMES_##r     \
                   "}, {%" #p0 ", %" #p1 ", %" #p2 ", %" #p3 "}, %" #p4                            \
                   ", accumulate, 1, 1, %" #p6 ";\n}"                                              \
                   : AIOS_REGISTERS_##r                                                            \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate),          \
                     "n"(kTransposeB ? 1 : 0));                                                    \
    }                                                                                              \
  };
AIOS_WGMMA(16, 8, 8, 9, 10, 11, 12, 13, 14)
AIOS_WGMMA(32, 16, 16, 17, 18, 19, 20, 21, 22)
AIOS_WGMMA(64, 32, 32, 33, 34, 35, 36, 37, 38)
AIOS_WGMMA(80, 40, 40, 41, 42, 43, 44, 45, 46)
AIOS_WGMMA(96, 48, 48, 49, 50, 51, 52, 53, 54)
AIOS_WGMMA(128, 64, 64, 65, 66, 67, 68, 69, 70)
AIOS_WGMMA(192, 96, 96, 97, 98, 99, 100, 101, 102)
AIOS_WGMMA(256, 128, 128, 129, 130, 131, 132, 133, 134)

#undef AIOS_REGISTERS_128
#undef AIOS_NAMES_128
#undef AIOS_REGISTERS_96
#undef AIOS_NAMES_96
#undef AIOS_REGISTERS_64
#undef AIOS_NAMES_64
#undef AIOS_REGISTERS_48
#undef AIOS_NAMES_48
#undef AIOS_REGISTERS_40
#undef AIOS_NAMES_40
#undef AIOS_REGISTERS_32
#undef AIOS_NAMES_32
#undef AIOS_REGISTERS_16
#undef AIOS_NAMES_16
#undef AIOS_REGISTERS_8
#undef AIOS_NAMES_8
#undef AIOS_F8
#undef AIOS_WGMMA
#undef AIOS_D0
#undef AIOS_D1
#undef AIOS_D2
#undef AIOS_D3
#undef AIOS_D4
#undef AIOS_D5
#undef AIOS_D6
#undef AIOS_D7
#undef AIOS_D8
#undef AIOS_D9
#undef AIOS_D10
#undef AIOS_D11
#undef AIOS_D12
#undef AIOS_D13
#undef AIOS_D14
#undef AIOS_D15

}  // namespace aios::kernels::cuda::hopper
