// Compiled once for each instruction set; see dequantize.cc.
//
// A task has up to kMaxQueries query vectors (rows x heads of the group) and walks the keys in
// tiles of kTile, counted from position 0:
//   1. the tile of K is transposed, so that a vector holds the same number of 16 keys (AVX-512);
//   2. scores[query][key] = q . k, in register tiles of kRows queries x 2 vectors of keys;
//   3. the online softmax turns scores into weights, and tells each query by which factor what it
//      has gathered so far shrinks;
//   4. acc[query] += weights . V, in register tiles of kRows queries x 2 vectors of head_dim.
// Every sum runs in an order that the tile fixes: over head_dim from 0 (2.), over the keys of the
// tile (3., 4.); how many queries share a register tile changes none. Keys that a query must not
// see are not multiplied by zero but left out, so that they may be anything, NaN too.
#include "kernels/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention.cc"
#include "hwy/foreach_target.h"  // before highway.h, which it steers
#include "hwy/highway.h"
#include "kernels/cpu/exp-inl.h"

#ifndef AIOS_KERNELS_CPU_ATTENTION_ONCE  // this part is the same for all instruction sets
#define AIOS_KERNELS_CPU_ATTENTION_ONCE
namespace aios::kernels::cpu {
namespace {

constexpr int64_t kTile = 128;       // keys; a multiple of all vectors' lanes
constexpr int64_t kMaxQueries = 64;  // of a task, unless one row has more
constexpr int64_t kPad = 32;         // scratch rows are whole pairs of vectors
// From one row of the transposed tile to the next: 9 cache lines. 8 would put a whole column, which
// Transpose writes, into 8 of an L1 cache's 64 sets.
constexpr int64_t kTileStride = kTile + 16;

int64_t GroupSize(const AttentionArgs& args) { return args.n_heads / args.kv.n_kv_heads; }
int64_t RowsPerTask(const AttentionArgs& args) {
  return std::max<int64_t>(1, kMaxQueries / GroupSize(args));
}
int64_t PaddedHeadDim(const AttentionArgs& args) {
  return (args.kv.head_dim + kPad - 1) / kPad * kPad;
}

struct Task {
  int64_t seq = 0;
  int64_t kv_head = 0;
  int64_t first_row = 0;  // of the batch
  int64_t n_rows = 0;
};

}  // namespace
}  // namespace aios::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace aios::kernels::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Floats = hn::CappedTag<float, 16>;
using FloatVec = hn::Vec<Floats>;

constexpr int kRows = 4;  // with 2 vectors: 8 sums, as many as 2 FMA units x 4 cycles keep going

// keys [n_keys, head_dim] -> columns of `transposed` [head_dim, kTileStride]
void Transpose(const float* keys, int64_t n_keys, int64_t head_dim, float* transposed) {
  int64_t key = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::CappedTag<float, 4> four;
  const hn::Repartition<double, decltype(four)> two;
  for (; key + 4 <= n_keys; key += 4) {
    const float* from = keys + key * head_dim;
    int64_t d = 0;
    for (; d + 4 <= head_dim; d += 4) {
      const auto a = hn::LoadU(four, from + d);
      const auto b = hn::LoadU(four, from + head_dim + d);
      const auto c = hn::LoadU(four, from + 2 * head_dim + d);
      const auto e = hn::LoadU(four, from + 3 * head_dim + d);
      const auto ab_low = hn::BitCast(two, hn::InterleaveLower(four, a, b));
      const auto ab_high = hn::BitCast(two, hn::InterleaveUpper(four, a, b));
      const auto ce_low = hn::BitCast(two, hn::InterleaveLower(four, c, e));
      const auto ce_high = hn::BitCast(two, hn::InterleaveUpper(four, c, e));
      float* to = transposed + d * kTileStride + key;
      hn::StoreU(hn::BitCast(four, hn::InterleaveLower(two, ab_low, ce_low)), four, to);
      hn::StoreU(hn::BitCast(four, hn::InterleaveUpper(two, ab_low, ce_low)), four,
                 to + kTileStride);
      hn::StoreU(hn::BitCast(four, hn::InterleaveLower(two, ab_high, ce_high)), four,
                 to + 2 * kTileStride);
      hn::StoreU(hn::BitCast(four, hn::InterleaveUpper(two, ab_high, ce_high)), four,
                 to + 3 * kTileStride);
    }
    for (; d < head_dim; ++d) {
      for (int64_t i = 0; i < 4; ++i)
        transposed[d * kTileStride + key + i] = from[i * head_dim + d];
    }
  }
#endif
  for (; key < n_keys; ++key) {
    for (int64_t d = 0; d < head_dim; ++d) {
      transposed[d * kTileStride + key] = keys[key * head_dim + d];
    }
  }
}

