#include "common/base/cli.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <system_error>

#include "common/base/error.h"
#include "tools/cpp/runfiles/runfiles.h"

namespace aios {
namespace {

std::atomic<bool> interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may set it");

void OnInterrupt(int signal) {
  interrupted = true;
  std::signal(signal, SIG_DFL);
}

// Validators return what is wrong, or nothing.

// An empty text, as from a shell variable that is not set, is not the same as no flag; and it is
// not the number 0, which CLI11 makes of it.
std::string NotEmpty(const std::string& text) { return text.empty() ? "is empty" : ""; }

// CLI11 itself takes -1 for 2^64 - 1, and 2^64 as well.
std::string Uint64(const std::string& text) {
  uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [parsed_to, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc() && parsed_to == end) return "";
  return fmt::format("{} is not a whole number from 0 to {}", text, UINT64_MAX);
}

}  // namespace

LessonFlags ParseLessonFlags(int argc, char** argv, const std::string& about,
                             const std::function<void(CLI::App&)>& add_flags) {
  LessonFlags flags;
  CLI::App app(about, std::filesystem::path(argv[0]).filename().string());
  app.get_formatter()->column_width(34);

  const char* model = "What to run";
  app.add_option("--model", flags.model,
                 "A GGUF file, or a folder with config.json, safetensors and tokenizer.json. "
                 "Default: SmolLM2-135M-Instruct, which Bazel fetched")
      ->type_name("PATH")
      ->check(NotEmpty)
      ->group(model);
  app.add_option("--random-weights", flags.random_weights,
                 "Instead of a model, random weights of a real shape, for measuring: llama-1b, "
                 "llama-8b, qwen3-0.6b, ... Needs --prompt-ids")
      ->type_name("SHAPE")
      ->check(NotEmpty)
      ->group(model);
  app.add_option("--backend", flags.backend, "Where to compute")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str()
      ->group(model);
  app.add_option("--dtype", flags.dtype, "The numbers to compute in")
      ->check(CLI::IsMember({"auto", "f32", "bf16"}))
      ->capture_default_str()
      ->group(model);
  app.add_option("--device", flags.device, "Which GPU, counted from 0")
      ->check(CLI::Range(0, 1023).description(""))
      ->capture_default_str()
      ->group(model);
  app.add_flag("--deterministic", flags.deterministic,
               "On a GPU, choose no faster way that depends on what else is in a batch")
      ->group(model);
  app.add_option("--threads", flags.threads, "CPU threads. Default: one for each core")
      ->check(CLI::Range(1, 1024).description(""))
      ->group(model);

  const char* prompt = "What to say to it";
  app.add_option("--prompt", flags.prompts, "A prompt. May be given several times")
      ->take_all()
      ->allow_extra_args(false)
      ->group(prompt);
  app.add_option("--prompts", flags.prompts_file,
                 "A JSON file with a list of prompts, each a text or a list of token ids")
      ->type_name("FILE")
      ->check(NotEmpty)
      ->group(prompt);
  app.add_option("--prompt-ids", flags.prompt_ids, "A prompt as token ids: 1,2,3")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("IDS")
      ->check(NotEmpty)
      ->group(prompt);
  app.add_flag("--raw,!--chat", flags.raw,
               "Continue the prompt as it is; --chat, the default for models that were trained to "
               "chat, wraps it in the model's chat template")
      ->group(prompt);

  const char* answer = "How to answer";
  app.add_option("--max-new-tokens", flags.max_new_tokens, "Stop after so many tokens")
      ->check(CLI::Range(1, 1 << 30).description(""))
      ->capture_default_str()
      ->group(answer);
  app.add_flag("--ignore-eos", flags.ignore_eos, "Go on where the model would end its answer")
      ->group(answer);
  app.add_option("--stop", flags.stop, "Stop before this text. May be given several times")
      ->take_all()
      ->allow_extra_args(false)
      ->group(answer);
  app.add_option("--temperature", flags.temperature,
                 "0: always the likeliest token (greedy); 1: as likely as the model says")
      ->check(NotEmpty)
      ->capture_default_str()
      ->group(answer);
  app.add_option("--top-k", flags.top_k, "Draw from the k likeliest tokens only; 0: from all")
      ->check(NotEmpty)
      ->capture_default_str()
      ->group(answer);
  app.add_option("--top-p", flags.top_p,
                 "Draw from the likeliest tokens that together have this probability")
      ->check(NotEmpty)
      ->capture_default_str()
      ->group(answer);
  app.add_option("--min-p", flags.min_p,
                 "Draw only from tokens at least this likely, relative to the likeliest")
      ->check(NotEmpty)
      ->capture_default_str()
      ->group(answer);
  app.add_option("--seed", flags.seed, "The same seed draws the same tokens")
      ->check(Uint64)
      ->capture_default_str()
      ->group(answer);

  const char* report = "What to report";
  app.add_option("--top-logits", flags.top_logits,
                 "Report the k best scores of each step (with --json)")
      ->check(CLI::Range(0, 1 << 20).description(""))
      ->group(report);
  app.add_option("--json", flags.json,
                 "Write the report to this file; -: to standard output, and nothing else there")
      ->type_name("FILE")
      ->check(NotEmpty)
      ->group(report);
  if (add_flags) add_flags(app);

  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    app.exit(help);
    std::exit(0);
  } catch (const CLI::ExtrasError&) {
    // CLI11 would name all that follows, too, and backwards.
    throw InputError("{} is no flag of this program (see --help)", Quoted(app.remaining().front()));
  } catch (const CLI::ParseError& error) {
    throw InputError("{} (see --help)", error.what());
  }
  if (!flags.model.empty() && !flags.random_weights.empty()) {
    throw InputError("--model and --random-weights exclude each other");
  }
  return flags;
}

int RunMain(const std::function<int()>& body) {
  if (const char* folder = std::getenv("BUILD_WORKING_DIRECTORY")) {
    if (::chdir(folder) != 0) std::fprintf(stderr, "cannot change to %s\n", folder);
  }
  try {
    return body();
  } catch (const InputError& error) {
    std::fprintf(stderr, "error: %s\n", Escaped(error.what()).c_str());
    return 2;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "error: out of memory\n");
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "internal error: %s\n", error.what());
    return 1;
  }
}

std::filesystem::path Runfile(const std::string& argv0, const std::string& path) {
  using bazel::tools::cpp::runfiles::Runfiles;
  std::string error;
  const std::unique_ptr<Runfiles> runfiles(Runfiles::Create(argv0, &error));
  const std::filesystem::path found = runfiles == nullptr ? "" : runfiles->Rlocation(path);
  if (found.empty() || !std::filesystem::exists(found)) {
    throw InputError("cannot find {}: start this program with `bazel run`, or name the file", path);
  }
  return std::filesystem::absolute(found);
}

std::filesystem::path DefaultModel(const std::string& argv0) {
  return Runfile(argv0, "smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
}

const std::atomic<bool>& InterruptFlag() {
  std::signal(SIGINT, OnInterrupt);
  return interrupted;
}

}  // namespace aios
