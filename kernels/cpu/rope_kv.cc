// Compiled once for each instruction set; see dequantize.cc.
#include "kernels/cpu/rope_kv.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rope_kv.cc"
#include "hwy/foreach_target.h"  // before highway.h, which it steers
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace aios::kernels::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Floats = hn::CappedTag<float, 16>;
using FloatVec = hn::Vec<Floats>;

// out = in (+ bias)
void AddBias(const float* in, const float* bias, int64_t n, float* out) {
  if (bias == nullptr) {
    std::memcpy(out, in, static_cast<size_t>(n) * sizeof(float));
    return;
  }
  const Floats floats;
  const auto lanes = static_cast<int64_t>(hn::Lanes(floats));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::Add(hn::LoadU(floats, in + i), hn::LoadU(floats, bias + i)), floats, out + i);
  }
  for (; i < n; ++i) out[i] = in[i] + bias[i];
}

// RMSNorm of one head, in place.
void NormHead(const float* weight, float eps, int64_t n, float* x) {
  const Floats floats;
  const auto lanes = static_cast<int64_t>(hn::Lanes(floats));
  FloatVec sums = hn::Zero(floats);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const FloatVec value = hn::LoadU(floats, x + i);
    sums = hn::MulAdd(value, value, sums);
  }
  float rest = 0;
  for (; i < n; ++i) rest += x[i] * x[i];
  const float sum = hn::GetLane(hn::SumOfLanes(floats, sums)) + rest;
  const float scale = 1 / std::sqrt(sum / static_cast<float>(n) + eps);
  const FloatVec scales = hn::Set(floats, scale);
  for (i = 0; i + lanes <= n; i += lanes) {
    const FloatVec scaled = hn::Mul(hn::LoadU(floats, x + i), scales);
    hn::StoreU(hn::Mul(scaled, hn::LoadU(floats, weight + i)), floats, x + i);
  }
  for (; i < n; ++i) x[i] = x[i] * scale * weight[i];
}

// Turns each pair (a, b) of one head by its angle: (a cos - b sin, b cos + a sin), in place.
void Rotate(RopePairing pairing, const float* cos, const float* sin, int64_t half, float* x) {
  const Floats floats;
  const auto lanes = static_cast<int64_t>(hn::Lanes(floats));
  int64_t i = 0;
  for (; i + lanes <= half; i += lanes) {
    const FloatVec c = hn::LoadU(floats, cos + i);
    const FloatVec s = hn::LoadU(floats, sin + i);
    FloatVec a, b;
    if (pairing == RopePairing::kHalves) {
      a = hn::LoadU(floats, x + i);
      b = hn::LoadU(floats, x + half + i);
    } else {
      hn::LoadInterleaved2(floats, x + 2 * i, a, b);
    }
    const FloatVec turned_a = hn::NegMulAdd(b, s, hn::Mul(a, c));
    const FloatVec turned_b = hn::MulAdd(a, s, hn::Mul(b, c));
    if (pairing == RopePairing::kHalves) {
      hn::StoreU(turned_a, floats, x + i);
      hn::StoreU(turned_b, floats, x + half + i);
    } else {
      hn::StoreInterleaved2(turned_a, turned_b, floats, x + 2 * i);
    }
  }
  for (; i < half; ++i) {
    float& a = x[pairing == RopePairing::kHalves ? i : 2 * i];
    float& b = x[pairing == RopePairing::kHalves ? i + half : 2 * i + 1];
    const float turned_a = a * cos[i] - b * sin[i];
    b = b * cos[i] + a * sin[i];
    a = turned_a;
  }
}

}  // namespace

void RopeTokenForTarget(const RopeKvArgs& args, int64_t row, int64_t seq) {
  const int64_t head_dim = args.kv.head_dim, half = head_dim / 2;
  const int64_t n_heads = args.n_heads, n_kv_heads = args.kv.n_kv_heads;
  const int64_t position = args.batch.positions[row];
  const float* cos = args.cos + position * half;
  const float* sin = args.sin + position * half;
  const float* in = args.qkv + row * (n_heads + 2 * n_kv_heads) * head_dim;

  for (int64_t head = 0; head < n_heads + 2 * n_kv_heads; ++head) {
    const bool is_q = head < n_heads;
    const bool is_k = !is_q && head < n_heads + n_kv_heads;
    const int64_t kv_head = (head - n_heads) % n_kv_heads;
    float* to = is_q ? args.q + (row * n_heads + head) * head_dim
                     : (is_k ? args.kv.k : args.kv.v) + args.kv.Offset(seq, position, kv_head);
    AddBias(in + head * head_dim, args.bias == nullptr ? nullptr : args.bias + head * head_dim,
            head_dim, to);
    if (!is_q && !is_k) continue;  // v is stored as it is
    const float* norm = is_q ? args.q_norm : args.k_norm;
    if (norm != nullptr) NormHead(norm, args.eps, head_dim, to);
    Rotate(args.pairing, cos, sin, half, to);
  }
}

}  // namespace aios::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace aios::kernels::cpu {

HWY_EXPORT(RopeTokenForTarget);

void RopeAndStoreKv(const RopeKvArgs& args, int64_t begin, int64_t end) {
  if (begin >= end) return;
  if (args.kv.head_dim % 2 != 0) {
    throw std::invalid_argument("RopeAndStoreKv: head_dim " + std::to_string(args.kv.head_dim) +
                                " is odd");
  }
  const int32_t* offsets = args.batch.seq_offsets;
  // The sequence of the first row: the last one that begins at or before it.
  int64_t seq = std::upper_bound(offsets, offsets + args.batch.n_seqs + 1, begin) - offsets - 1;
  for (int64_t row = begin; row < end; ++row) {
    while (seq < args.batch.n_seqs && offsets[seq + 1] <= row) ++seq;  // some have no rows
    const int64_t position = args.batch.positions[row];
    const bool outside = seq >= args.batch.n_seqs || position < 0 || position >= args.max_context ||
                         position / args.kv.page_size >= args.kv.max_pages_per_seq;
    if (outside) {
      throw std::invalid_argument("RopeAndStoreKv: row " + std::to_string(row) + " at position " +
                                  std::to_string(position) + " is outside the KV cache");
    }
    const int32_t page =
        args.kv.page_table[seq * args.kv.max_pages_per_seq + position / args.kv.page_size];
    if (page < 0 || page >= args.kv.n_pages) {
      throw std::invalid_argument("RopeAndStoreKv: page " + std::to_string(page) + " of " +
                                  std::to_string(args.kv.n_pages) + " does not exist");
    }
    HWY_DYNAMIC_DISPATCH(RopeTokenForTarget)(args, row, seq);
  }
}

}  // namespace aios::kernels::cpu
#endif  // HWY_ONCE
