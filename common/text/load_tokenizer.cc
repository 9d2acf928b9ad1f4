#include <fstream>

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/base/mapped_file.h"
#include "common/loader/checkpoint.h"
#include "common/loader/gguf.h"
#include "common/text/bpe_gguf.h"
#include "common/text/sentencepiece_tokenizer.h"
#include "common/text/tokenizer.h"
#include "common/text/tokenizer_json.h"

namespace aios {
namespace {

namespace fs = std::filesystem;

// The token before a raw prompt: which one the file says, and whether there is to be one. What the
// file leaves out is what llama.cpp would do.
std::optional<TokenId> BosFromGguf(const GgufFile& gguf, const Tokenizer& tokenizer,
                                   bool sentencepiece) {
  const std::string_view pre = gguf.String("tokenizer.ggml.pre").value_or("");
  const bool usual = sentencepiece || pre == "llama-bpe" || pre == "llama3" || pre == "llama-v3";
  if (!gguf.Bool("tokenizer.ggml.add_bos_token").value_or(usual)) return std::nullopt;
  auto id = gguf.Int("tokenizer.ggml.bos_token_id");
  if (!id && sentencepiece) id = 1;
  if (!id || *id < 0 || *id >= tokenizer.vocab_size()) {
    throw InputError("{}: tokenizer.ggml.bos_token_id must be one of the {} tokens", gguf.name(),
                     tokenizer.vocab_size());
  }
  return static_cast<TokenId>(*id);
}

std::unique_ptr<Tokenizer> FromGguf(const GgufFile& gguf) {
  const auto model = gguf.String("tokenizer.ggml.model");
  if (!model || *model == "none" || *model == "no_vocab") return nullptr;
  if (*model != "gpt2" && *model != "llama") {
    throw UnsupportedError(
        "{}: the tokenizer {} (tokenizer.ggml.model) is not supported; gpt2 and llama are",
        gguf.name(), Quoted(*model));
  }
  const bool sentencepiece = *model == "llama";
  auto tokenizer = sentencepiece ? SentencePieceFromGguf(gguf) : BpeFromGguf(gguf);
  tokenizer->bos = BosFromGguf(gguf, *tokenizer, sentencepiece);
  tokenizer->chat_template = gguf.String("tokenizer.chat_template").value_or("");
  return tokenizer;
}

std::optional<std::string> ReadIfThere(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return std::nullopt;
  return ReadTextFile(path);
}

// The chat template in tokenizer_config.json: a string, or a list of named ones.
std::string ChatTemplateOf(const JsonObject& config) {
  const Json* value = config.Find("chat_template");
  if (value == nullptr) return {};
  if (!value->is_array()) return config.String("chat_template");
  for (const Json& entry : *value) {
    const JsonObject named(entry, config.source() + ": 'chat_template'");
    if (named.String("name") == "default") return named.String("template");
  }
  return {};
}

// What tokenizer_config.json says beside tokenizer.json or tokenizer.model.
void ReadConfig(const fs::path& directory, Tokenizer& tokenizer) {
  const fs::path path = directory / "tokenizer_config.json";
  if (const auto text = ReadIfThere(path)) {
    const Json json = ParseJson(*text, path.string());
    const JsonObject config(json, path.string());
    tokenizer.chat_template = ChatTemplateOf(config);
    // Absent, it leaves the choice to the tokenizer's own file.
    if (config.Find("add_bos_token") != nullptr && !config.Bool("add_bos_token", false)) {
      tokenizer.bos.reset();
    } else if (config.Bool("add_bos_token", false) && config.Find("bos_token") != nullptr) {
      const bool is_object = config.Find("bos_token")->is_object();
      const std::string name =
          is_object ? config.Object("bos_token").String("content") : config.String("bos_token");
      tokenizer.bos = tokenizer.FindSpecial(name);
      if (!tokenizer.bos) {
        throw InputError("{}: the bos_token {} is no special token", path.string(), Quoted(name));
      }
    }
  }
  if (const auto jinja = ReadIfThere(directory / "chat_template.jinja")) {
    tokenizer.chat_template = *jinja;
  }
}

std::unique_ptr<Tokenizer> FromModelFile(const fs::path& path) {
  auto tokenizer = SentencePieceFromModel(ReadTextFile(path), path.string());
  ReadConfig(path.parent_path(), *tokenizer);
  return tokenizer;
}

std::unique_ptr<Tokenizer> FromJsonFile(const fs::path& path) {
  auto tokenizer = BpeFromTokenizerJson(ReadTextFile(path), path.string());
  ReadConfig(path.parent_path(), *tokenizer);
  return tokenizer;
}

// Models with SentencePiece often come with a tokenizer.json that says the same in Hugging Face's
// terms, which are not supported here; the .model file is the original.
std::unique_ptr<Tokenizer> FromDirectory(const fs::path& directory) {
  const bool has_model = fs::exists(directory / "tokenizer.model");
  if (fs::exists(directory / "tokenizer.json")) {
    try {
      return FromJsonFile(directory / "tokenizer.json");
    } catch (const UnsupportedError&) {
      if (!has_model) throw;
    }
  }
  return has_model ? FromModelFile(directory / "tokenizer.model") : nullptr;
}

}  // namespace

std::unique_ptr<Tokenizer> LoadTokenizer(const Checkpoint& checkpoint) {
  return checkpoint.gguf() != nullptr ? FromGguf(*checkpoint.gguf())
                                      : FromDirectory(checkpoint.path());
}

std::unique_ptr<Tokenizer> LoadTokenizerFromPath(const fs::path& path) {
  std::error_code error;
  std::unique_ptr<Tokenizer> tokenizer;
  if (fs::is_directory(path, error)) {
    tokenizer = FromDirectory(path);
  } else if (path.extension() == ".json") {
    tokenizer = FromJsonFile(path);
  } else if (path.extension() == ".model") {
    tokenizer = FromModelFile(path);
  } else {
    tokenizer = FromGguf(GgufFile::Open(path));
  }
  if (tokenizer == nullptr) {
    throw InputError("{}: there is no tokenizer in it", path.string());
  }
  return tokenizer;
}

}  // namespace aios
