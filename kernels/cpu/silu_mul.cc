// Compiled once for each instruction set; see dequantize.cc.
#include "kernels/cpu/silu_mul.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/silu_mul.cc"
#include "hwy/foreach_target.h"  // before highway.h, which it steers
#include "hwy/highway.h"
#include "kernels/cpu/exp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace aios::kernels::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// silu(gate) * up. With t = e^-|gate|, which cannot overflow, the sigmoid is 1 / (1 + t) for a
// positive gate and t / (1 + t) for a negative one.
template <class D>
void Step(D floats, const float* gate, const float* up, float* out) {
  const auto g = hn::LoadU(floats, gate);
  const auto t = ExpOfNonPositive(floats, hn::Neg(hn::Abs(g)));
  const auto one = hn::Set(floats, 1.0F);
  const auto numerator = hn::IfThenElse(hn::Lt(g, hn::Zero(floats)), t, one);
  const auto sigmoid = hn::Div(numerator, hn::Add(one, t));
  hn::StoreU(hn::Mul(hn::Mul(g, sigmoid), hn::LoadU(floats, up)), floats, out);
}

}  // namespace

void SiluMulForTarget(const SiluMulArgs& args, int64_t begin, int64_t end) {
  const hn::CappedTag<float, 16> floats;
  const hn::CappedTag<float, 1> one;
  const auto lanes = static_cast<int64_t>(hn::Lanes(floats));
  for (int64_t row = 0; row < args.n_rows; ++row) {
    const float* gate = args.gate_up + row * 2 * args.d_ff;
    const float* up = gate + args.d_ff;
    float* out = args.out + row * args.d_ff;
    int64_t i = begin;
    for (; i + lanes <= end; i += lanes) Step(floats, gate + i, up + i, out + i);
    for (; i < end; ++i) Step(one, gate + i, up + i, out + i);
  }
}

}  // namespace aios::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace aios::kernels::cpu {

HWY_EXPORT(SiluMulForTarget);

void SiluMul(const SiluMulArgs& args, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(SiluMulForTarget)(args, begin, end);
}

}  // namespace aios::kernels::cpu
#endif  // HWY_ONCE
