// RoPE's angles: by how much each pair of a head's numbers is turned at each position.
#pragma once

#include <cstdint>
#include <vector>

#include "common/model/config.h"
#include "common/tensor/tensor.h"

namespace aios {

// The angle by which pair i of a head turns from one position to the next, for i in [0, head_dim /
// 2). `factors`: the model's rope_factors, or no data.
std::vector<double> RopeFrequencies(const ModelConfig& config, const Tensor& factors);

// Row-major [n_positions, head_dim / 2], each computed in double and rounded once.
struct RopeAngles {
  std::vector<float> cosine, sine;
};
RopeAngles AnglesOf(const std::vector<double>& frequencies, int64_t n_positions);

}  // namespace aios
