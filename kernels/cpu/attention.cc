// Compiled once for each instruction set; see dequantize.cc.
//
// A task has up to kMaxQueries query vectors (rows x heads of the group) and walks the keys in
// tiles of kTile, counted from position 0:
//   1. scores[query][key] = q . k: for many queries the tile of K is transposed first, so that a
//      vector holds the same number of 16 keys (AVX-512); for few that is done in registers;
//   2. the online softmax turns scores into weights, and tells each query by which factor what it
//      has gathered so far shrinks;
//   3. acc[query] += weights . V.
// Keys that a query must not see are not multiplied by zero but left out, so that they may be
// anything, NaN too.
//
// In two steps, 1. is for all tiles before 2. and 3.; then tasks share the keys (1.), or numbers of
// the head (3.), of which each is a sum of its own: no sum changes its order.
#include "kernels/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention.cc"
#include "hwy/foreach_target.h"  // before highway.h, which it steers
#include "hwy/highway.h"
#include "kernels/cpu/attention_tile-inl.h"

#ifndef AIOS_KERNELS_CPU_ATTENTION_ONCE  // this part is the same for all instruction sets
#define AIOS_KERNELS_CPU_ATTENTION_ONCE
namespace aios::kernels::cpu {
namespace {

constexpr int64_t kMaxQueries = 64;  // of a task, unless one row has more
constexpr int64_t kFewQueries = 8;   // for more than these it pays to transpose a tile
constexpr int64_t kScoreKeys = 64;   // of a task of AttentionScores; divides kTile
constexpr int64_t kPart = kPad;      // numbers of a head, of a task of AttentionValues
static_assert(kTile % kScoreKeys == 0);

int64_t GroupSize(const AttentionArgs& args) { return args.n_heads / args.kv.n_kv_heads; }
int64_t RowsPerTask(const AttentionArgs& args) {
  return std::max<int64_t>(1, kMaxQueries / GroupSize(args));
}
int64_t MaxQueries(const AttentionArgs& args) { return RowsPerTask(args) * GroupSize(args); }
int64_t RoundUp(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }
int64_t PaddedHeadDim(const AttentionArgs& args) { return RoundUp(args.kv.head_dim, kPad); }

struct Task {
  int64_t seq = 0;
  int64_t kv_head = 0;
  int64_t first_row = 0;  // of the batch
  int64_t n_rows = 0;
};

// Its queries: number i is head i % group of row i / group, so that positions do not fall.
struct Queries {
  Queries(const AttentionArgs& a, const Task& t)
      : args(a), task(t), group(GroupSize(a)), n(t.n_rows * group) {}

  // Where query i is in q and in out.
  int64_t Index(int64_t i) const {
    const int64_t row = task.first_row + i / group;
    return (row * args.n_heads + task.kv_head * group + i % group) * args.kv.head_dim;
  }
  int64_t Position(int64_t i) const { return args.batch.positions[task.first_row + i / group]; }
  int64_t NumKeys() const { return Position(n - 1) + 1; }
  // How many of the n_keys keys from `begin` on query i sees.
  int64_t Visible(int64_t i, int64_t begin, int64_t n_keys) const {
    return std::clamp<int64_t>(Position(i) + 1 - begin, 0, n_keys);
  }
  // The first query that sees any key from `begin` on, of which the last one does.
  int64_t First(int64_t begin) const {
    int64_t i = 0;
    while (Position(i) < begin) ++i;
    return i;
  }

  const AttentionArgs& args;
  const Task& task;
  int64_t group;
  int64_t n;
};

// What a task needs for itself, cut out of its scratch memory.
struct TaskScratch {
  TaskScratch(const AttentionArgs& args, float* memory)
      : q(memory),
        acc(q + MaxQueries(args) * PaddedHeadDim(args)),
        scores(acc + MaxQueries(args) * PaddedHeadDim(args)),
        k_tile(scores + MaxQueries(args) * kTile),
        maxima(k_tile + args.kv.head_dim * kTileStride),
        sums(maxima + MaxQueries(args)) {}
  float* End(const AttentionArgs& args) const { return sums + MaxQueries(args); }

