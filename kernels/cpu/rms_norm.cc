// Compiled once for each instruction set; see dequantize.cc.
#include "kernels/cpu/rms_norm.h"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rms_norm.cc"
#include "hwy/foreach_target.h"  // before highway.h, which it steers
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace aios::kernels::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Floats = hn::CappedTag<float, 16>;
using FloatVec = hn::Vec<Floats>;

// Four accumulators: one alone would wait for its own addition 4 cycles each time.
float SumSquares(const float* x, int64_t n) {
  const Floats floats;
  const auto lanes = static_cast<int64_t>(hn::Lanes(floats));
  FloatVec sums[4] = {hn::Zero(floats), hn::Zero(floats), hn::Zero(floats), hn::Zero(floats)};
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    for (int j = 0; j < 4; ++j) {
      const FloatVec value = hn::LoadU(floats, x + i + j * lanes);
      sums[j] = hn::MulAdd(value, value, sums[j]);
    }
  }
  float rest = 0;
  for (; i < n; ++i) rest += x[i] * x[i];
  const FloatVec sum = hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]));
  return hn::GetLane(hn::SumOfLanes(floats, sum)) + rest;
}

void ScaleRow(const float* x, const float* weight, float scale, int64_t n, float* out) {
  const Floats floats;
  const auto lanes = static_cast<int64_t>(hn::Lanes(floats));
  const FloatVec scales = hn::Set(floats, scale);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const FloatVec scaled = hn::Mul(hn::LoadU(floats, x + i), scales);
    hn::StoreU(hn::Mul(scaled, hn::LoadU(floats, weight + i)), floats, out + i);
  }
  for (; i < n; ++i) out[i] = x[i] * scale * weight[i];
}

}  // namespace

void RmsNormForTarget(const RmsNormArgs& args, int64_t begin, int64_t end) {
  const int64_t d_model = args.d_model;
  for (int64_t row = begin; row < end; ++row) {
    const float* x = args.x + row * d_model;
    const float mean = SumSquares(x, d_model) / static_cast<float>(d_model);
    const float scale = 1 / std::sqrt(mean + args.eps);
    ScaleRow(x, args.weight, scale, d_model, args.out + row * d_model);
  }
}

}  // namespace aios::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace aios::kernels::cpu {

HWY_EXPORT(RmsNormForTarget);

void RmsNorm(const RmsNormArgs& args, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(RmsNormForTarget)(args, begin, end);
}

}  // namespace aios::kernels::cpu
#endif  // HWY_ONCE
