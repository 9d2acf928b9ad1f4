// CpuBackend: the operations of a forward pass on this machine's cores, in f32, with weights used
// as the file holds them.
#pragma once

#include <memory>

#include "common/backend/backend.h"

namespace aios {

// n_threads: 0 for one for each core that the process may use.
std::unique_ptr<Backend> MakeCpuBackend(int n_threads);

}  // namespace aios
