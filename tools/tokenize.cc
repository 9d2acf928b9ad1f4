// Texts to token ids, or back:
//
//   bazel run //tools:tokenize -- --input texts.json        ["Hi", ...]   ->  [[18, 45], ...]
//   bazel run //tools:tokenize -- --input ids.json --decode [[18, 45], ...]  ->  ["Hi", ...]
#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "common/base/cli.h"
#include "common/base/error.h"
#include "common/base/json.h"
#include "common/base/mapped_file.h"
#include "common/base/utf8.h"
#include "common/text/tokenizer.h"

namespace aios {
namespace {

struct Flags {
  std::string model;
  std::string input;
  bool special = false;
  bool decode = false;
};

Flags ParseFlags(int argc, char** argv) {
  Flags flags;
  CLI::App app("Texts to token ids, or back. The result goes to standard output, as JSON.");
  app.add_option("--model", flags.model,
                 "A GGUF file, a directory, a tokenizer.json or a SentencePiece .model file; "
                 "default: the model that Bazel fetched");
  app.add_option("--input", flags.input,
                 "A JSON file: a list of texts, or with --decode a list of lists of token ids")
      ->required();
  app.add_flag("--special", flags.special, "Special tokens in the texts are tokens, not text");
  app.add_flag("--decode", flags.decode, "From token ids to texts");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    std::exit(app.exit(help));
  } catch (const CLI::ParseError& error) {
    throw InputError("{} (--help lists the flags)", error.what());
  }
  return flags;
}

Json EncodeText(const Tokenizer& tokenizer, const Json& text, SpecialTokens special) {
  if (!text.is_string()) throw InputError("must be a string");
  return tokenizer.Encode(text.get_ref<const std::string&>(), special);
}

Json DecodeIds(const Tokenizer& tokenizer, const Json& list) {
  if (!list.is_array()) throw InputError("must be a list of token ids");
  std::vector<TokenId> ids;
  for (const Json& id : list) {
    const bool valid = id.is_number_integer() && id >= 0 && id < tokenizer.vocab_size();
    if (!valid) {
      throw InputError("{} is no token id: they go from 0 to {}", Quoted(id.dump()),
                       tokenizer.vocab_size() - 1);
    }
    ids.push_back(id.get<TokenId>());
  }
  return ReplaceInvalidUtf8(tokenizer.Decode(ids));
}

int Run(int argc, char** argv) {
  const Flags flags = ParseFlags(argc, argv);
  const std::filesystem::path model =
      flags.model.empty() ? DefaultModel(argv[0]) : std::filesystem::path(flags.model);
  const std::unique_ptr<Tokenizer> tokenizer = LoadTokenizerFromPath(model);
  const Json input = ParseJson(ReadTextFile(flags.input), flags.input);
  if (!input.is_array()) throw InputError("{}: must be a JSON list", flags.input);

  const auto special = flags.special ? SpecialTokens::kRecognize : SpecialTokens::kAsText;
  Json output = Json::array();
  for (const Json& entry : input) {
    try {
      output.push_back(flags.decode ? DecodeIds(*tokenizer, entry)
                                    : EncodeText(*tokenizer, entry, special));
    } catch (const InputError& error) {
      throw InputError("{}: entry {}: {}", flags.input, output.size(), error.what());
    }
  }
  std::cout << output.dump() << '\n';
  return 0;
}

}  // namespace
}  // namespace aios

int main(int argc, char** argv) {
  return aios::RunMain([&] { return aios::Run(argc, argv); });
}
