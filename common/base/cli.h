// The command line of every program: the flags that all lessons share, and a main() that turns bad
// input into a sentence.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace aios {

// The flags of every lesson from 02 up, so that lessons can be compared on one workload. See --help
// for what each means.
struct LessonFlags {
  std::string model;           // empty: the model that Bazel fetched
  std::string random_weights;  // the name of a shape; empty: none
  std::string backend = "auto";
  std::string dtype = "auto";
  int device = 0;  // which GPU
  bool deterministic = false;
  int threads = 0;  // 0: one for each core
  std::vector<std::string> prompts;
  std::string prompts_file;
  std::vector<int32_t> prompt_ids;
  bool raw = false;
  int max_new_tokens = 64;
  bool ignore_eos = false;
  std::vector<std::string> stop;
  float temperature = 0;
  int top_k = 0;
  float top_p = 1;
  float min_p = 0;
  uint64_t seed = 0;
  int top_logits = 0;
  std::string json;  // empty: no report; "-": standard output
};

// Parses the flags. `about` is the first paragraph of --help; `add_flags` adds those of one lesson.
// Prints the help and exits 0 if asked; throws InputError for a flag that does not exist or a value
// that does not parse.
LessonFlags ParseLessonFlags(int argc, char** argv, const std::string& about,
                             const std::function<void(CLI::App&)>& add_flags = {});

// Runs a program's body. Returns the exit code for main(): the body's own; 2 after an InputError,
// whose sentence goes to standard error; 1 after any other exception. Also makes the shell's folder
// current again, which `bazel run` changes, so that relative paths mean what the person at the
// keyboard thinks.
int RunMain(const std::function<int()>& body);

// The file that a `data` label of the program's BUILD names, such as "smollm2/FILE.gguf"
// (repository, path in it). Throws InputError if it is not there: the program was started outside
// Bazel.
std::filesystem::path Runfile(const std::string& argv0, const std::string& path);

// The model to use where a program was given none.
std::filesystem::path DefaultModel(const std::string& argv0);

// Becomes true when the user presses Ctrl-C, from the first call on; pressed again, Ctrl-C ends the
// program.
const std::atomic<bool>& InterruptFlag();

}  // namespace aios
