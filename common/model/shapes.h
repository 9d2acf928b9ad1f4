// The shapes of published models, by name: their configs without their weights, for measuring with
// random weights and for working out what they cost.
#pragma once

#include <string_view>
#include <vector>

#include "common/model/config.h"

namespace aios {

// The config of a published model: "llama-8b" and so on. RoPE's scaling is left out: it changes
// neither a size nor a cost. Throws InputError, which lists the names, if there is no such shape.
ModelConfig ShapeNamed(std::string_view name);

// From the smallest to the largest.
std::vector<std::string_view> ShapeNames();

}  // namespace aios
