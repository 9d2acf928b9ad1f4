// The gemv ladder: every level verified, then timed beside cuBLASLt.
//
//     bazel run -c opt //kernels/ladder/gemv:ladder_gemv -- [--json FILE] [--level N] [--quick]
#include <cstdio>
#include <exception>

#include "kernels/ladder/gemv/gemv.h"

int main(int argc, char** argv) {
  using namespace aios::ladder;
  const Flags flags = ParseFlags(argc, argv);
  try {
    const Limits limits = MeasureLimits(/*with_gemm=*/false);
    std::printf("%s, CUDA %s: read %.2f TB/s, copy %.2f TB/s\n", limits.device.c_str(),
                limits.driver.c_str(), limits.read_bytes_s * 1e-12, limits.copy_bytes_s * 1e-12);
    const std::vector<Row> rows = gemv::RunGemvLadder(limits, flags);
    Print(rows);
    if (!flags.json.empty()) WriteJson(flags.json, limits, rows);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
