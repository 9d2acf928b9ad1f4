// How the CPU kernels see a batch and one layer of the KV cache.
#pragma once

#include <cstdint>

namespace aios::kernels::cpu {

// A flat, ragged batch: row r is a token; the rows of sequence s are [seq_offsets[s],
// seq_offsets[s + 1]), its last tokens in order. One batch may mix prefill (many rows of a
// sequence), decode (one row) and sequences without a row. Owns nothing.
struct BatchView {
  int64_t n_seqs = 0;
  const int32_t* seq_offsets = nullptr;  // [n_seqs + 1], from 0 to n_tokens
  const int32_t* positions = nullptr;    // [n_tokens], counted from 0 in each sequence
  const int32_t* kv_lengths = nullptr;   // [n_seqs], this step's tokens included
};

// K and V of one layer: f32 pages [n_pages, n_kv_heads, page_size, head_dim], so that the keys of a
// head within a page are contiguous. Position p of sequence s lies in page page_table[s][p /
// page_size], in its slot p % page_size. Sequences may share pages. Owns nothing.
struct KvView {
  float* k = nullptr;
  float* v = nullptr;
  const int32_t* page_table = nullptr;  // [n_seqs, max_pages_per_seq]
  int64_t max_pages_per_seq = 0;
  int64_t n_pages = 0;
  int page_size = 64;
  int n_kv_heads = 0;
  int head_dim = 0;

  // Where the numbers of (sequence, position, kv head) begin in k and in v; those of the next
  // position of the same page follow head_dim floats later.
  int64_t Offset(int64_t seq, int64_t position, int64_t kv_head) const {
    const int64_t page = page_table[seq * max_pages_per_seq + position / page_size];
    return ((page * n_kv_heads + kv_head) * page_size + position % page_size) * head_dim;
  }
};

}  // namespace aios::kernels::cpu
