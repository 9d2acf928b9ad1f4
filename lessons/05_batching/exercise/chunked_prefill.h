// Exercise: what one step computes.
//
// A step of the model computes so many rows, a token each, of as many sequences as there are: one
// ragged batch. Those that decode have one token that is known and not computed: the one that was
// sampled last. They go first, a row each, so that nobody's answer waits for another's prompt. What
// the budget leaves goes to those that have more, prompts as a rule: to the first of them as many
// rows as are left, then to the next one. So a long prompt is cut into chunks, which ride with the
// decoding, and the weights are read once for all.
//
// A row may be sampled from when it is the last token that there is: then what follows is the
// answer's next token. The chunks before a prompt's last one say nothing yet.
//
// By hand: budget 16, prefill_chunk 12, and the sequences
//
//   id   n_tokens   n_computed
//    1         21           20     decodes
//    2         30            0     a prompt
//    3          8            7     decodes
//    4          5            0     a prompt
//
// The step: {1, begin 20, 1 row, samples}, {3, begin 7, 1 row, samples}; 14 rows are left, of which
// 12 may be prefill's: {2, begin 0, 12 rows}. Nothing is left for 4. The next step has 1 and 3
// again, one token further, and {2, begin 12, 12 rows}; the one after that {2, begin 24, 6 rows,
// samples} and, with the other 6, {4, begin 0, 5 rows, samples}. Then all four decode.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace aios::exercise {

struct Sequence {
  int32_t id = 0;
  int64_t n_tokens = 0;    // that are known: the prompt, and the answer so far
  int64_t n_computed = 0;  // of them, from the first on; less than n_tokens
};

struct Rows {
  int32_t id = 0;
  int64_t begin = 0;   // the position of the first
  int64_t n_rows = 0;  // at least 1
  bool samples = false;
};

// The rows of the next step: those that decode first, then the others; both in the order in which
// the sequences stand. Who gets no row is left out.
//   budget          rows in all; at least as many as there are sequences
//   prefill_chunk   rows in all of those that do not decode; at least 1
std::vector<Rows> FillStep(std::span<const Sequence> sequences, int64_t budget,
                           int64_t prefill_chunk);

}  // namespace aios::exercise
