#include "common/text/bpe_gguf.h"

#include <utility>

#include "common/base/error.h"
#include "common/text/bpe.h"
#include "common/text/gguf_tokens.h"

namespace aios {
namespace {

struct PreTokenizerName {
  std::string_view name;
  PreTokenizer pre_tokenizer;
  bool nfc;
  bool ignore_merges;
};

// tokenizer.ggml.pre: the names under which llama.cpp files models with the same regular
// expression. Normalization and ignore_merges are not in the file, but come with the family.
constexpr PreTokenizerName kPreTokenizers[] = {
    {"default", PreTokenizer::kGpt2, false, false},
    {"gpt2", PreTokenizer::kGpt2, false, false},
    {"gpt-2", PreTokenizer::kGpt2, false, false},
    {"phi-2", PreTokenizer::kGpt2, false, false},
    {"smollm", PreTokenizer::kSmolLm, false, false},
    {"starcoder", PreTokenizer::kSmolLm, false, false},
    {"refact", PreTokenizer::kSmolLm, false, false},
    {"llama-bpe", PreTokenizer::kLlama3, false, true},
    {"llama3", PreTokenizer::kLlama3, false, true},
    {"llama-v3", PreTokenizer::kLlama3, false, true},
    {"falcon3", PreTokenizer::kLlama3, false, true},
    {"qwen2", PreTokenizer::kQwen2, true, false},
    {"deepseek-r1-qwen", PreTokenizer::kQwen2, true, false},
};

const PreTokenizerName& FindPreTokenizer(const GgufFile& gguf) {
  // Files from before the key existed hold GPT-2's expression.
  const std::string_view name = gguf.String("tokenizer.ggml.pre").value_or("default");
  for (const PreTokenizerName& known : kPreTokenizers) {
    if (known.name == name) return known;
  }
  throw UnsupportedError(
      "{}: the pre-tokenizer {} (tokenizer.ggml.pre) is not supported; gpt-2, smollm, llama-bpe "
      "and "
      "qwen2 are",
      gguf.name(), Quoted(name));
}

}  // namespace

std::unique_ptr<Tokenizer> BpeFromGguf(const GgufFile& gguf) {
  GgufTokens tokens = ReadGgufTokens(gguf);
  const PreTokenizerName& pre = FindPreTokenizer(gguf);
  BpeVocabulary vocabulary;
  vocabulary.pre_tokenizer = pre.pre_tokenizer;
  vocabulary.nfc = pre.nfc;
  vocabulary.ignore_merges = pre.ignore_merges;
  for (size_t id = 0; id < tokens.texts.size(); ++id) {
    const GgufTokenType type = tokens.types[id];
    if (type == GgufTokenType::kUnused) {
      tokens.texts[id] = {};  // fills the table up to a round size; no text becomes it
      continue;
    }
    if (type == GgufTokenType::kNormal || type == GgufTokenType::kByte) continue;
    vocabulary.added_tokens.push_back({.id = static_cast<TokenId>(id),
                                       .text = std::string(tokens.texts[id]),
                                       .special = type != GgufTokenType::kUserDefined});
  }
  vocabulary.tokens = std::move(tokens.texts);

  const auto merges = gguf.Strings("tokenizer.ggml.merges");
  if (!merges) throw InputError("{}: tokenizer.ggml.merges is missing", gguf.name());
  vocabulary.merges.reserve(merges->size());
  for (const std::string_view merge : *merges) {
    // Spaces are not in the byte-level alphabet, so the only one parts the two.
    const size_t space = merge.find(' ');
    if (space == std::string_view::npos) {
      throw InputError("{}: merge {} ({}) is not two strings with a space between", gguf.name(),
                       vocabulary.merges.size(), Quoted(merge));
    }
    vocabulary.merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
  return std::make_unique<BpeTokenizer>(vocabulary, gguf.name());
}

}  // namespace aios
