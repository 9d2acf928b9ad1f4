// Highway compiles this file once for each instruction set, each time in another namespace
// (HWY_NAMESPACE), and takes the best one that the machine has when the function is called.
#include "rms_norm_simd.h"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE __BASE_FILE__  // this file
#include "hwy/foreach_target.h"  // before highway.h, which it steers
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace aios::exercise::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

void RmsNormForTarget(const float* x, const float* weight, float eps, int64_t n, float* out) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  // BEGIN SOLUTION
  // STUB: (void)lanes;
  auto sum_0 = hn::Zero(d);
  auto sum_1 = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto x_0 = hn::LoadU(d, x + i);
    const auto x_1 = hn::LoadU(d, x + i + lanes);
    sum_0 = hn::MulAdd(x_0, x_0, sum_0);
    sum_1 = hn::MulAdd(x_1, x_1, sum_1);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(sum_0, sum_1)));
  for (; i < n; ++i) sum += x[i] * x[i];

  const float scale = 1 / std::sqrt(sum / static_cast<float>(n) + eps);
  const auto scales = hn::Set(d, scale);
  for (i = 0; i + lanes <= n; i += lanes) {
    const auto scaled = hn::Mul(hn::LoadU(d, x + i), scales);
    hn::StoreU(hn::Mul(scaled, hn::LoadU(d, weight + i)), d, out + i);
  }
  for (; i < n; ++i) out[i] = x[i] * scale * weight[i];
  // END SOLUTION
}

}  // namespace aios::exercise::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace aios::exercise {

HWY_EXPORT(RmsNormForTarget);

void RmsNorm(const float* x, const float* weight, float eps, int64_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(RmsNormForTarget)(x, weight, eps, n, out);
}

}  // namespace aios::exercise
#endif  // HWY_ONCE
