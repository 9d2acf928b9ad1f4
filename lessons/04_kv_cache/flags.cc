#include "lessons/04_kv_cache/flags.h"

#include <CLI/CLI.hpp>
#include <vector>

#include "common/backend/backend_flags.h"
#include "common/base/write_file.h"
#include "common/mm/kv_flags.h"

namespace aios::lessons {

Flags ParseFlags(int argc, char** argv) {
  constexpr const char* kAbout =
      "Lesson 04, the KV cache: the same answer as lesson 03, which computed the past anew for "
      "each "
      "token; now its keys and values are kept, in pages, as an operating system keeps memory.";
  Flags flags;
  std::vector<std::string> show;
  flags.lesson = ParseLessonFlags(argc, argv, kAbout, [&](CLI::App& app) {
    AddKvFlags(app, flags.kv);
    const char* group = "What to show of it";
    app.add_option("--show", show, "pages: the page tables, as /proc/PID/maps shows a process's")
        ->check(CLI::IsMember({"pages"}))
        ->allow_extra_args(false)
        ->group(group);
    app.add_option("--svg", flags.svg, "Draw time per token against its position into this file")
        ->type_name("FILE")
        ->check([](const std::string& path) { return std::string(path.empty() ? "is empty" : ""); })
        ->group(group);
  });
  flags.show_pages = !show.empty();
  CheckWritable("--svg", flags.svg);
  return flags;
}

std::unique_ptr<Backend> NewBackend(const Flags& flags) {
  return MakeBackend(BackendOptionsOf(flags.lesson));
}

}  // namespace aios::lessons
