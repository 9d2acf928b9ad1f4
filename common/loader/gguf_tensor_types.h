// The tensor types that GGUF files number, and which of them AIOS reads.
#pragma once

#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>

#include "common/tensor/dtype.h"

namespace aios {

struct GgufTensorType {
  std::string_view name;  // as llama.cpp prints it; empty for a number that was never given out
  std::optional<DType> dtype;  // nullopt: a valid type that AIOS does not read
};

// Their number in a file is their place here.
inline constexpr GgufTensorType kGgufTensorTypes[] = {
    {"F32", DType::kF32},
    {"F16", DType::kF16},
    {"Q4_0", DType::kQ4_0},
    {"Q4_1", DType::kQ4_1},
    {"Q4_2", {}},  // 4 and 5 lived for a month in 2023
    {"Q4_3", {}},
    {"Q5_0", DType::kQ5_0},
    {"Q5_1", DType::kQ5_1},
    {"Q8_0", DType::kQ8_0},
    {"Q8_1", {}},
    {"Q2_K", {}},
    {"Q3_K", {}},
    {"Q4_K", DType::kQ4_K},
    {"Q5_K", DType::kQ5_K},
    {"Q6_K", DType::kQ6_K},
    {"Q8_K", {}},
    {"IQ2_XXS", {}},
    {"IQ2_XS", {}},
    {"IQ3_XXS", {}},
    {"IQ1_S", {}},
    {"IQ4_NL", {}},
    {"IQ3_S", {}},
    {"IQ2_S", {}},
    {"IQ4_XS", {}},
    {"I8", {}},
    {"I16", {}},
    {"I32", {}},
    {"I64", {}},
    {"F64", {}},
    {"IQ1_M", {}},
    {"BF16", DType::kBF16},
    {"Q4_0_4_4", {}},  // 31 to 33, 36 to 38: repacked for ARM, no longer written
    {"Q4_0_4_8", {}},
    {"Q4_0_8_8", {}},
    {"TQ1_0", {}},
    {"TQ2_0", {}},
    {"IQ4_NL_4_4", {}},
    {"IQ4_NL_4_8", {}},
    {"IQ4_NL_8_8", {}},
    {"MXFP4", {}},
    {"NVFP4", {}},
    {"Q1_0", {}},
};

// The type that a file calls `id`.
constexpr GgufTensorType GgufTensorTypeOf(uint32_t id) {
  return id < std::size(kGgufTensorTypes) ? kGgufTensorTypes[id] : GgufTensorType{};
}

static_assert(GgufTensorTypeOf(10).name == "Q2_K" && GgufTensorTypeOf(20).name == "IQ4_NL");
static_assert(GgufTensorTypeOf(30).name == "BF16" && GgufTensorTypeOf(41).name == "Q1_0");

}  // namespace aios
