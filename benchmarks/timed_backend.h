// TimedBackend: another backend, and how long each kind of its operations took.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "common/backend/backend.h"

namespace aios {

struct OperationTime {
  int64_t n_calls = 0;
  double seconds = 0;
  int64_t weight_bytes = 0;  // that the calls read, each time
};

// By kind of operation, and of products by shape: "norm, product 576 x 960".
using OperationTimes = std::map<std::string, OperationTime>;

// For backends whose operations are done when they return (the CPU's). Looking at the clock takes
// some 50 ns an operation. `times` must outlive the backend, and may be cleared between steps.
std::unique_ptr<Backend> MakeTimedBackend(std::unique_ptr<Backend> backend, OperationTimes& times);

}  // namespace aios
