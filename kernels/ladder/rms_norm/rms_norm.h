// The levels of RmsNorm: x += delta; out = x / rms(x) * weight, each a file of its own. They take
// the engine's arguments (kernels/cuda/rms_norm.h), with dtype bf16 and a delta.
#pragma once

#include <vector>

#include "kernels/cuda/rms_norm.h"
#include "kernels/ladder/harness.h"

namespace aios::ladder::rms_norm {

using kernels::cuda::RmsNormArgs;

void RmsNormLevel1(const RmsNormArgs& args, cudaStream_t stream);  // a thread does a row
void RmsNormLevel2(const RmsNormArgs& args, cudaStream_t stream);  // a block does a row
// Row in registers; d_model a multiple of 8, at most 8192, all 16-byte aligned.
void RmsNormLevel3(const RmsNormArgs& args, cudaStream_t stream);
// Fused with the addition: the engine's.
void RmsNormLevel4(const RmsNormArgs& args, cudaStream_t stream);

// x += delta, the kernel that levels 1 to 3 run first.
void AddToStream(const RmsNormArgs& args, cudaStream_t stream);

// Verifies each level over many shapes (throws where one differs), then times it: rows of the
// levels (no library has this operation). With `flags.quick`, fewer shapes and repeats.
std::vector<Row> RunRmsNormLadder(const Limits& limits, const Flags& flags);

}  // namespace aios::ladder::rms_norm
