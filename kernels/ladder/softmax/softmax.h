// The levels of softmax, each a file of its own: out[r, c] = exp(x[r, c]) / sum of exp(x[r, .]).
#pragma once

#include <cuda_runtime_api.h>

#include <vector>

namespace aios::ladder {

// Device pointers, aligned to 16 bytes; x and out do not overlap.
struct SoftmaxProblem {
  const float* x = nullptr;  // [n_rows, n_columns]
  float* out = nullptr;      // [n_rows, n_columns]
  int n_rows = 0;
  int n_columns = 0;
};

void SoftmaxLevel1(const SoftmaxProblem& problem, cudaStream_t stream);  // a thread does a row
void SoftmaxLevel2(const SoftmaxProblem& problem, cudaStream_t stream);  // a block does a row
void SoftmaxLevel3(const SoftmaxProblem& problem, cudaStream_t stream);  // maximum and sum at once
// The row in registers: at most 32,768 columns, a multiple of 4; level 3 for others.
void SoftmaxLevel4(const SoftmaxProblem& problem, cudaStream_t stream);

struct SoftmaxLevel {
  int number;
  const char* name;
  void (*run)(const SoftmaxProblem& problem, cudaStream_t stream);
};

inline std::vector<SoftmaxLevel> SoftmaxLevels() {
  return {
      {1, "thread per row", SoftmaxLevel1},
      {2, "block per row, three passes", SoftmaxLevel2},
      {3, "online: maximum and sum in one pass", SoftmaxLevel3},
      {4, "row in registers, 16-byte loads", SoftmaxLevel4},
  };
}

}  // namespace aios::ladder
