// Keys and values that a test can recognize, for a KV cache on the CPU.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/backend/cpu_backend.h"
#include "common/mm/kv_cache.h"
#include "common/model/config.h"

namespace aios {

using Tokens = std::vector<TokenId>;

inline ModelConfig TinyConfig() {
  ModelConfig config;
  config.name = "Tiny";
  config.d_model = 8;
  config.n_layers = 2;
  config.n_heads = 2;
  config.n_kv_heads = 2;
  config.head_dim = 4;
  config.max_context = 512;
  return config;
}

// What stands for the keys and values of position p: a number that all tokens [0, p] decide, as
// they decide the keys and values of a model.
inline uint32_t MarkOf(std::span<const TokenId> tokens, int64_t position) {
  uint64_t mark = 88172645463325252U;
  for (const TokenId token : tokens.first(position + 1)) {
    mark = (mark + static_cast<uint32_t>(token) + 1) * 6364136223846793005U;
    mark ^= mark >> 29;
  }
  return static_cast<uint32_t>(mark >> 32);
}

// Calls visit(number, n) for each number that the cache holds for a position: of all layers, keys
// and values, and heads. n counts them.
template <typename Visit>
void ForEachNumber(const KvCache& cache, PageTable::Slot at, const Visit& visit) {
  int n = 0;
  for (const KvPages& layer : cache.layers()) {
    for (const MutableTensor& pages : {layer.k, layer.v}) {
      const Shape& shape = pages.shape();  // [n_pages, n_kv_heads, page_size, head_dim]
      for (int64_t head = 0; head < shape[1]; ++head) {
        float* row =
            pages.As<float>() + ((at.page * shape[1] + head) * shape[2] + at.slot) * shape[3];
        for (int64_t i = 0; i < shape[3]; ++i) visit(row[i], n++);
      }
    }
  }
}

// A whole number below 2^23, so that it is exact; no two of a position are alike.
inline float NumberOf(uint32_t mark, int n) {
  return static_cast<float>((mark & 0x3FFFF) * 32 + static_cast<uint32_t>(n));
}

inline void WriteMark(const KvCache& cache, const PageTable& table, int64_t position,
                      uint32_t mark) {
  ForEachNumber(cache, table.Find(position),
                [&](float& number, int n) { number = NumberOf(mark, n); });
}

inline bool HoldsMark(const KvCache& cache, const PageTable& table, int64_t position,
                      uint32_t mark) {
  bool holds = true;
  ForEachNumber(cache, table.Find(position),
                [&](const float& number, int n) { holds &= number == NumberOf(mark, n); });
  return holds;
}

// A sequence: its table, and the tokens that it should stand for.
struct Sequence {
  PageTable table;
  Tokens tokens;
};

// A small cache, and what a test does with it.
class TestCache {
 public:
  explicit TestCache(const KvCacheOptions& options)
      : backend_(MakeCpuBackend(1)), cache_(*backend_, TinyConfig(), options) {}

  KvCache* operator->() { return &cache_; }
  KvCache& operator*() { return cache_; }

  // Appends tokens as a forward pass does; false if there is no page, and then nothing is changed.
  bool Append(Sequence& sequence, const Tokens& tokens) {
    if (!cache_.Reserve(sequence.table, static_cast<int64_t>(tokens.size()))) return false;
    sequence.tokens.insert(sequence.tokens.end(), tokens.begin(), tokens.end());
    for (auto p = sequence.table.n_tokens(); p < static_cast<int64_t>(sequence.tokens.size());
         ++p) {
      WriteMark(cache_, sequence.table, p, MarkOf(sequence.tokens, p));
    }
    cache_.Commit(sequence.table, tokens);
    return true;
  }

  // A sequence with the whole prompt computed, but for what is known of it.
  Sequence Start(const Tokens& prompt) {
    Sequence sequence = Open(prompt);
    AIOS_CHECK(Append(sequence, {prompt.begin() + sequence.table.n_tokens(), prompt.end()}));
    return sequence;
  }

  // A sequence with what is known of the prompt.
  Sequence Open(const Tokens& prompt) {
    Sequence sequence;
    sequence.table = cache_.Open(prompt);
    sequence.tokens = {prompt.begin(), prompt.begin() + sequence.table.n_tokens()};
    return sequence;
  }

  Sequence Fork(const Sequence& sequence) {
    return {.table = cache_.Fork(sequence.table), .tokens = sequence.tokens};
  }

  bool Holds(const Sequence& sequence) const {
    if (sequence.table.n_tokens() != static_cast<int64_t>(sequence.tokens.size())) return false;
    for (int64_t p = 0; p < sequence.table.n_tokens(); ++p) {
      if (!HoldsMark(cache_, sequence.table, p, MarkOf(sequence.tokens, p))) return false;
    }
    return true;
  }

 private:
  std::unique_ptr<Backend> backend_;
  KvCache cache_;
};

}  // namespace aios
