// Rotary position embedding (Su et al. 2021, https://arxiv.org/abs/2104.09864) turns pairs of a
// head's numbers by position * theta^(-2i / head_dim). Which two numbers make pair i is a matter of
// the order in which a checkpoint has the rows of Wq and Wk.
#pragma once

#include <cstdint>

namespace aios::kernels {

enum class RopePairing : uint8_t {
  kHalves,       // i and i + head_dim / 2: Hugging Face's files; Qwen in GGUF
  kInterleaved,  // 2i and 2i + 1: Llama and Mistral in GGUF
};

}  // namespace aios::kernels