// scores[r][key] = sum over d of q[r][d] * transposed[d][key], for kN queries and the tile's first
// n_keys keys (and those that fill up the last pair of vectors).
template <int kN>
void Scores(const float* q, int64_t q_stride, const float* transposed, int64_t head_dim,
            int64_t n_keys, float* scores) {
  const Floats floats;
  const auto lanes = static_cast<int64_t>(hn::Lanes(floats));
  for (int64_t key = 0; key < n_keys; key += 2 * lanes) {
    FloatVec sums[kN][2];
    for (int r = 0; r < kN; ++r) sums[r][0] = sums[r][1] = hn::Zero(floats);
    for (int64_t d = 0; d < head_dim; ++d) {
      const FloatVec k0 = hn::LoadU(floats, transposed + d * kTileStride + key);
      const FloatVec k1 = hn::LoadU(floats, transposed + d * kTileStride + key + lanes);
      for (int r = 0; r < kN; ++r) {
        const FloatVec x = hn::Set(floats, q[r * q_stride + d]);
        sums[r][0] = hn::MulAdd(x, k0, sums[r][0]);
        sums[r][1] = hn::MulAdd(x, k1, sums[r][1]);
      }
    }
    for (int r = 0; r < kN; ++r) {
      hn::StoreU(sums[r][0], floats, scores + r * kTile + key);
      hn::StoreU(sums[r][1], floats, scores + r * kTile + key + lanes);
    }
  }
}

// scores -> weights e^(score - max), in place; `max` and `sum` are those of all keys so far.
// Returns the factor by which earlier weights are too large now.
float OnlineSoftmax(int64_t n_keys, float* scores, float& max, float& sum) {
  const Floats floats;
  const auto lanes = static_cast<int64_t>(hn::Lanes(floats));
  const int64_t end = (n_keys + lanes - 1) / lanes * lanes;
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  for (int64_t key = n_keys; key < end; ++key) scores[key] = kLowest;  // weight 0
  FloatVec maxima = hn::Set(floats, max);
  for (int64_t key = 0; key < end; key += lanes) {
    maxima = hn::Max(maxima, hn::LoadU(floats, scores + key));
  }
  const float new_max = hn::GetLane(hn::MaxOfLanes(floats, maxima));
  const FloatVec shift = hn::Set(floats, new_max);
  FloatVec sums = hn::Zero(floats);
  for (int64_t key = 0; key < end; key += lanes) {
    const FloatVec score = hn::LoadU(floats, scores + key);
    const FloatVec weight = ExpOfNonPositive(floats, hn::Sub(score, shift));
    hn::StoreU(weight, floats, scores + key);
    sums = hn::Add(sums, weight);
  }
  // The same e^x as the weights'; the first tile has nothing to shrink.
  const float shrink =
      max == kLowest ? 0 : hn::GetLane(ExpOfNonPositive(floats, hn::Set(floats, max - new_max)));
  sum = sum * shrink + hn::GetLane(hn::SumOfLanes(floats, sums));
  max = new_max;
  return shrink;
}

// acc[r] += sum over keys of weights[r][key] * v[key], for kN queries.
template <int kN>
void AddValues(const float* weights, const float* v, int64_t n_keys, int64_t head_dim,
               int64_t acc_stride, float* acc) {
  const Floats floats;
  const auto lanes = static_cast<int64_t>(hn::Lanes(floats));
  int64_t d = 0;
  for (; d + 2 * lanes <= head_dim; d += 2 * lanes) {
    FloatVec sums[kN][2];
    for (int r = 0; r < kN; ++r) {
      sums[r][0] = hn::LoadU(floats, acc + r * acc_stride + d);
      sums[r][1] = hn::LoadU(floats, acc + r * acc_stride + d + lanes);
    }
    for (int64_t key = 0; key < n_keys; ++key) {
      const FloatVec v0 = hn::LoadU(floats, v + key * head_dim + d);
      const FloatVec v1 = hn::LoadU(floats, v + key * head_dim + d + lanes);
      for (int r = 0; r < kN; ++r) {
        const FloatVec weight = hn::Set(floats, weights[r * kTile + key]);
        sums[r][0] = hn::MulAdd(weight, v0, sums[r][0]);
        sums[r][1] = hn::MulAdd(weight, v1, sums[r][1]);
      }
    }
    for (int r = 0; r < kN; ++r) {
      hn::StoreU(sums[r][0], floats, acc + r * acc_stride + d);
      hn::StoreU(sums[r][1], floats, acc + r * acc_stride + d + lanes);
    }
  }
  for (; d + lanes <= head_dim; d += lanes) {
    FloatVec sums[kN];
    for (int r = 0; r < kN; ++r) sums[r] = hn::LoadU(floats, acc + r * acc_stride + d);
    for (int64_t key = 0; key < n_keys; ++key) {
      const FloatVec v0 = hn::LoadU(floats, v + key * head_dim + d);
      for (int r = 0; r < kN; ++r) {
        sums[r] = hn::MulAdd(hn::Set(floats, weights[r * kTile + key]), v0, sums[r]);
      }
    }
    for (int r = 0; r < kN; ++r) hn::StoreU(sums[r], floats, acc + r * acc_stride + d);
  }
  for (; d < head_dim; ++d) {
    for (int r = 0; r < kN; ++r) {
      float& sum = acc[r * acc_stride + d];
      for (int64_t key = 0; key < n_keys; ++key) {
        sum += weights[r * kTile + key] * v[key * head_dim + d];
      }
    }
  }
}

