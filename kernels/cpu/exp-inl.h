// e^x on vectors, for x <= 0: all that softmax and the sigmoid need. Included by files that are
// compiled once for each instruction set, hence the guard that is toggled.
#if defined(AIOS_KERNELS_CPU_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef AIOS_KERNELS_CPU_EXP_INL_H_
#undef AIOS_KERNELS_CPU_EXP_INL_H_
#else
#define AIOS_KERNELS_CPU_EXP_INL_H_
#endif

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace aios::kernels::cpu::HWY_NAMESPACE {

// Within 2 units in the last place of e^x for x in [-87, 0]; 0 below, where floats become
// subnormal; NaN for NaN (hwy's own Exp makes that 0, which would hide a broken model).
//
// x = n ln 2 + r with n whole and |r| <= ln 2 / 2, so that e^x = 2^n e^r. The series of e^r ends
// after r^7 / 7!: what is left out is r^8 / 8! < 6e-9 of it, a tenth of a float's rounding.
template <class D, class V = hwy::HWY_NAMESPACE::Vec<D>>
HWY_INLINE V ExpOfNonPositive(D floats, V x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::RebindToSigned<D> ints;
  const V lowest = hn::Set(floats, -87.0F);
  const auto vanishes = hn::Lt(x, lowest);
  const V n = hn::Round(hn::Mul(x, hn::Set(floats, 1.44269504F)));
  // ln 2 in two parts, the first with so few bits that its product with n is exact.
  V r = hn::NegMulAdd(n, hn::Set(floats, 0.693359375F), x);
  r = hn::NegMulAdd(n, hn::Set(floats, -2.12194440e-4F), r);
  V series = hn::Set(floats, 1.0F / 5040);
  series = hn::MulAdd(series, r, hn::Set(floats, 1.0F / 720));
  series = hn::MulAdd(series, r, hn::Set(floats, 1.0F / 120));
  series = hn::MulAdd(series, r, hn::Set(floats, 1.0F / 24));
  series = hn::MulAdd(series, r, hn::Set(floats, 1.0F / 6));
  series = hn::MulAdd(series, r, hn::Set(floats, 0.5F));
  series = hn::MulAdd(series, r, hn::Set(floats, 1.0F));
  series = hn::MulAdd(series, r, hn::Set(floats, 1.0F));
  // 2^n by its exponent bits; n >= -126 where it counts.
  const auto exponent = hn::Add(hn::ConvertTo(ints, n), hn::Set(ints, 127));
  const V power = hn::BitCast(floats, hn::ShiftLeft<23>(exponent));
  return hn::IfThenZeroElse(vanishes, hn::Mul(series, power));
}

}  // namespace aios::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the toggled guard
