// Attention: each token looks at its sequence's tokens up to itself, softmax(q K^T /
// sqrt(head_dim)) V (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762), with an online softmax
// (Milakov and Gimelshein 2018, https://arxiv.org/abs/1805.02867) so that no row of scores is ever
// whole.
#pragma once

#include <cstdint>

#include "kernels/cpu/kv_view.h"

namespace aios::kernels::cpu {

struct AttentionArgs {
  const float* q = nullptr;  // [n_tokens, n_heads, head_dim], rotated
  BatchView batch;
  KvView kv;             // holds this step's keys and values too
  int n_heads = 0;       // a multiple of kv.n_kv_heads: query head h reads kv head h / group
  float* out = nullptr;  // [n_tokens, n_heads, head_dim]
};

// The work is cut into tasks that threads may do in any order: (sequence, kv head, block of query
// rows), whose query heads share each load of K and V. The row at position p sees the keys 0 to p.
// Later blocks of a long prompt cost more than its first: let threads take tasks one by one.
//
// Throws std::invalid_argument if n_heads is not a multiple of n_kv_heads.
int64_t CountAttentionTasks(const AttentionArgs& args);

// Floats that one call of Attention needs for itself: room for one task.
int64_t AttentionScratchFloats(const AttentionArgs& args);

// Does tasks [begin, end). scratch: AttentionScratchFloats() floats of this thread's own, with any
// content. Thread-safe for ranges that do not overlap.
//
// The bits of a row depend on its q and on its sequence's keys and values alone (and on the
// instruction set): not on the rows beside it, on how a prompt was cut into chunks, on page_size or
// on the order of the pages.
void Attention(const AttentionArgs& args, int64_t begin, int64_t end, float* scratch);

// The same, to the bit, in two steps: first all scores, then the values. For few tasks of many
// keys, as in the decode of one sequence, which has a task for each kv head: three of them are two
// for one thread and one for another. Each step has more and smaller tasks; all of the first must
// be done before the second begins.
//
// Whether that is the better way for this many threads; then the scores are few too.
bool AttentionInTwoSteps(const AttentionArgs& args, int n_threads);

// Of like cost. scores: AttentionScoresFloats() floats, which all threads share; scratch as above.
int64_t CountScoreTasks(const AttentionArgs& args);
int64_t AttentionScoresFloats(const AttentionArgs& args);
void AttentionScores(const AttentionArgs& args, int64_t begin, int64_t end, float* scores,
                     float* scratch);

// Of unlike cost, the longest first: let threads take them one by one.
int64_t CountValueTasks(const AttentionArgs& args, int n_threads);
void AttentionValues(const AttentionArgs& args, int n_threads, int64_t begin, int64_t end,
                     const float* scores, float* scratch);

}  // namespace aios::kernels::cpu