// Calls tile(i, number) for queries [begin, end), kRows at a time and then the rest; the compiler
// knows `number`.
template <class Tile>
void ForEachRegisterTile(int64_t begin, int64_t end, const Tile& tile) {
  static_assert(kRows == 4);
  for (; begin + kRows <= end; begin += kRows) tile(begin, std::integral_constant<int, kRows>());
  if (end - begin == 3) tile(begin, std::integral_constant<int, 3>());
  if (end - begin == 2) tile(begin, std::integral_constant<int, 2>());
  if (end - begin == 1) tile(begin, std::integral_constant<int, 1>());
}

void Scale(float factor, int64_t n, float* x) {
  const Floats floats;
  const FloatVec factors = hn::Set(floats, factor);
  for (int64_t i = 0; i < n; i += static_cast<int64_t>(hn::Lanes(floats))) {
    hn::StoreU(hn::Mul(hn::LoadU(floats, x + i), factors), floats, x + i);
  }
}

}  // namespace

void AttentionTaskForTarget(const AttentionArgs& args, const Task& task, float* scratch) {
  const int64_t head_dim = args.kv.head_dim, padded = PaddedHeadDim(args);
  const int64_t group = GroupSize(args), page_size = args.kv.page_size;
  const int64_t n_queries = task.n_rows * group;
  const int64_t max_queries = RowsPerTask(args) * group;
  float* q = scratch;                               // [n_queries, padded], scaled
  float* acc = q + max_queries * padded;            // [n_queries, padded]
  float* scores = acc + max_queries * padded;       // [n_queries, kTile]
  float* k_tile = scores + max_queries * kTile;     // [head_dim, kTileStride]
  float* maxima = k_tile + head_dim * kTileStride;  // [n_queries]
  float* sums = maxima + max_queries;               // [n_queries]

  // Query i is head i % group of row i / group: positions do not fall.
  const auto index = [&](int64_t i) {
    const int64_t row = task.first_row + i / group;
    return (row * args.n_heads + task.kv_head * group + i % group) * head_dim;
  };
  const auto position = [&](int64_t i) -> int64_t {
    return args.batch.positions[task.first_row + i / group];
  };
  const float scale = 1 / std::sqrt(static_cast<float>(head_dim));
  for (int64_t i = 0; i < n_queries; ++i) {
    const float* from = args.q + index(i);
    for (int64_t d = 0; d < head_dim; ++d) q[i * padded + d] = from[d] * scale;
  }
  std::fill(acc, acc + n_queries * padded, 0.0F);
  std::fill(maxima, maxima + n_queries, -std::numeric_limits<float>::infinity());
  std::fill(sums, sums + n_queries, 0.0F);

  const int64_t n_keys = position(n_queries - 1) + 1;
  for (int64_t begin = 0; begin < n_keys; begin += kTile) {
    const int64_t tile_keys = std::min(kTile, n_keys - begin);
    // How many keys of the tile query i sees.
    const auto visible = [&](int64_t i) {
      return std::clamp<int64_t>(position(i) + 1 - begin, 0, tile_keys);
    };
    int64_t first = 0;  // the first query that sees any
    while (visible(first) == 0) ++first;

    for (int64_t key = 0; key < tile_keys;) {
      const int64_t run = std::min(tile_keys - key, page_size - (begin + key) % page_size);
      Transpose(args.kv.k + args.kv.Offset(task.seq, begin + key, task.kv_head), run, head_dim,
                k_tile + key);
      key += run;
    }
    // Lanes past the last key: nobody reads their scores, but they should not be subnormal or NaN.
    const int64_t filled = (tile_keys + kPad - 1) / kPad * kPad;
    for (int64_t d = 0; d < head_dim && filled > tile_keys; ++d) {
      std::fill(k_tile + d * kTileStride + tile_keys, k_tile + d * kTileStride + filled, 0.0F);
    }
    ForEachRegisterTile(first, n_queries, [&](int64_t i, auto number) {
      Scores<number>(q + i * padded, padded, k_tile, head_dim, visible(i + number - 1),
                     scores + i * kTile);
    });

    for (int64_t i = first; i < n_queries; ++i) {
      const float shrink = OnlineSoftmax(visible(i), scores + i * kTile, maxima[i], sums[i]);
      if (shrink != 1) Scale(shrink, padded, acc + i * padded);
    }

    for (int64_t key = 0; key < tile_keys;) {
      const int64_t run = std::min(tile_keys - key, page_size - (begin + key) % page_size);
      const float* v = args.kv.v + args.kv.Offset(task.seq, begin + key, task.kv_head);
      const auto seen = [&](int64_t i) { return std::clamp<int64_t>(visible(i) - key, 0, run); };
      ForEachRegisterTile(first, n_queries, [&](int64_t i, auto number) {
        const int64_t all = seen(i);  // what all of them see; then each the rest of its own
        AddValues<number>(scores + i * kTile + key, v, all, head_dim, padded, acc + i * padded);
        for (int64_t j = i + 1; j < i + number; ++j) {
          AddValues<1>(scores + j * kTile + key + all, v + all * head_dim, seen(j) - all, head_dim,
                       padded, acc + j * padded);
        }
      });
      key += run;
    }
  }

  for (int64_t i = 0; i < n_queries; ++i) {
    float* out = args.out + index(i);
    const float inverse = 1 / sums[i];
    for (int64_t d = 0; d < head_dim; ++d) out[d] = acc[i * padded + d] * inverse;
  }
}

}  // namespace aios::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace aios::kernels::cpu {

