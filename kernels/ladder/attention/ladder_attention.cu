// The ladder of attention: causal prefill from three passes through memory to tensor cores, each
// level checked in double over many shapes before it is timed.
//
//   bazel run -c opt //kernels/ladder/attention -- [--json FILE] [--level N] [--quick]
//
// There is no library's row: cuDNN and FlashAttention are not among what this project links;
// benchmarks/ measures them from Python beside the engine's kernels.
#include <cmath>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "kernels/cuda/check.h"
#include "kernels/ladder/attention/attention.h"
#include "kernels/ladder/harness.h"

namespace aios::ladder {
namespace {

// The answer: a warp a row, in double throughout, one key after another. Grid: [n_tokens, n_heads].
__global__ void Reference(AttentionProblem p, float* out) {
  const int token = blockIdx.x;
  const int head = blockIdx.y;
  const int d = threadIdx.x * 4;
  const int64_t kv_head = head / (p.n_heads / p.n_kv_heads);
  const int64_t row = (int64_t{token} * p.n_heads + head) * kHeadDim + d;
  double max = -INFINITY, sum = 0, values[4] = {};
  for (int key = 0; key <= token; ++key) {
    const int64_t at = (kv_head * p.n_tokens + key) * kHeadDim + d;
    double score = 0;
    for (int i = 0; i < 4; ++i) {
      score += static_cast<double>(static_cast<float>(p.q[row + i])) *
               static_cast<double>(static_cast<float>(p.k[at + i]));
    }
    for (int step = 16; step > 0; step /= 2) score += __shfl_xor_sync(~0u, score, step);
    score *= p.scale;
    if (score > max) {  // The same for all lanes.
      const double rescale = exp(max - score);
      max = score;
      sum *= rescale;
      for (double& value : values) value *= rescale;
    }
    const double probability = exp(score - max);
    sum += probability;
    for (int i = 0; i < 4; ++i)
      values[i] += probability * static_cast<double>(static_cast<float>(p.v[at + i]));
  }
  for (int i = 0; i < 4; ++i) out[row + i] = static_cast<float>(values[i] / sum);
}

// Owns a problem's numbers, and knows its answer.
struct Case {
  int n_tokens, n_heads, n_kv_heads;
  float q_scale = 1;  // large: scores of hundreds, one key takes all
  size_t q_size = size_t(n_tokens) * n_heads * kHeadDim;
  size_t kv_size = size_t(n_tokens) * n_kv_heads * kHeadDim;
  DeviceArray q = DeviceArray::NormalBF16(q_size, 1, q_scale);
  DeviceArray k = DeviceArray::NormalBF16(kv_size, 2);
  DeviceArray v = DeviceArray::NormalBF16(kv_size, 3);
  DeviceArray out = DeviceArray(q_size * sizeof(__nv_bfloat16));
  DeviceArray scores = DeviceArray(size_t(n_tokens) * n_tokens * sizeof(float));
  DeviceArray want = DeviceArray(q_size * sizeof(float));

  AttentionProblem Problem() const {
    return {.q = q.As<__nv_bfloat16>(),
            .k = k.As<__nv_bfloat16>(),
            .v = v.As<__nv_bfloat16>(),
            .out = out.As<__nv_bfloat16>(),
            .scores = scores.As<float>(),
            .n_tokens = n_tokens,
            .n_heads = n_heads,
            .n_kv_heads = n_kv_heads,
            .scale = 1 / std::sqrt(static_cast<float>(kHeadDim))};
  }
  void Solve() {
    Reference<<<dim3(n_tokens, n_heads), 32>>>(Problem(), want.As<float>());
    AIOS_CUDA_CHECK_LAUNCH();
    AIOS_CUDA_CHECK(cudaDeviceSynchronize());
  }
  std::string Shape() const {
    return std::to_string(n_tokens) + " tokens, " + std::to_string(n_heads) + "/" +
           std::to_string(n_kv_heads) + " heads";
  }
};

// The relative error of a level, after which the level is known to be right.
double Check(const AttentionLevel& level, Case& c) {
  c.out.Poison();
  level.run(c.Problem(), nullptr);
  AIOS_CUDA_CHECK(cudaDeviceSynchronize());
  const double error = RelativeErrorBF16(c.out.As<void>(), c.want.As<float>(), c.q_size);
  // out, and from level 3 on the probabilities, are rounded to 8 bits.
  Verify(std::string(level.name) + ", " + c.Shape(), error, 4e-3);
  return error;
}

bool Runs(const AttentionLevel& level, const Flags& flags) {
  if (flags.only_level != 0 && flags.only_level != level.number) return false;
  int device = 0, major = 0;
  AIOS_CUDA_CHECK(cudaGetDevice(&device));
  AIOS_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  return major == 9 || !level.hopper_only;
}

void Main(const Flags& flags) {
  const Limits limits = MeasureLimits(/*with_gemm=*/true);
  std::printf("%s: read %.2f TB/s, bf16 products %.0f TFLOP/s\n", limits.device.c_str(),
              limits.read_bytes_s * 1e-12, limits.gemm_flop_s * 1e-12);

  struct Size {
    int n_tokens, n_heads, n_kv_heads;
    float q_scale = 1;
  };
  for (const Size& size :
       {Size{1, 1, 1}, Size{7, 3, 3}, Size{63, 4, 2}, Size{64, 4, 1}, Size{65, 2, 2},
        Size{129, 6, 2}, Size{1000, 4, 2}, Size{1000, 4, 2, 40}}) {
    Case c = {size.n_tokens, size.n_heads, size.n_kv_heads, size.q_scale};
    c.Solve();
    for (const AttentionLevel& level : Levels())
      if (Runs(level, flags)) Check(level, c);
  }

  std::vector<Row> rows;
  std::vector<int> sizes = {2048, 8192};
  if (flags.quick) sizes = {2048};
  for (const int n_tokens : sizes) {
    Case c = {n_tokens, 32, 8};
    c.Solve();
    const AttentionProblem problem = c.Problem();
    for (const AttentionLevel& level : Levels()) {
      if (!Runs(level, flags)) continue;
      const double error = Check(level, c);
      const bool is_slow = level.number == 1;
      const double seconds =
          TimeKernel([&](int, cudaStream_t stream) { level.run(problem, stream); },
                     {.launches_per_repeat = is_slow ? 1 : 5, .repeats = is_slow ? 3 : 11});
      const double pairs = 0.5 * n_tokens * (n_tokens + 1.0) * c.n_heads;
      rows.push_back({.op = "attention",
                      .level = level.number,
                      .name = level.name,
                      .shape = c.Shape(),
                      .seconds = seconds,
                      .flops = 4.0 * pairs * kHeadDim,  // two products; what is masked not counted
                      .bytes = 2.0 * (2.0 * c.q_size + 2.0 * c.kv_size),
                      .error = error,
                      .limit = limits.gemm_flop_s});
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
    std::fprintf(stderr, "ladder_attention: %s\n", e.what());
    return 1;
  }
}
