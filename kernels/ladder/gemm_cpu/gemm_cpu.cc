#include "kernels/ladder/gemm_cpu/gemm_cpu.h"

#include "kernels/ladder/gemm_cpu/levels.h"

namespace aios::ladder::gemm_cpu {

std::span<const Level> Levels() {
  static constexpr Level kLevels[] = {
      {1, "naive: three loops", Naive},         {2, "reordered: columns inside", Reordered},
      {3, "tiled: packed blocks in L1", Tiled}, {4, "SIMD: sums in registers", Simd},
      {5, "threads: all cores", Threads},
  };
  return kLevels;
}

}  // namespace aios::ladder::gemm_cpu
