// A kernel that does nothing: whether this program has code for a GPU is asked of it.
#pragma once

namespace aios {

// For cudaFuncGetAttributes.
const void* AnyKernel();

}  // namespace aios
