// Shape: the sizes of a tensor's dimensions, slowest first (row-major): a weight of a linear layer
// is [d_out, d_in].
//
// The dimensions, by the words that every comment of the project uses. GLOSSARY.md explains them,
// and has the shapes that a forward pass goes through.
// - n_tokens: tokens (rows) that one step computes
// - vocab_size: tokens that the model knows
// - d_model: width of the residual stream
// - n_layers: transformer layers
// - n_heads: query heads
// - n_kv_heads: key and value heads; divides n_heads
// - head_dim: width of one head
// - d_ff: width of the feed-forward layer
// - q_dim: n_heads * head_dim
// - kv_dim: n_kv_heads * head_dim
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "common/base/check.h"

namespace aios {

class Shape {
 public:
  static constexpr int kMaxRank = 4;

  Shape() = default;
  // REQUIRES: at most kMaxRank dimensions, none negative, their product below 2^63.
  Shape(std::initializer_list<int64_t> dims)
      : Shape(std::span<const int64_t>(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const int64_t> dims) : rank_(static_cast<int>(dims.size())) {
    AIOS_CHECK(dims.size() <= kMaxRank, "{} dimensions", dims.size());
    for (int i = 0; i < rank_; ++i) {
      AIOS_CHECK(dims[i] >= 0, "dimension {}", dims[i]);
      AIOS_CHECK(!__builtin_mul_overflow(n_elements_, dims[i], &n_elements_));
      dims_[i] = dims[i];
    }
  }

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return dims_[i]; }
  int64_t n_elements() const { return n_elements_; }
  // "[576, 1536]"
  std::string ToString() const {
    std::string out = "[";
    for (int i = 0; i < rank_; ++i) out += (i ? ", " : "") + std::to_string(dims_[i]);
    return out + "]";
  }

  friend bool operator==(const Shape&, const Shape&) = default;

 private:
  std::array<int64_t, kMaxRank> dims_ = {};
  int rank_ = 0;
  int64_t n_elements_ = 1;
};

}  // namespace aios
