#include "common/backend/backend_flags.h"

namespace aios {

BackendOptions BackendOptionsOf(const LessonFlags& flags) {
  return {.backend = flags.backend,
          .dtype = flags.dtype,
          .n_threads = flags.threads,
          .device = flags.device,
          .deterministic = flags.deterministic};
}

}  // namespace aios
