// The backend that a lesson's flags ask for.
#pragma once

#include "common/backend/backend.h"
#include "common/base/cli.h"

namespace aios {

// --backend, --dtype, --threads, --device, --deterministic, for MakeBackend.
BackendOptions BackendOptionsOf(const LessonFlags& flags);

}  // namespace aios
