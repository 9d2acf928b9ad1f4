// Contiguous against paged: what each reserves for the same sequences, and what it costs in time.
#pragma once

#include <cstdint>
#include <vector>

#include "common/engine/engine.h"
#include "common/engine/lesson.h"
#include "lessons/04_kv_cache/flags.h"

namespace aios::lessons {

// A sequence when its answer was complete.
struct SequenceSize {
  int64_t n_tokens = 0;  // whose keys and values were kept
  int64_t n_pages = 0;
};

// Draws what both reserve for the sequences that `paged` has answered, times both in turns, and
// adds what was measured to the report's figures. Contiguous is one page as large as a sequence:
// the same code. Returns what they answered.
std::vector<Output> CompareLayouts(Lesson& lesson, const Flags& flags, Engine& paged,
                                   const std::vector<SequenceSize>& sequences);

}  // namespace aios::lessons
