// The ladder of softmax: from a thread a row to the rate of a copy, each level checked in double
// over many shapes before it is timed.
//
//   bazel run -c opt //kernels/ladder/softmax -- [--json FILE] [--level N] [--quick]
//
// There is no library's row: the one that has a softmax, cuDNN, is not among what this project
// links.
#include <cstdio>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cuda/check.h"
#include "kernels/ladder/harness.h"
#include "kernels/ladder/softmax/softmax.h"

namespace aios::ladder {
namespace {

// The answer: a thread a row, in double.
__global__ void Reference(SoftmaxProblem p, float* out) {
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= p.n_rows) return;
  const float* const x = p.x + int64_t{row} * p.n_columns;
  double max = x[0], sum = 0;
  for (int c = 1; c < p.n_columns; ++c) max = fmax(max, static_cast<double>(x[c]));
  for (int c = 0; c < p.n_columns; ++c) sum += exp(x[c] - max);
  for (int c = 0; c < p.n_columns; ++c)
    out[int64_t{row} * p.n_columns + c] = static_cast<float>(exp(x[c] - max) / sum);
}

struct Case {
  int n_rows, n_columns;
  float scale = 3;  // of x: 100 is far past where exp alone would overflow
  size_t n = size_t(n_rows) * n_columns;
  DeviceArray x = DeviceArray::NormalF32(n, 1, scale);
  DeviceArray out = DeviceArray(n * sizeof(float));
  DeviceArray want = DeviceArray(n * sizeof(float));

  SoftmaxProblem Problem() const {
    return {.x = x.As<float>(), .out = out.As<float>(), .n_rows = n_rows, .n_columns = n_columns};
  }
  void Solve() {
    Reference<<<(n_rows + 31) / 32, 32>>>(Problem(), want.As<float>());
    AIOS_CUDA_CHECK_LAUNCH();
    AIOS_CUDA_CHECK(cudaDeviceSynchronize());
  }
  std::string Shape() const { return std::to_string(n_rows) + " x " + std::to_string(n_columns); }
};

// The relative error of a level, after which the level is known to be right.
double Check(const SoftmaxLevel& level, Case& c) {
  c.out.Poison();
  level.run(c.Problem(), nullptr);
  AIOS_CUDA_CHECK(cudaDeviceSynchronize());
  const double error = RelativeErrorF32(c.out.As<float>(), c.want.As<float>(), c.n);
  // Level 1 adds 32,768 numbers one after another in f32: 3e-5. The others are at 1e-6.
  Verify(std::string(level.name) + ", " + c.Shape(), error, level.number == 1 ? 1e-4 : 1e-5);
  return error;
}

void Main(const Flags& flags) {
  const Limits limits = MeasureLimits(/*with_gemm=*/false);
  std::printf("%s: read %.2f TB/s, copy %.2f TB/s\n", limits.device.c_str(),
              limits.read_bytes_s * 1e-12, limits.copy_bytes_s * 1e-12);
  const auto runs = [&](const SoftmaxLevel& level) {
    return flags.only_level == 0 || flags.only_level == level.number;
  };
  struct Size {
    int n_rows, n_columns;
    float scale = 3;
  };
  for (const Size& size : {Size{1, 1}, Size{3, 4}, Size{37, 7}, Size{5, 100}, Size{17, 1000},
                           Size{9, 4099}, Size{33, 8192}, Size{7, 8196}, Size{3, 20000},
                           Size{2, 32768}, Size{2, 50257}, Size{64, 1024, 100}}) {
    Case c = {size.n_rows, size.n_columns, size.scale};
    c.Solve();
    for (const SoftmaxLevel& level : SoftmaxLevels())
      if (runs(level)) Check(level, c);
  }

  std::vector<Row> rows;
  std::vector<std::pair<int, int>> shapes = {{65536, 1024}, {16384, 4096}, {2048, 32768}};
  if (flags.quick) shapes = {{16384, 4096}};
  for (const auto& [n_rows, n_columns] : shapes) {  // each 268 MB in, 268 MB out: past every L2
    Case c = {n_rows, n_columns};
    c.Solve();
    const SoftmaxProblem problem = c.Problem();
    for (const SoftmaxLevel& level : SoftmaxLevels()) {
      if (!runs(level)) continue;
      const double error = Check(level, c);
      const double seconds =
          TimeKernel([&](int, cudaStream_t stream) { level.run(problem, stream); },
                     {.launches_per_repeat = level.number == 1 ? 1 : 5,
                      .repeats = flags.quick || level.number == 1 ? 5 : 11});
      rows.push_back({.op = "softmax",
                      .level = level.number,
                      .name = level.name,
                      .shape = c.Shape(),
                      .seconds = seconds,
                      .flops = 4.0 * static_cast<double>(c.n),  // compare, subtract, exp, multiply
                      .bytes = 8.0 * static_cast<double>(c.n),  // x once, out once
                      .error = error,
                      .limit = limits.copy_bytes_s,
                      .memory_bound = true});
    }
  }
  Print(rows);
  if (!flags.json.empty()) WriteJson(flags.json, limits, rows);
}

}  // namespace
}  // namespace aios::ladder

int main(int argc, char** argv) {
  const aios::ladder::Flags flags = aios::ladder::ParseFlags(argc, argv);
  try {
    aios::ladder::Main(flags);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "ladder_softmax: %s\n", e.what());
    return 1;
  }
}
