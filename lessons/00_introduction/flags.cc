#include "lessons/00_introduction/flags.h"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>

#include "common/base/error.h"
#include "common/base/write_file.h"

namespace aios::lessons {
namespace {

constexpr const char* kAbout =
    "Lesson 00, introduction: boots. Probes this machine, counts what a model needs, and predicts "
    "from both how fast it can run, before anything does run.";

// What no model has, and no machine holds: 1 billion tokens.
constexpr int64_t kMaxTokens = 1'000'000'000;

std::string NotEmpty(const std::string& text) { return text.empty() ? "is empty" : ""; }

}  // namespace

Flags ParseFlags(int argc, char** argv) {
  Flags flags;
  CLI::App app(kAbout, std::filesystem::path(argv[0]).filename().string());
  app.get_formatter()->column_width(28);

  const char* model = "What to run";
  app.add_option("--model", flags.model,
                 "A GGUF file, or a folder with config.json and safetensors. Default: "
                 "SmolLM2-135M-Instruct, which Bazel fetched")
      ->type_name("PATH")
      ->check(NotEmpty)
      ->group(model);
  app.add_option("--shape", flags.shape,
                 "Instead of a model, the shape of a published one: smollm2-135m, llama-8b, "
                 "llama-70b, ... (an unknown name lists them)")
      ->type_name("NAME")
      ->check(NotEmpty)
      ->group(model);
  app.add_option(
         "--weights", flags.weights,
         "As if its weights were in this format: f32, bf16, q8_0, q4_0, ... Default: as the "
         "model has them, in bf16 for --shape")
      ->type_name("FORMAT")
      ->check(NotEmpty)
      ->group(model);
  app.add_option("--prompt-tokens", flags.prompt_tokens,
                 "Tokens of the prompt whose first answer token is awaited. Default: 512")
      ->check(CLI::Range(int64_t{1}, kMaxTokens).description(""))
      ->group(model);
  app.add_option("--context", flags.context,
                 "Tokens that each sequence of a batch has so far. Default: 2048")
      ->check(CLI::Range(int64_t{1}, kMaxTokens).description(""))
      ->group(model);

  const char* machine = "Where";
  auto* const on = app.add_option("--on", flags.on, "Which of this machine's processors")
                       ->check(CLI::IsMember({"cpu", "gpu", "both"}))
                       ->capture_default_str()
                       ->group(machine);
  app.add_option("--machine", flags.machine,
                 "Instead of this machine, one whose maker's figures are published: laptop, "
                 "rtx4090, l4, a100, h100, h200")
      ->type_name("NAME")
      ->check(NotEmpty)
      ->excludes(on)
      ->group(machine);
  app.add_option("--threads", flags.threads, "CPU threads. Default: one for each core")
      ->check(CLI::Range(1, 1024).description(""))
      ->group(machine);
  app.add_flag("--probe-again", flags.probe_again,
               "Measure the machine even if an earlier run has kept what it measured")
      ->group(machine);

  const char* report = "What to write";
  app.add_option(
         "--json", flags.json,
         "Write the predictions to this file; -: to standard output, and nothing else there")
      ->type_name("FILE")
      ->check(NotEmpty)
      ->group(report);
  app.add_option("--svg", flags.svg, "Draw the roofline into this file")
      ->type_name("FILE")
      ->check(NotEmpty)
      ->group(report);

  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    app.exit(help);
    std::exit(0);
  } catch (const CLI::ParseError& error) {
    throw InputError("{} (see --help)", error.what());
  }
  if (!flags.model.empty() && !flags.shape.empty())
    throw InputError("--model and --shape exclude each other");
  CheckWritable("--json", flags.json);
  CheckWritable("--svg", flags.svg);
  return flags;
}

}  // namespace aios::lessons
