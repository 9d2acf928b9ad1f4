// The limit that the GEMM ladder is compared with, measured.
#pragma once

namespace aios::ladder::gemm_cpu {

// FLOP/s of fused multiply-adds that touch registers only (on a CPU without FMA: of pairs of a
// multiplication and an addition): the sum over n_threads threads of the best that each did in a
// stretch of less than a millisecond while all of them worked. Other programs on the machine lower
// it little; for more threads than cores it means nothing. Takes 0.1 s.
double MeasurePeak(int n_threads);

}  // namespace aios::ladder::gemm_cpu
