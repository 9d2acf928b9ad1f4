// The tensor types that GGUF files number, and which of them AIOS reads.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "common/tensor/dtype.h"

namespace aios {

struct GgufTensorType {
  std::string_view name;  // as llama.cpp prints it; empty for a number that was never given out
  std::optional<DType> dtype;  // nullopt: a valid type that AIOS does not read
};

// The type that a file calls `id`.
constexpr GgufTensorType GgufTensorTypeOf(uint32_t id) {
  switch (id) {
    case 0:
      return {"F32", DType::kF32};
    case 1:
      return {"F16", DType::kF16};
    case 2:
      return {"Q4_0", DType::kQ4_0};
    case 3:
      return {"Q4_1", DType::kQ4_1};
    case 4:
      return {"Q4_2", {}};  // 4 and 5 lived for a month in 2023
    case 5:
      return {"Q4_3", {}};
    case 6:
      return {"Q5_0", DType::kQ5_0};
    case 7:
      return {"Q5_1", DType::kQ5_1};
    case 8:
      return {"Q8_0", DType::kQ8_0};
    case 9:
      return {"Q8_1", {}};
    case 10:
      return {"Q2_K", {}};
    case 11:
      return {"Q3_K", {}};
    case 12:
      return {"Q4_K", DType::kQ4_K};
    case 13:
      return {"Q5_K", DType::kQ5_K};
    case 14:
      return {"Q6_K", DType::kQ6_K};
    case 15:
      return {"Q8_K", {}};
    case 16:
      return {"IQ2_XXS", {}};
    case 17:
      return {"IQ2_XS", {}};
    case 18:
      return {"IQ3_XXS", {}};
    case 19:
      return {"IQ1_S", {}};
    case 20:
      return {"IQ4_NL", {}};
    case 21:
      return {"IQ3_S", {}};
    case 22:
      return {"IQ2_S", {}};
    case 23:
      return {"IQ4_XS", {}};
    case 24:
      return {"I8", {}};
    case 25:
      return {"I16", {}};
    case 26:
      return {"I32", {}};
    case 27:
      return {"I64", {}};
    case 28:
      return {"F64", {}};
    case 29:
      return {"IQ1_M", {}};
    case 30:
      return {"BF16", DType::kBF16};
    case 31:
      return {"Q4_0_4_4", {}};  // 31 to 33 and 36 to 38: repacked for ARM, no longer written
    case 32:
      return {"Q4_0_4_8", {}};
    case 33:
      return {"Q4_0_8_8", {}};
    case 34:
      return {"TQ1_0", {}};
    case 35:
      return {"TQ2_0", {}};
    case 36:
      return {"IQ4_NL_4_4", {}};
    case 37:
      return {"IQ4_NL_4_8", {}};
    case 38:
      return {"IQ4_NL_8_8", {}};
    case 39:
      return {"MXFP4", {}};
    case 40:
      return {"NVFP4", {}};
    case 41:
      return {"Q1_0", {}};
    default:
      return {};
  }
}

}  // namespace aios
