// Batch: what one step of the engine computes.
#pragma once

#include <cstdint>
#include <vector>

#include "common/sample/sampler.h"

namespace aios {

// How the token that follows a row is chosen.
struct SampleRow {
  SamplingParams params = {};
  uint64_t step = 0;  // which token of the answer this is
};

// What was chosen.
struct Sampled {
  // In place of a token where a logit is not a finite number: the model's weights are damaged.
  static constexpr int32_t kNoToken = -1;

  int32_t token = kNoToken;
  float margin = 0;  // the best logit's lead over the second: how close a greedy choice was
};

// Pages that so many positions take.
inline int64_t PagesFor(int64_t n_tokens, int64_t page_size) {
  return (n_tokens + page_size - 1) / page_size;
}

// One flat, ragged batch: the rows of all sequences, one after the other. A sequence brings all of
// its prompt (prefill), some of it (a chunk), or its latest token alone (decode), so that one
// forward pass serves each of them and any mixture.
//
//   sequence        0            1   2
//   tokens        [ 11 42 7 9  |  5 | 3 8 ]      n_tokens = 7
//   positions     [  0  1 2 3  | 17 | 4 5 ]
//   seq_offsets   [  0            4   5     7 ]  n_seqs = 3
//   kv_lengths    [  4           18   6 ]
//
// A token may be one that the host does not know yet: -1 - i stands for the one that row i of the
// step before has sampled. So a step can be given to a GPU while the one before it still runs.
struct Batch {
  std::vector<int32_t> tokens = {};        // [n_tokens]
  std::vector<int32_t> positions = {};     // [n_tokens]; of a sequence, one after the other
  std::vector<int32_t> seq_offsets = {0};  // [n_seqs + 1]: sequence s has rows [s] to [s + 1]
  std::vector<int32_t> kv_lengths = {};    // [n_seqs]: keys of a sequence, those of this step too
  // [n_seqs, max_pages]: where the keys and values of a sequence are. Position p is in slot
  // p % page_size of page page_table[s][p / page_size]. What is past a sequence's end is not read.
  std::vector<int32_t> page_table = {};
  int32_t max_pages = 0;
  std::vector<int32_t> logit_rows = {};  // [n_logit_rows]: the rows whose logits are wanted
  // [n_logit_rows]: how each of them goes on; or empty: nothing is sampled.
  std::vector<SampleRow> sampling = {};

  void Clear();  // keeps the memory

  int32_t n_tokens() const { return static_cast<int32_t>(tokens.size()); }
  int32_t n_seqs() const { return static_cast<int32_t>(kv_lengths.size()); }
  int32_t n_logit_rows() const { return static_cast<int32_t>(logit_rows.size()); }
};

// The same where a backend's kernels can read it: pointers into the backend's memory, sizes for the
// host, which needs them to shape a launch.
//
// So that steps of like size have the same launches, a backend may round sizes up: max_kv_length,
// and, where each sequence has one row, n_seqs, n_tokens and n_logit_rows. What is there too much
// changes nothing: rows of sequences that do not exist, with token 0, position -1 and no keys
// (kv_lengths 0), which store nothing in any page and whose results nobody reads; and further
// logits of a row that does exist. An operation does all rows of the view; its tensors have room.
struct BatchView {
  const int32_t* tokens = nullptr;
  const int32_t* positions = nullptr;
  const int32_t* seq_offsets = nullptr;
  const int32_t* kv_lengths = nullptr;
  const int32_t* page_table = nullptr;
  const int32_t* logit_rows = nullptr;
  int32_t n_tokens = 0;
  int32_t n_seqs = 0;
  int32_t n_logit_rows = 0;
  // Sequences before the first that has more than one row: who batches puts those that decode
  // first, and a backend may have a faster way for them.
  int32_t n_decoding = 0;
  bool samples = false;       // rather than only giving logits
  int32_t max_pages = 0;      // of a row of page_table
  int32_t max_rows = 0;       // of the sequence that has the most
  int32_t max_kv_length = 0;  // likewise
};

// What a step may have at most: memory for it is taken once, and stays where it is.
struct BatchLimits {
  int32_t n_tokens = 0;
  int32_t n_seqs = 0;
  int32_t n_logit_rows = 0;
  int32_t max_pages = 0;
};

// Aborts unless the batch is whole: the arrays fit one another and the limits, positions follow one
// another and end where kv_lengths says, and every page is one of n_pages. (Which tokens there are
// is for the model to know, and how many the step before sampled for the backend.)
void CheckBatch(const Batch& batch, const BatchLimits& limits, int64_t page_size, int64_t n_pages);

// The view of a batch where it is, for a backend whose memory is the host's.
BatchView ViewOf(const Batch& batch);

}  // namespace aios
