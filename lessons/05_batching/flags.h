// The command line of lesson 05.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "common/backend/backend.h"
#include "common/base/cli.h"
#include "common/mm/kv_plan.h"
#include "common/sched/scheduler.h"

namespace aios::lessons {

enum class Fault : uint8_t { kNone, kStalePrefix, kLeakedPage, kStarvation };

struct Flags {
  LessonFlags lesson;
  KvFlags kv;

  std::string trace;      // a file; empty: the lesson's own
  double time_scale = 1;  // of arrivals

  Policy policy = Policy::kFirstCome;
  int64_t max_seqs = 0;  // set by ParseFlags if no flag does
  int64_t chunk = 0;     // rows; 0: by the device
  double patience = -1;  // seconds; likewise
  Preemption preemption = Preemption::kRecompute;
  int64_t swap_memory = 0;  // bytes
  std::optional<bool> overlap = {};

  bool top = false;
  std::string svg;           // empty: none
  std::string trace_events;  // empty: none
  bool simulate = false;
  int64_t n_simulated = 10'000;  // requests
  Fault fault = Fault::kNone;

  // Rows of prompts in a step: what --chunk says, or what is good for the device.
  int64_t ChunkOn(bool gpu) const { return chunk > 0 ? chunk : gpu ? 512 : 32; }
  // Whether the flags say what to ask: then that, all at once, is the workload.
  bool has_prompts() const {
    return !lesson.prompts.empty() || !lesson.prompts_file.empty() || !lesson.prompt_ids.empty();
  }
};

// Prints the help and exits 0 if asked; throws InputError for what does not parse, for what cannot
// go together, and for a file that cannot be written.
Flags ParseFlags(int argc, char** argv);

// A backend serves one engine; this lesson compares several.
std::unique_ptr<Backend> NewBackend(const Flags& flags);

}  // namespace aios::lessons
