// Level 5: level 4 on all cores.
//
// What changed. The columns of y are cut into one band for each thread. A band's columns are rows
// of W: no thread reads another's part of W, none writes where another does, so that they meet only
// at the end. All of them read all of x, which the shared cache gives to each.
//
// Why it is faster, and where it is not. Twice the cores have twice the FMA units and twice the L1
// and L2 caches: compute-bound work scales with them. Two things do not. Memory is shared: with one
// row of x (decoding one token) each number of W is used once, 4 bytes for 2 FLOPs, and two cores
// wait for the same DRAM. And starting a thread takes some 20 us, the time of 2 MFLOPs on one core:
// an engine keeps its threads waiting instead (common/backend's pool).
#include <algorithm>
#include <thread>
#include <vector>

#include "kernels/ladder/gemm_cpu/levels.h"

namespace aios::ladder::gemm_cpu {

void Threads(const GemmArgs& args) {
  // Bands are whole cache lines of y (16 floats), so that no two threads write to the same line:
  // the caches would send it back and forth. True only where y and n are multiples of a line too;
  // elsewhere it costs time at the bands' edges, and nothing else.
  constexpr int64_t kLine = 16;
  const int64_t n_lines = (args.n + kLine - 1) / kLine;
  const auto band_begin = [&](int64_t thread) {
    return std::min(args.n, n_lines * thread / args.n_threads * kLine);
  };
  std::vector<std::jthread> threads;  // join when they go out of scope
  for (int t = 1; t < args.n_threads; ++t) {
    threads.emplace_back(
        [&args, begin = band_begin(t), end = band_begin(t + 1)] { SimdColumns(args, begin, end); });
  }
  SimdColumns(args, band_begin(0), band_begin(1));  // this thread's own share
}

}  // namespace aios::ladder::gemm_cpu
