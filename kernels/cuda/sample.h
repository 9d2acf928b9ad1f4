// Sample: from rows of logits to the next tokens, without the logits leaving the GPU.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace aios::kernels::cuda {

// How one row is sampled. The numbers mean what SamplingParams' do on the host
// (common/sample/sampler.h), and are checked there.
struct SampleParams {
  float temperature = 0;  // 0: greedy
  int32_t top_k = 0;      // 0: all
  float top_p = 1;        // in (0, 1]
  float min_p = 0;        // in [0, 1]
  uint64_t seed = 0;
  uint64_t step = 0;  // the draw is a hash of (seed, step)
};

// What is written in place of a token where a logit is not a finite number: the weights are
// damaged.
inline constexpr int32_t kNoToken = -1;

// All pointers are to device memory.
struct SampleArgs {
  const float* logits = nullptr;         // [n_rows, vocab_size]
  const SampleParams* params = nullptr;  // [n_rows]
  int32_t* tokens = nullptr;             // out: [n_rows], or kNoToken
  // out: [n_rows], by how much the best logit is above the second best: 0 where they are equal,
  // infinity where there is one token, anything where there is kNoToken. May be null.
  float* margins = nullptr;
  int n_rows = 0;
  int vocab_size = 0;  // 1 to 2^20

  // Start while the kernel before on the stream still runs, and wait for it (kernels/cuda/pdl.cuh).
  bool overlap_previous = false;
};

// Greedy: the best token; of equal ones that with the smallest id. Else the candidates that top_k,
// top_p and min_p leave, in this order, from the best to the worst (of equal ones the smaller id
// first), are laid out side by side, each as wide as its probability, and the token is the one in
// which the draw falls. That is the host's sampler, and gives its tokens: always when greedy; else
// unless the draw falls within rounding of the border between two candidates. Measured over
// thousands of rows in tests/kernels/cuda/sample_test.cu.
//
// A row's token depends on its logits and params alone. Asynchronous on `stream`, one launch, no
// workspace; may be captured into a graph. Fast where logits is aligned to 16 bytes and vocab_size
// a multiple of 4. Thread-safe. Throws std::invalid_argument for a vocab_size outside of the above,
// CudaError if the launch fails.
void Sample(const SampleArgs& args, cudaStream_t stream);

}  // namespace aios::kernels::cuda