  float* q;       // [n_queries, padded], scaled
  float* acc;     // [n_queries, padded]
  float* scores;  // [n_queries, kTile]
  float* k_tile;  // [head_dim, kTileStride]
  float* maxima;  // [n_queries]
  float* sums;    // [n_queries]
};

}  // namespace
}  // namespace aios::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace aios::kernels::cpu::HWY_NAMESPACE {
namespace {

void ScaleQueries(const Queries& queries, const TaskScratch& scratch) {
  const int64_t head_dim = queries.args.kv.head_dim, padded = PaddedHeadDim(queries.args);
  const float scale = 1 / std::sqrt(static_cast<float>(head_dim));
  for (int64_t i = 0; i < queries.n; ++i) {
    const float* from = queries.args.q + queries.Index(i);
    for (int64_t d = 0; d < head_dim; ++d) scratch.q[i * padded + d] = from[d] * scale;
  }
}

// scores[query][key] for n_keys keys from `begin` on, n_keys <= kTile, of the queries that see any.
void TileScores(const Queries& queries, const TaskScratch& scratch, int64_t begin, int64_t n_keys,
                float* scores, int64_t scores_stride) {
  const KvView& kv = queries.args.kv;
  const int64_t head_dim = kv.head_dim, padded = PaddedHeadDim(queries.args);
  const int64_t first = queries.First(begin);
  const auto keys_at = [&](int64_t key) {
    return kv.k + kv.Offset(queries.task.seq, begin + key, queries.task.kv_head);
  };
  if (queries.n - first <= kFewQueries) {
    int64_t left_of_page = 0;  // keys from `next` on
    const float* next = nullptr;
    for (int64_t key = 0; key < n_keys; key += kLanes) {
      const float* keys[kLanes];
      for (int64_t i = 0; i < kLanes; ++i) {
        // Those past the last key repeat it: nobody reads their scores.
        if (key + i >= n_keys) {
          keys[i] = keys[i - 1];
          continue;
        }
        if (left_of_page == 0) {
          left_of_page = kv.page_size - (begin + key + i) % kv.page_size;
          next = keys_at(key + i);
        }
        keys[i] = next;
        next += head_dim;
        --left_of_page;
      }
      ForEachRegisterTile(first, queries.n, [&](int64_t i, auto number) {
        ScoresOfFew<number>(scratch.q + i * padded, padded, keys, head_dim,
                            scores + i * scores_stride + key, scores_stride);
      });
    }
    return;
  }
  for (int64_t key = 0; key < n_keys;) {
    const int64_t run = std::min(n_keys - key, kv.page_size - (begin + key) % kv.page_size);
    Transpose(keys_at(key), run, head_dim, scratch.k_tile + key);
    key += run;
  }
  // Lanes past the last key: nobody reads their scores, but they should not be subnormal or NaN.
  const int64_t filled = RoundUp(n_keys, kPad);
  for (int64_t d = 0; d < head_dim && filled > n_keys; ++d) {
    float* row = scratch.k_tile + d * kTileStride;
    std::fill(row + n_keys, row + filled, 0.0F);
  }
  ForEachRegisterTile(first, queries.n, [&](int64_t i, auto number) {
    Scores<number>(scratch.q + i * padded, padded, scratch.k_tile, head_dim,
                   queries.Visible(i + number - 1, begin, n_keys), scores + i * scores_stride,
                   scores_stride);
  });
}

void BeginValues(const Queries& queries, const TaskScratch& scratch) {
  std::fill_n(scratch.acc, queries.n * PaddedHeadDim(queries.args), 0.0F);
  std::fill_n(scratch.maxima, queries.n, -std::numeric_limits<float>::infinity());
  std::fill_n(scratch.sums, queries.n, 0.0F);
}

// The tile's scores become weights, and its values, numbers [part, part_end) of them, are added.
void TileValues(const Queries& queries, const TaskScratch& scratch, int64_t begin, int64_t n_keys,
                int64_t part, int64_t part_end) {
  const KvView& kv = queries.args.kv;
  const int64_t padded = PaddedHeadDim(queries.args);
  const int64_t first = queries.First(begin);
  for (int64_t i = first; i < queries.n; ++i) {
    const float shrink =
        OnlineSoftmax(queries.Visible(i, begin, n_keys), scratch.scores + i * kTile,
                      scratch.maxima[i], scratch.sums[i]);
    if (shrink != 1) {
      Scale(shrink, RoundUp(part_end - part, kPad), scratch.acc + i * padded + part);
    }
  }
  for (int64_t key = 0; key < n_keys;) {
    const int64_t run = std::min(n_keys - key, kv.page_size - (begin + key) % kv.page_size);
    const float* v = kv.v + kv.Offset(queries.task.seq, begin + key, queries.task.kv_head) + part;
    const auto seen = [&](int64_t i) {
      return std::clamp<int64_t>(queries.Visible(i, begin, n_keys) - key, 0, run);
    };
    ForEachRegisterTile(first, queries.n, [&](int64_t i, auto number) {
      const auto add = [&](int64_t query, auto n, int64_t from, int64_t to) {
        AddValues<n>(scratch.scores + query * kTile + key + from, v + from * kv.head_dim, to - from,
                     kv.head_dim, part_end - part, padded, scratch.acc + query * padded + part);
      };
      const int64_t all = seen(i);  // what all of them see; then each the rest of its own
      add(i, number, 0, all);
      for (int64_t j = i + 1; j < i + number; ++j) {
        add(j, std::integral_constant<int, 1>(), all, seen(j));
      }
    });
    key += run;
  }
}

void EndValues(const Queries& queries, const TaskScratch& scratch, int64_t part, int64_t part_end) {
  for (int64_t i = 0; i < queries.n; ++i) {
    float* out = queries.args.out + queries.Index(i);
    const float* acc = scratch.acc + i * PaddedHeadDim(queries.args);
    const float inverse = 1 / scratch.sums[i];
    for (int64_t d = part; d < part_end; ++d) out[d] = acc[d] * inverse;
  }
}

}  // namespace

