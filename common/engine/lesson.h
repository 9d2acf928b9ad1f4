// What every lesson's program does around its own part: boot (machine, model, prompts), a line of
// figures for each run, and the report.
#pragma once

#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/cli.h"
#include "common/engine/generate.h"
#include "common/engine/report.h"
#include "common/model/model.h"
#include "common/text/tokenizer.h"

namespace aios {

// A prompt as the model gets it.
struct Prompt {
  std::string text;  // what the user said; empty if ids were given
  std::vector<TokenId> ids;
};

class Lesson {
 public:
  // Opens the model and encodes the prompts that the flags name, and prints a line about each.
  // Everything that can be wrong with flags, files and prompts is found here, before any work:
  // InputError. `bytes_per_param`: memory that the lesson will need beside the model's own.
  // `needs_prompt`: there is a default prompt where no flag gives one; else prompts() is empty
  // then.
  Lesson(std::string name, const LessonFlags& flags, const std::string& argv0,
         int64_t bytes_per_param = 0, bool needs_prompt = true);

  const Model& model() const { return model_; }
  const Tokenizer* tokenizer() const { return tokenizer_.get(); }
  const std::vector<Prompt>& prompts() const { return prompts_; }
  // A token for people: its text in quotes, or its number if it has no text.
  std::string NameOf(TokenId token) const;
  // What Generate asks for, but for the prompt.
  const GenerationRequest& request() const { return request_; }
  // For a memory that holds less than the model's context: answers end there. Throws InputError
  // for a prompt that leaves no room for an answer.
  void LimitContext(int64_t context);
  // Tokens of the longest prompt and its answer together, at most.
  int64_t longest_sequence() const;
  int n_threads() const { return report_.n_threads; }
  Report& report() { return report_; }

  // Prints for people: to standard output, or to standard error if the report goes there.
  template <typename... Args>
  void Print(fmt::format_string<Args...> format, Args&&... args) const {
    fmt::print(out_, format, std::forward<Args>(args)...);
    std::fflush(out_);
  }

  // Generates for every prompt with `next_logits`, shows the text as it comes, and adds the run to
  // the report. The result is valid until the next run. Ctrl-C ends it after the token at hand.
  const Run& Generate(Run run, const NextLogits& next_logits);
  // The same with what has a loop of its own, as Engine::Generate.
  using AnswerRequest = std::function<Generation(const GenerationRequest&, const Tokenizer*,
                                                 const std::function<void(std::string_view)>&)>;
  const Run& Generate(Run run, const AnswerRequest& answer);

  // Adds a check to the report and prints it.
  void AddCheck(Check check);

  // Prints how fast each run was, beside what the memory of this machine would allow, and what
  // moved; writes the report if a flag asked for it. Returns main()'s exit code: 0, or 1 if a
  // check failed.
  int Finish();

 private:
  void PrintFigures(const Run& run) const;

  LessonFlags flags_;
  std::FILE* out_;
  GenerationRequest request_;  // before the model, so that bad flags are found before it is opened
  Model model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::vector<Prompt> prompts_;
  Report report_;
};

}  // namespace aios
