// The command line of lesson 04.
#pragma once

#include <memory>
#include <string>

#include "common/backend/backend.h"
#include "common/base/cli.h"
#include "common/mm/kv_plan.h"

namespace aios::lessons {

struct Flags {
  LessonFlags lesson;
  KvFlags kv;
  bool show_pages = false;
  std::string svg;  // where to draw time per token; empty: nowhere
};

// Prints the help and exits 0 if asked; throws InputError for what does not parse, and for a
// picture that cannot be written.
Flags ParseFlags(int argc, char** argv);

// A backend serves one engine; this lesson compares several.
std::unique_ptr<Backend> NewBackend(const Flags& flags);

}  // namespace aios::lessons
