// What the tests of the CPU kernels share.
#pragma once

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "kernels/cpu/kv_view.h"

namespace aios::kernels::cpu {

// Runs `test` once for each instruction set that this CPU has; a program uses only the best.
template <typename Test>
void ForEachTarget(const Test& test) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    SCOPED_TRACE(hwy::TargetName(target));
    test();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

inline std::vector<float> Normal(int64_t n, uint32_t seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> numbers(n);
  for (float& x : numbers) x = normal(random);
  return numbers;
}

// A ragged batch with the KV cache of one layer, whose pages are shuffled. What no token has
// written is NaN.
struct Cache {
  struct Sequence {
    int32_t n_rows = 0;
    int32_t kv_length = 0;
  };
  Cache(const std::vector<Sequence>& sequences, int page_size, int n_kv_heads, int head_dim,
        uint32_t seed = 1) {
    int32_t longest = 1;
    offsets = {0};
    for (const Sequence& s : sequences) {
      longest = std::max(longest, s.kv_length);
      lengths.push_back(s.kv_length);
      for (int32_t r = 0; r < s.n_rows; ++r) positions.push_back(s.kv_length - s.n_rows + r);
      offsets.push_back(static_cast<int32_t>(positions.size()));
    }
    const int64_t n_seqs = static_cast<int64_t>(sequences.size());
    const int64_t per_seq = (longest + page_size - 1) / page_size;
    for (int64_t i = 0; i < n_seqs * per_seq; ++i) table.push_back(static_cast<int32_t>(i));
    std::shuffle(table.begin(), table.end(), std::mt19937(seed));
    k.assign(n_seqs * per_seq * n_kv_heads * page_size * head_dim, NAN);
    v = k;
    batch = {.n_seqs = n_seqs,
             .seq_offsets = offsets.data(),
             .positions = positions.data(),
             .kv_lengths = lengths.data()};
    kv = {.k = k.data(),
          .v = v.data(),
          .page_table = table.data(),
          .max_pages_per_seq = per_seq,
          .n_pages = n_seqs * per_seq,
          .page_size = page_size,
          .n_kv_heads = n_kv_heads,
          .head_dim = head_dim};
  }
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;

  // The same numbers at (seq, position, kv head, d), wherever their pages lie.
  void Fill(float k_scale = 1) {
    for (int64_t s = 0; s < batch.n_seqs; ++s) {
      for (int64_t h = 0; h < kv.n_kv_heads; ++h) {
        const uint32_t seed = static_cast<uint32_t>(1000 * s + h);
        const auto keys = Normal(int64_t{lengths[s]} * kv.head_dim, 2 * seed, k_scale);
        const auto values = Normal(int64_t{lengths[s]} * kv.head_dim, 2 * seed + 1);
        for (int64_t p = 0; p < lengths[s]; ++p) {
          std::copy_n(keys.data() + p * kv.head_dim, kv.head_dim, kv.k + kv.Offset(s, p, h));
          std::copy_n(values.data() + p * kv.head_dim, kv.head_dim, kv.v + kv.Offset(s, p, h));
        }
      }
    }
  }
  int64_t n_tokens() const { return static_cast<int64_t>(positions.size()); }

  std::vector<int32_t> offsets, positions, lengths, table;
  std::vector<float> k, v;
  BatchView batch;
  KvView kv;
};

}  // namespace aios::kernels::cpu