void AttentionTaskForTarget(const AttentionArgs& args, const Task& task, float* memory) {
  const Queries queries(args, task);
  const TaskScratch scratch(args, memory);
  ScaleQueries(queries, scratch);
  BeginValues(queries, scratch);
  for (int64_t begin = 0; begin < queries.NumKeys(); begin += kTile) {
    const int64_t n_keys = std::min(kTile, queries.NumKeys() - begin);
    TileScores(queries, scratch, begin, n_keys, scratch.scores, kTile);
    TileValues(queries, scratch, begin, n_keys, 0, args.kv.head_dim);
  }
  EndValues(queries, scratch, 0, args.kv.head_dim);
}

// Of the keys from `begin` on; scores: [n_queries, stride], from key 0.
void ScoresForTarget(const AttentionArgs& args, const Task& task, int64_t begin, float* scores,
                     int64_t stride, float* memory) {
  const Queries queries(args, task);
  if (begin >= queries.NumKeys()) return;
  const TaskScratch scratch(args, memory);
  ScaleQueries(queries, scratch);
  TileScores(queries, scratch, begin, std::min(kScoreKeys, queries.NumKeys() - begin),
             scores + begin, stride);
}

// Of numbers [part, part_end) of the heads.
void ValuesForTarget(const AttentionArgs& args, const Task& task, int64_t part, int64_t part_end,
                     const float* scores, int64_t stride, float* memory) {
  const Queries queries(args, task);
  const TaskScratch scratch(args, memory);
  BeginValues(queries, scratch);
  for (int64_t begin = 0; begin < queries.NumKeys(); begin += kTile) {
    const int64_t n_keys = std::min(kTile, queries.NumKeys() - begin);
    for (int64_t i = queries.First(begin); i < queries.n; ++i) {
      std::copy_n(scores + i * stride + begin, n_keys, scratch.scores + i * kTile);
    }
    TileValues(queries, scratch, begin, n_keys, part, part_end);
  }
  EndValues(queries, scratch, part, part_end);
}

}  // namespace aios::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace aios::kernels::cpu {

HWY_EXPORT(AttentionTaskForTarget);
HWY_EXPORT(ScoresForTarget);
HWY_EXPORT(ValuesForTarget);

namespace {

int64_t NumRows(const AttentionArgs& args, int64_t seq) {
  return args.batch.seq_offsets[seq + 1] - args.batch.seq_offsets[seq];
}

int64_t NumBlocks(const AttentionArgs& args, int64_t seq) {
  return (NumRows(args, seq) + RowsPerTask(args) - 1) / RowsPerTask(args);
}

// Calls fn(task) for tasks [begin, end).
template <class Fn>
void ForEachTask(const AttentionArgs& args, int64_t begin, int64_t end, const Fn& fn) {
  const int64_t rows_per_task = RowsPerTask(args);
  int64_t first = 0;  // the sequence's first task
  for (int64_t s = 0; s < args.batch.n_seqs && first < end; ++s) {
    const int64_t n_blocks = NumBlocks(args, s);
    const int64_t last = first + n_blocks * args.kv.n_kv_heads;
    for (int64_t t = std::max(begin, first); t < std::min(end, last); ++t) {
      // The blocks of one kv head follow one another: its K and V stay in the cache.
      const int64_t row = (t - first) % n_blocks * rows_per_task;
      fn(Task{.seq = s,
              .kv_head = (t - first) / n_blocks,
              .first_row = args.batch.seq_offsets[s] + row,
              .n_rows = std::min(rows_per_task, NumRows(args, s) - row)});
    }
    first = last;
  }
}

// In two steps: the scores of a task are [ScoresQueries, ScoresStride] floats.
int64_t ScoresQueries(const AttentionArgs& args) {
  int64_t n_rows = 0;
  for (int64_t s = 0; s < args.batch.n_seqs; ++s) n_rows = std::max(n_rows, NumRows(args, s));
  return std::min(n_rows, RowsPerTask(args)) * GroupSize(args);
}
int64_t ScoresStride(const AttentionArgs& args) {
  int64_t n_keys = 0;
  for (int64_t s = 0; s < args.batch.n_seqs; ++s) {
    n_keys = std::max<int64_t>(n_keys, args.batch.kv_lengths[s]);
  }
  return RoundUp(n_keys, kScoreKeys);
}

}  // namespace

