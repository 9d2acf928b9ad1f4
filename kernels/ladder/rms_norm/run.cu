// The ladder of RmsNorm, with the addition to the residual stream: from a thread a row to the
// engine's kernel, each level checked in double before it is timed.
#include <cuda_bf16.h>

#include <string>
#include <vector>

#include "kernels/cuda/check.h"
#include "kernels/ladder/harness.h"
#include "kernels/ladder/rms_norm/rms_norm.h"

namespace aios::ladder::rms_norm {
namespace {

struct Level {
  int number;
  const char* name;
  void (*run)(const RmsNormArgs&, cudaStream_t);
};
constexpr Level kLevels[] = {
    {1, "thread per row", RmsNormLevel1},
    {2, "block per row", RmsNormLevel2},
    {3, "row in registers, 16-byte loads", RmsNormLevel3},
    {4, "fused with the addition (the engine's)", RmsNormLevel4},
};

constexpr float kEps = 1e-5F;

// The answer: a thread a row, in double, but for the stream, which is f32.
__global__ void Reference(const float* x, const __nv_bfloat16* delta, const float* weight,
                          int n_rows, int d_model, float* new_x, float* out) {
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= n_rows) return;
  const size_t first = static_cast<size_t>(row) * d_model;
  double sum = 0;
  for (size_t i = first; i < first + d_model; ++i) {
    new_x[i] = x[i] + static_cast<float>(delta[i]);
    sum += static_cast<double>(new_x[i]) * new_x[i];
  }
  const double scale = 1 / sqrt(sum / d_model + kEps);
  for (int i = 0; i < d_model; ++i) {
    out[first + i] = static_cast<float>(new_x[first + i] * scale * weight[i]);
  }
}

struct Problem {
  int n_rows, d_model;
  size_t n = static_cast<size_t>(n_rows) * d_model;
  DeviceArray x = DeviceArray::NormalF32(n, 1);
  DeviceArray delta = DeviceArray::NormalBF16(n, 2);
  DeviceArray weight = DeviceArray::NormalF32(d_model, 3);
  DeviceArray out = DeviceArray(n * sizeof(__nv_bfloat16));

  RmsNormArgs Args() const {
    return {.x = x.As<float>(),
            .delta = delta.As<void>(),
            .weight = weight.As<float>(),
            .out = out.As<void>(),
            .eps = kEps,
            .n_rows = n_rows,
            .d_model = d_model};
  }
};

// The relative error of a level, after which the level is known to be right.
double Check(const Level& level, int n_rows, int d_model) {
  Problem p = {.n_rows = n_rows, .d_model = d_model};
  const DeviceArray want_x(p.n * sizeof(float)), want(p.n * sizeof(float));
  Reference<<<(n_rows + 31) / 32, 32>>>(p.x.As<float>(), p.delta.As<__nv_bfloat16>(),
                                        p.weight.As<float>(), n_rows, d_model, want_x.As<float>(),
                                        want.As<float>());
  AIOS_CUDA_CHECK_LAUNCH();
  level.run(p.Args(), nullptr);
  AIOS_CUDA_CHECK(cudaDeviceSynchronize());
  const std::string what =
      std::string(level.name) + ", " + std::to_string(n_rows) + " x " + std::to_string(d_model);
  Verify(what + ", x", RelativeErrorF32(p.x.As<float>(), want_x.As<float>(), p.n), 0);
  const double error = RelativeErrorBF16(p.out.As<void>(), want.As<float>(), p.n);
  Verify(what, error, 0x1p-8);  // out is rounded to 8 bits
  return error;
}

}  // namespace

std::vector<Row> RunRmsNormLadder(const Limits& limits, const Flags& flags) {
  std::vector<Row> rows;
  std::vector<int> sizes = {16384, 256, 1};
  if (flags.quick) sizes = {16384};
  for (const int n_rows : sizes) {
    constexpr int kModel = 4096;
    const Problem p = {.n_rows = n_rows, .d_model = kModel};
    for (const Level& level : kLevels) {
      if (flags.only_level != 0 && flags.only_level != level.number) continue;
      for (const int d_model : {8, 576, 1000, 8192}) Check(level, 37, d_model);
      const double error = Check(level, n_rows, kModel);
      const bool is_small = n_rows <= 256;  // lies in the L2: no limit to compare with
      const double seconds =
          TimeKernel([&](int, cudaStream_t stream) { level.run(p.Args(), stream); },
                     {.launches_per_repeat = is_small ? 100 : 5, .repeats = flags.quick ? 5 : 11});
      rows.push_back({.op = "rms_norm",
                      .level = level.number,
                      .name = level.name,
                      .shape = std::to_string(n_rows) + " x " + std::to_string(kModel),
                      .seconds = seconds,
                      .flops = 6.0 * static_cast<double>(p.n),
                      .bytes = 12.0 * static_cast<double>(p.n),  // x twice, delta, out
                      .error = error,
                      .limit = is_small ? 0 : limits.copy_bytes_s,
                      .memory_bound = true});
    }
  }
  return rows;
}

}  // namespace aios::ladder::rms_norm
