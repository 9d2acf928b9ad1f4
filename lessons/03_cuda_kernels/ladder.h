// The matrix product at each level of its ladder, from naive to near the limit, as a table.
#pragma once

namespace aios::lessons {

// Checks and times every level, some seconds, and prints the table to standard output: on the
// current GPU the levels of kernels/ladder/gemm, on the CPU those of kernels/ladder/gemm_cpu.
void PrintLadder(bool on_gpu, int n_threads);

}  // namespace aios::lessons
