// The levels of y = W x, the product of a matrix and one vector, each a file of its own. They take
// the engine's arguments (kernels/cuda/gemv.h), with n_rows 1, all in bf16.
#pragma once

#include <vector>

#include "kernels/cuda/gemv.h"
#include "kernels/ladder/harness.h"

namespace aios::ladder::gemv {

using kernels::cuda::GemvArgs;

void GemvLevel1(const GemvArgs& args, cudaStream_t stream);  // a thread does an output
void GemvLevel2(const GemvArgs& args, cudaStream_t stream);  // a warp does an output
// 16-byte loads. Here and in level 4: d_in a multiple of 8, x and weight 16-byte aligned.
void GemvLevel3(const GemvArgs& args, cudaStream_t stream);
void GemvLevel4(const GemvArgs& args, cudaStream_t stream);  // four of them on the way
void GemvLevel5(const GemvArgs& args, cudaStream_t stream);  // the engine's

// Verifies each level over many shapes (throws where one differs), then times it: rows of the
// levels and of cuBLASLt. With `flags.quick`, fewer shapes and repeats.
std::vector<Row> RunGemvLadder(const Limits& limits, const Flags& flags);

}  // namespace aios::ladder::gemv