int64_t CountAttentionTasks(const AttentionArgs& args) {
  if (args.kv.n_kv_heads <= 0 || args.n_heads % args.kv.n_kv_heads != 0) {
    throw std::invalid_argument("Attention: " + std::to_string(args.n_heads) +
                                " query heads do not share " + std::to_string(args.kv.n_kv_heads) +
                                " kv heads evenly");
  }
  int64_t n_tasks = 0;
  for (int64_t s = 0; s < args.batch.n_seqs; ++s) {
    n_tasks += NumBlocks(args, s) * args.kv.n_kv_heads;
  }
  return n_tasks;
}

int64_t AttentionScratchFloats(const AttentionArgs& args) {
  return TaskScratch(args, nullptr).End(args) - static_cast<float*>(nullptr);
}

void Attention(const AttentionArgs& args, int64_t begin, int64_t end, float* scratch) {
  ForEachTask(args, begin, end, [&](const Task& task) {
    HWY_DYNAMIC_DISPATCH(AttentionTaskForTarget)(args, task, scratch);
  });
}

bool AttentionInTwoSteps(const AttentionArgs& args, int n_threads) {
  constexpr int64_t kMinKeys = 192;  // fewer are not worth another meeting of the threads
  const int64_t n_tasks = CountAttentionTasks(args);
  return n_tasks % n_threads != 0 && n_tasks < 4 * n_threads && ScoresStride(args) >= kMinKeys;
}

int64_t CountScoreTasks(const AttentionArgs& args) {
  return CountAttentionTasks(args) * (ScoresStride(args) / kScoreKeys);
}

int64_t AttentionScoresFloats(const AttentionArgs& args) {
  return CountAttentionTasks(args) * ScoresQueries(args) * ScoresStride(args);
}

void AttentionScores(const AttentionArgs& args, int64_t begin, int64_t end, float* scores,
                     float* scratch) {
  const int64_t stride = ScoresStride(args), n_pieces = stride / kScoreKeys;
  const int64_t of_task = ScoresQueries(args) * stride;
  int64_t t = begin / n_pieces;
  ForEachTask(args, t, (end + n_pieces - 1) / n_pieces, [&](const Task& task) {
    const int64_t last = std::min(end, (t + 1) * n_pieces);
    for (int64_t piece = std::max(begin, t * n_pieces); piece < last; ++piece) {
      HWY_DYNAMIC_DISPATCH(ScoresForTarget)
      (args, task, (piece - t * n_pieces) * kScoreKeys, scores + t * of_task, stride, scratch);
    }
    ++t;
  });
}

int64_t CountValueTasks(const AttentionArgs& args, int n_threads) {
  const int64_t n_tasks = CountAttentionTasks(args), n_whole = n_tasks / n_threads * n_threads;
  return n_whole + (n_tasks - n_whole) * (RoundUp(args.kv.head_dim, kPart) / kPart);
}

void AttentionValues(const AttentionArgs& args, int n_threads, int64_t begin, int64_t end,
                     const float* scores, float* scratch) {
  const int64_t n_whole = CountAttentionTasks(args) / n_threads * n_threads;
  const int64_t head_dim = args.kv.head_dim, n_parts = RoundUp(head_dim, kPart) / kPart;
  const int64_t stride = ScoresStride(args), of_task = ScoresQueries(args) * stride;
  for (int64_t i = begin; i < end; ++i) {
    const bool whole = i < n_whole;
    const int64_t t = whole ? i : n_whole + (i - n_whole) / n_parts;
    const int64_t part = whole ? 0 : (i - n_whole) % n_parts * kPart;
    const int64_t part_end = whole ? head_dim : std::min(part + kPart, head_dim);
    ForEachTask(args, t, t + 1, [&](const Task& task) {
      HWY_DYNAMIC_DISPATCH(ValuesForTarget)
      (args, task, part, part_end, scores + t * of_task, stride, scratch);
    });
  }
}

}  // namespace aios::kernels::cpu
#endif  // HWY_ONCE