HWY_EXPORT(AttentionTaskForTarget);

int64_t CountAttentionTasks(const AttentionArgs& args) {
  if (args.kv.n_kv_heads <= 0 || args.n_heads % args.kv.n_kv_heads != 0) {
    throw std::invalid_argument("Attention: " + std::to_string(args.n_heads) +
                                " query heads do not share " + std::to_string(args.kv.n_kv_heads) +
                                " kv heads evenly");
  }
  const int64_t rows_per_task = RowsPerTask(args);
  int64_t n_tasks = 0;
  for (int64_t s = 0; s < args.batch.n_seqs; ++s) {
    const int64_t n_rows = args.batch.seq_offsets[s + 1] - args.batch.seq_offsets[s];
    n_tasks += (n_rows + rows_per_task - 1) / rows_per_task * args.kv.n_kv_heads;
  }
  return n_tasks;
}

int64_t AttentionScratchFloats(const AttentionArgs& args) {
  const int64_t n_queries = RowsPerTask(args) * GroupSize(args);
  return n_queries * (2 * PaddedHeadDim(args) + kTile + 2) + args.kv.head_dim * kTileStride;
}

void Attention(const AttentionArgs& args, int64_t begin, int64_t end, float* scratch) {
  const int64_t rows_per_task = RowsPerTask(args);
  int64_t first = 0;  // the sequence's first task
  for (int64_t s = 0; s < args.batch.n_seqs && first < end; ++s) {
    const int64_t first_row = args.batch.seq_offsets[s];
    const int64_t n_rows = args.batch.seq_offsets[s + 1] - first_row;
    const int64_t n_blocks = (n_rows + rows_per_task - 1) / rows_per_task;
    const int64_t last = first + n_blocks * args.kv.n_kv_heads;
    for (int64_t t = std::max(begin, first); t < std::min(end, last); ++t) {
      // The blocks of one kv head follow one another: its K and V stay in the cache.
      const int64_t block = (t - first) % n_blocks;
      const Task task = {.seq = s,
                         .kv_head = (t - first) / n_blocks,
                         .first_row = first_row + block * rows_per_task,
                         .n_rows = std::min(rows_per_task, n_rows - block * rows_per_task)};
      HWY_DYNAMIC_DISPATCH(AttentionTaskForTarget)(args, task, scratch);
    }
    first = last;
  }
}

}  // namespace aios::kernels::cpu
#endif  // HWY_ONCE
