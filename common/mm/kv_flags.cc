#include "common/mm/kv_flags.h"

#include <CLI/CLI.hpp>
#include <string>

namespace aios {

void AddKvFlags(CLI::App& app, KvFlags& flags) {
  const char* group = "Keys and values";
  app.add_option_function<std::string>(
         "--kv-memory",
         [&flags](const std::string& text) { flags.memory = ParseBytes(text, "--kv-memory"); },
         "Memory for all sequences' keys and values: 512MB, 2GiB. Default: what eight sequences "
         "of full length take, or half of what is free")
      ->type_name("BYTES")
      ->group(group);
  app.add_option("--page-size", flags.page_size,
                 "Tokens of a page. Default: 64, or the context if that is shorter")
      ->group(group);
  app.add_option("--context", flags.context,
                 "Tokens of a sequence, prompt and answer together. Default: the model's context, "
                 "or what the memory holds")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40).description(""))
      ->group(group);
}

}  // namespace aios
