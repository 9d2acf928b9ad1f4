// The gemm ladder's run: verify, then time.
#include <cmath>
#include <string>
#include <vector>

#include "kernels/cuda/gemm.h"
#include "kernels/ladder/gemm/gemm.h"

namespace aios::ladder::gemm {
namespace {

struct Shape {
  int m, n, k;
  std::string Name() const {
    return std::to_string(m) + " x " + std::to_string(n) + " x " + std::to_string(k);
  }
  double Flops() const { return 2.0 * m * n * k; }
};

// Rounding the result to bf16 alone makes 2^-9 / sqrt(3) = 1.1e-3 at most, of each number; the
// order of the sums in f32 adds some 1e-6.
constexpr double kTolerance = 2.5e-3;

// One shape's inputs and cuBLASLt's f32 result.
class Problem {
 public:
  explicit Problem(const Shape& shape)
      : shape_(shape),
        a_(DeviceArray::NormalBF16(size_t(shape.m) * shape.k, 1)),
        // So that C is about 1 too, as a trained layer's outputs are.
        b_(DeviceArray::NormalBF16(size_t(shape.n) * shape.k, 2, 1 / std::sqrt(float(shape.k)))),
        c_(n_cells() * sizeof(__nv_bfloat16)),
        want_(n_cells() * sizeof(float)) {
    Library(want_.As<void>(), kernels::Format::kF32, nullptr);
  }

  // The same product by cuBLASLt, in bf16 or, to be a reference, in f32: then only the order of the
  // sums rounds.
  void Library(void* c, kernels::Format format, cudaStream_t stream) {
    library_.Run({.x = a_.As<void>(),
                  .weight = b_.As<void>(),
                  .y = c,
                  .n_rows = shape_.m,
                  .d_in = shape_.k,
                  .d_out = shape_.n,
                  .y_dtype = format},
                 stream);
  }

  size_t n_cells() const { return size_t(shape_.m) * shape_.n; }

  GemmArgs args() const {
    return {.a = a_.As<__nv_bfloat16>(),
            .b = b_.As<__nv_bfloat16>(),
            .c = c_.As<__nv_bfloat16>(),
            .m = shape_.m,
            .n = shape_.n,
            .k = shape_.k};
  }

  // Runs `launch` once into poisoned memory; returns the relative error, if it is within limits.
  template <typename Launch>
  double Verified(const std::string& name, const Launch& launch) {
    c_.Poison();
    launch(0, nullptr);
    const double error = RelativeErrorBF16(c_.As<void>(), want_.As<float>(), n_cells());
    Verify("gemm, " + name + ", " + shape_.Name(), error, kTolerance);
    return error;
  }

  template <typename Launch>
  Row Timed(int level, const std::string& name, const Limits& limits, const Flags& flags,
            const Launch& launch) {
    const bool slow = level >= 1 && level <= 3;  // up to a third of a second a launch
    const TimingOptions timing = {.launches_per_repeat = slow ? 1 : 10,
                                  .repeats = slow || flags.quick ? 3 : 11};
    const double error = Verified(name, launch);
    return {.op = "gemm",
            .level = level,
            .name = name,
            .shape = shape_.Name(),
            .seconds = TimeKernel(launch, timing),
            .flops = shape_.Flops(),
            .bytes = 2.0 * (size_t(shape_.m) * shape_.k + size_t(shape_.n) * shape_.k + n_cells()),
            .error = error,
            .limit = limits.gemm_flop_s,
            .memory_bound = false};
  }

 private:
  Shape shape_;
  DeviceArray a_, b_, c_, want_;
  kernels::cuda::Gemm library_;
};

// Tails of every tile size in m, n and k; one row; fewer than a tile of each; more tiles than SMs.
constexpr Shape kVerifyShapes[] = {
    {1, 256, 64},     {1, 8, 8},          {7, 1000, 136},   {17, 264, 520},   {63, 128, 1024},
    {65, 520, 72},    {100, 3000, 200},   {127, 257, 64},   {129, 258, 4096}, {255, 8, 256},
    {300, 776, 1096}, {1000, 5000, 1000}, {3333, 4104, 328}};

}  // namespace

std::vector<Row> RunGemmLadder(const Limits& limits, const Flags& flags) {
  std::vector<Level> levels;
  for (const Level& level : Levels())
    if (flags.only_level == 0 || flags.only_level == level.number) levels.push_back(level);

  for (const Shape& shape : kVerifyShapes) {
    Problem problem(shape);
    for (const Level& level : levels)
      if (level.accepts(shape.m, shape.n, shape.k))
        problem.Verified(level.name, [&](int, cudaStream_t s) { level.launch(problem.args(), s); });
  }

  struct TimedShape {
    Shape shape;
    int from_level;  // the ones below would take seconds
  };
  std::vector<TimedShape> timed = {
      {{4096, 4096, 4096}, 1}, {{8192, 8192, 8192}, 4}, {{2048, 28672, 4096}, 4}};
  if (flags.quick) timed = {{{4096, 4096, 4096}, 1}};
  std::vector<Row> rows;
  for (const auto& [shape, from_level] : timed) {
    Problem problem(shape);
    for (const Level& level : levels)
      if (level.number >= from_level && level.accepts(shape.m, shape.n, shape.k))
        rows.push_back(
            problem.Timed(level.number, level.name, limits, flags,
                          [&](int, cudaStream_t s) { level.launch(problem.args(), s); }));
    rows.push_back(problem.Timed(0, "cuBLASLt", limits, flags, [&](int, cudaStream_t s) {
      problem.Library(problem.args().c, kernels::Format::kBF16, s);
    }));
  }
  return rows;
}

}  // namespace aios::ladder::gemm
