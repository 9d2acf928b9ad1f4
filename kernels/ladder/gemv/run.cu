// The ladder of y = W x in bf16: from a thread an output to the engine's kernel, each level checked
// in double before it is timed. Timed as a chain over different matrices, many times the L2 in all,
// as decoding reads them. The peer is cuBLASLt, asked for a product with one row.
#include <cuda_bf16.h>

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/cuda/check.h"
#include "kernels/cuda/gemm.h"
#include "kernels/ladder/gemv/gemv.h"
#include "kernels/ladder/harness.h"

namespace aios::ladder::gemv {
namespace {

struct Level {
  int number;
  const char* name;
  void (*run)(const GemvArgs&, cudaStream_t);
};
constexpr Level kLevels[] = {
    {1, "thread per output", GemvLevel1},
    {2, "warp per output", GemvLevel2},
    {3, "16-byte loads", GemvLevel3},
    {4, "four loads in flight", GemvLevel4},
    {5, "overlapped, split along d_in (the engine's)", GemvLevel5},
};

// The answer: a thread an output, in double.
__global__ void Reference(const __nv_bfloat16* x, const __nv_bfloat16* weight, int d_in, int d_out,
                          float* y) {
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= d_out) return;
  double sum = 0;
  for (int k = 0; k < d_in; ++k) {
    sum += static_cast<double>(static_cast<float>(x[k])) *
           static_cast<double>(static_cast<float>(weight[static_cast<int64_t>(row) * d_in + k]));
  }
  y[row] = static_cast<float>(sum);
}

// Matrices one after another in memory.
struct Problem {
  int d_out, d_in, n_matrices;
  size_t matrix_size = static_cast<size_t>(d_out) * d_in;
  DeviceArray x = DeviceArray::NormalBF16(d_in, 1);
  DeviceArray weights = DeviceArray::NormalBF16(n_matrices * matrix_size, 2);
  DeviceArray y = DeviceArray(d_out * sizeof(__nv_bfloat16));

  const __nv_bfloat16* Weight(int i) const {
    return weights.As<__nv_bfloat16>() + i % n_matrices * matrix_size;
  }
  GemvArgs Args(int i) const {
    return {
        .x = x.As<void>(), .weight = Weight(i), .y = y.As<void>(), .d_in = d_in, .d_out = d_out};
  }
};

// The relative error of y now.
double Error(const Problem& p, const std::string& name) {
  AIOS_CUDA_CHECK(cudaDeviceSynchronize());
  const DeviceArray want(p.d_out * sizeof(float));
  Reference<<<(p.d_out + 31) / 32, 32>>>(p.x.As<__nv_bfloat16>(), p.Weight(0), p.d_in, p.d_out,
                                         want.As<float>());
  AIOS_CUDA_CHECK_LAUNCH();
  const double error = RelativeErrorBF16(p.y.As<void>(), want.As<float>(), p.d_out);
  Verify(name + ", " + std::to_string(p.d_out) + " x " + std::to_string(p.d_in), error,
         0x1p-8);  // y is rounded to 8 bits
  return error;
}

double Check(const Level& level, Problem& p) {
  p.y.Poison();
  level.run(p.Args(0), nullptr);
  return Error(p, level.name);
}

struct Shape {
  int d_out, d_in;
};

}  // namespace

std::vector<Row> RunGemvLadder(const Limits& limits, const Flags& flags) {
  for (const Shape& s : {Shape{1, 8}, {17, 64}, {129, 1000}, {300, 2048}, {33, 14336}}) {
    Problem p = {.d_out = s.d_out, .d_in = s.d_in, .n_matrices = 1};
    for (const Level& level : kLevels) Check(level, p);
  }

  // The layers of Llama-8B (d_model 4096) and Llama-1B (2048).
  std::vector<Shape> shapes = {{4096, 4096},   {28672, 4096}, {4096, 14336},
                               {128256, 4096}, {2048, 2048},  {3072, 2048},
                               {16384, 2048},  {2048, 8192},  {128256, 2048}};
  if (flags.quick) shapes = {{4096, 4096}, {2048, 2048}};
  std::vector<Row> rows;
  for (const Shape& shape : shapes) {
    const double bytes = 2.0 * shape.d_out * shape.d_in;
    const int n_matrices = std::max(2, static_cast<int>(1e9 / bytes));
    Problem p = {.d_out = shape.d_out, .d_in = shape.d_in, .n_matrices = n_matrices};
    const TimingOptions timing = {.launches_per_repeat = std::min(n_matrices, 200),
                                  .repeats = flags.quick ? 5 : 11};
    const auto add = [&](int number, const char* name, double error, double seconds) {
      rows.push_back({.op = "gemv",
                      .level = number,
                      .name = name,
                      .shape = std::to_string(shape.d_out) + " x " + std::to_string(shape.d_in),
                      .seconds = seconds,
                      .flops = bytes,  // a multiplication and an addition for 2 bytes
                      .bytes = bytes,
                      .error = error,
                      .limit = limits.read_bytes_s,
                      .memory_bound = true});
    };
    for (const Level& level : kLevels) {
      if (flags.only_level != 0 && flags.only_level != level.number) continue;
      const double error = Check(level, p);
      add(level.number, level.name, error,
          TimeKernel([&](int i, cudaStream_t stream) { level.run(p.Args(i), stream); }, timing));
    }
    kernels::cuda::Gemm library;
    const auto run = [&](int i, cudaStream_t stream) {
      library.Run({.x = p.x.As<void>(),
                   .weight = p.Weight(i),
                   .y = p.y.As<void>(),
                   .n_rows = 1,
                   .d_in = shape.d_in,
                   .d_out = shape.d_out},
                  stream);
    };
    p.y.Poison();
    run(0, nullptr);
    const double error = Error(p, "cuBLASLt");
    add(0, "cuBLASLt", error, TimeKernel(run, timing));
  }
  return rows;
}

}  // namespace aios::ladder::gemv
