#include "lessons/01_llm_basics/show_tokenizer.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "common/base/cli.h"
#include "common/base/error.h"
#include "common/base/mapped_file.h"
#include "common/base/utf8.h"
#include "common/text/byte_level.h"
#include "common/text/sentencepiece_tokenizer.h"
#include "lessons/01_llm_basics/tokenizer_parts.h"

namespace aios {
namespace {

// The merges are traced step by step, which is quadratic in the longest word.
constexpr size_t kMaxShownBytes = size_t{16} << 10;
constexpr size_t kMaxTrainingBytes = size_t{64} << 20;

constexpr const char* kDefaultText = "The tokenizer splits unbelievable words, 2024 and 🚀你好.";

std::string TextOf(const TokenizerOptions& options) {
  if (!options.text.empty() && !options.file.empty()) {
    throw InputError("--text and --file exclude each other");
  }
  if (!options.file.empty()) return ReadPlainText(options.file, kMaxShownBytes, "to show");
  std::string text = options.text.empty() ? kDefaultText : options.text;
  if (text.size() > kMaxShownBytes) {
    throw InputError("--text has {} bytes; at most {} are shown step by step", text.size(),
                     kMaxShownBytes);
  }
  CheckPlainText(text, "--text");
  return text;
}

// Where the two pictures go: a path that ends in .svg is a file for the trees alone.
struct Pictures {
  std::string trees;
  std::string languages;
};

Pictures PicturesOf(const std::string& svg) {
  if (svg.empty()) return {};
  const std::filesystem::path path = svg;
  if (path.extension() == ".svg") return {.trees = svg, .languages = ""};
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (!std::filesystem::is_directory(path)) {
    throw InputError("{}: is no folder and cannot become one", path.string());
  }
  return {.trees = path / "tokenizer_merges.svg", .languages = path / "tokenizer_languages.svg"};
}

}  // namespace

std::string ReadPlainText(const std::filesystem::path& path, size_t max_bytes,
                          std::string_view purpose) {
  const MappedFile file = MappedFile::Open(path);  // reads nothing yet
  if (file.size() > max_bytes) {
    throw InputError("{}: has {} bytes, too many {}: at most {}. Take a part of it: head -c {}",
                     path.string(), file.size(), purpose, max_bytes, max_bytes);
  }
  std::string text(reinterpret_cast<const char*>(file.bytes().data()), file.size());
  CheckPlainText(text, path.string());
  return text;
}

void CheckPlainText(std::string_view text, std::string_view source) {
  if (text.empty()) throw InputError("{}: is empty: there is nothing to split", source);
  if (const size_t zero = text.find('\0'); zero != std::string_view::npos) {
    throw InputError("{}: is no text: byte {} is zero", source, zero);
  }
  CheckUtf8(text, source);
}

std::string LettersOf(const Tokenizer& tokenizer, TokenId id) {
  return ToByteLevel(tokenizer.TokenBytes(id));
}

void WriteSvg(const std::string& path, const std::string& svg, std::FILE* out) {
  std::ofstream file(path, std::ios::binary);
  file << svg;
  file.close();
  if (!file) throw InputError("{}: cannot write: {}", path, std::strerror(errno));
  fmt::print(out, "picture    {}\n", path);
}

Json ShowTokenizer(const TokenizerOptions& options, std::FILE* out) {
  // What can be wrong with the flags comes to light before anything is printed.
  const std::string text = TextOf(options);
  const Pictures pictures = PicturesOf(options.svg);
  const std::string training_text =
      options.train.empty() ? "" : ReadPlainText(options.train, kMaxTrainingBytes, "to train from");
  const auto model = LoadTokenizerFromPath(options.model);
  const auto sentencepiece = LoadTokenizerFromPath(
      options.sentencepiece.empty()
          ? Runfile(options.argv0, "aios/lessons/01_llm_basics/data/license.model")
          : std::filesystem::path(options.sentencepiece));
  if (!PieceOf(*sentencepiece, 0)) {
    throw InputError("--sentencepiece {}: is no SentencePiece vocabulary", options.sentencepiece);
  }

  Json report = {{"text", text}};
  if (const auto* bpe = dynamic_cast<const BpeTokenizer*>(model.get())) {
    report["merges"] = ShowMerges(*bpe, text, pictures.trees, out);
  } else {
    fmt::print(out, "The model's own vocabulary is SentencePiece's, which has no ranks:\n");
    report["model_pieces"] = ShowSentencePiece(*model, text, out);
  }
  report["surprises"] = ShowSurprises(*model, out);
  if (!options.train.empty()) {
    report["trained"] =
        ShowTraining(training_text, options.train, options.vocab_size, text, *model, out);
  }
  report["sentencepiece"] = ShowSentencePiece(*sentencepiece, text, out);
  report["languages"] = ShowLanguages(*model, pictures.languages, out);
  return report;
}

}  // namespace aios
