// Lesson 01: LLM basics.
//
// Opens a language model and looks at each of its parts: the tokenizer, then what a token meets on
// its way through the layers, first on numbers that can be checked by hand, then in the real model
// with the reader's own text. What the parts are is told in their files, show_*.cc.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "common/base/cli.h"
#include "common/base/error.h"
#include "common/base/mapped_file.h"
#include "lessons/01_llm_basics/notebook.h"
#include "lessons/01_llm_basics/show.h"
#include "lessons/01_llm_basics/show_tokenizer.h"
#include "lessons/01_llm_basics/subject.h"

namespace {

using namespace aios;

constexpr const char* kAbout =
    "Lesson 01, LLM basics: the tokenizer and the parts of a transformer, on numbers that can be\n"
    "checked by hand and in a real model. Without --show: a guided tour of all of them.";

const std::vector<std::string> kParts = {"tokenizer", "embedding", "norm",   "rope",   "attention",
                                         "ffn",       "residual",  "logits", "params", "all"};

struct Flags {
  TokenizerOptions tokenizer;  // what is for the tokenizer only, and what is for all parts
  AttentionOptions attention;
  std::vector<std::string> show;  // empty: the tour
  int threads = 0;                // 0: one for each core
  std::string json;

  bool Shows(const std::string& part) const {
    const auto named = [&](const std::string& name) { return std::ranges::count(show, name) > 0; };
    return show.empty() || named(part) || named("all");
  }
};

std::string NotEmpty(const std::string& text) { return text.empty() ? "is empty" : ""; }

Flags ParseFlags(int argc, char** argv) {
  Flags flags;
  TokenizerOptions& tokenizer = flags.tokenizer;
  tokenizer.argv0 = argv[0];
  CLI::App app(kAbout, std::filesystem::path(argv[0]).filename().string());
  app.get_formatter()->column_width(34);
  const auto path = [&](const char* name, auto& value, const char* help) {
    return app.add_option(name, value, help)->type_name("PATH")->check(NotEmpty);
  };
  const auto number = [&](const char* name, int& value, const char* help) {
    return app.add_option(name, value, help)->check(CLI::Range(0, 1 << 20).description(""));
  };

  app.add_option("--show", flags.show, "A part in full. May be given several times; all: all")
      ->take_all()
      ->allow_extra_args(false)
      ->check(CLI::IsMember(kParts));
  path("--model", tokenizer.model,
       "A GGUF file, or a folder with config.json, safetensors and tokenizer.json. Default: "
       "SmolLM2-135M-Instruct, which Bazel fetched");
  auto* text = app.add_option("--text", tokenizer.text, "The text to look at")->check(NotEmpty);
  path("--file", tokenizer.file, "A file with the text to look at")->excludes(text);
  number("--layer", flags.attention.layer, "Whose attention weights to show, counted from 0");
  number("--head", flags.attention.head, "Which head of that layer, counted from 0");
  path(
      "--svg", tokenizer.svg,
      "Draw attention's weights or the tokenizer's merges: FILE.svg, or a folder for all pictures");
  path("--train", tokenizer.train, "tokenizer: train a vocabulary from this text");
  number("--vocab-size", tokenizer.vocab_size, "tokenizer: how large it becomes");
  path("--sentencepiece", tokenizer.sentencepiece, "tokenizer: a SentencePiece .model to show");
  app.add_option("--threads", flags.threads, "CPU threads. Default: one for each core")
      ->check(CLI::Range(1, 1024).description(""));
  path("--json", flags.json, "Write the figures to this file; -: to standard output");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    app.exit(help);
    std::exit(0);
  } catch (const CLI::ParseError& error) {
    throw InputError("{} (see --help)", error.what());
  }

  if (tokenizer.model.empty()) tokenizer.model = DefaultModel(argv[0]);
  if (!tokenizer.svg.empty() && flags.Shows("attention")) {
    flags.attention.svg = tokenizer.svg;
    if (std::filesystem::path(tokenizer.svg).extension() != ".svg") {
      std::error_code error;  // what is wrong is found when the picture is to be written
      std::filesystem::create_directories(tokenizer.svg, error);
      flags.attention.svg += "/attention.svg";
    } else if (flags.Shows("tokenizer") && !flags.show.empty()) {
      throw InputError("--svg {}: is no folder, and there are several pictures",
                       Quoted(tokenizer.svg));
    }
  }
  return flags;
}

constexpr const char* kDefaultText = "The capital of France is";

int RunLesson(int argc, char** argv) {
  // Flags.
  const Flags flags = ParseFlags(argc, argv);
  Notebook notebook(flags.json, /*in_full=*/!flags.show.empty());

  // Boot: open the model and read the text, unless only the tokenizer is wanted.
  const bool needs_model = std::ranges::any_of(
      kParts, [&](const std::string& part) { return part != "tokenizer" && flags.Shows(part); });
  std::optional<Subject> subject;
  if (needs_model) {
    std::string text = flags.tokenizer.text;
    if (!flags.tokenizer.file.empty()) text = ReadTextFile(flags.tokenizer.file, 1 << 20);
    if (text.empty() && flags.tokenizer.file.empty()) text = kDefaultText;
    subject.emplace(flags.tokenizer.model, std::move(text), flags.threads);
    CheckAttentionOptions(flags.attention, subject->config());
    Introduce(*subject, notebook);
  }

  // The tokenizer: from a text to tokens.
  if (flags.Shows("tokenizer") && !flags.show.empty()) {
    notebook.Figures("tokenizer") = ShowTokenizer(flags.tokenizer, notebook.out());
  }

  // The transformer: from tokens to scores for the next one, in the order in which a token meets
  // its parts.
  if (flags.Shows("embedding")) ShowEmbedding(*subject, notebook);
  if (flags.Shows("norm")) ShowNorm(*subject, notebook);
  if (flags.Shows("rope")) ShowRope(*subject, notebook);
  if (flags.Shows("attention")) ShowAttention(*subject, notebook, flags.attention);
  if (flags.Shows("ffn")) ShowFfn(*subject, notebook);
  if (flags.Shows("residual")) ShowResidual(*subject, notebook);
  if (flags.Shows("logits")) ShowLogits(*subject, notebook);
  if (flags.Shows("params")) ShowParams(*subject, notebook);

  // Check and report.
  return notebook.Finish();
}

}  // namespace

int main(int argc, char** argv) {
  return aios::RunMain([&] { return RunLesson(argc, argv); });
}
