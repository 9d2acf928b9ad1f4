#include "common/text/tokenizer_json.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/text/bpe.h"

namespace aios {
namespace {

// Ids may leave gaps, which cost memory; so they may not lie far beyond the number of tokens.
constexpr int64_t kMaxGap = 1 << 16;

// The steps of a component that may be null, one step, or a Sequence of steps, which `list` names.
std::vector<JsonObject> Steps(const JsonObject& file, std::string_view component,
                              std::string_view list) {
  std::vector<JsonObject> steps;
  if (file.Find(component) == nullptr) return steps;
  const JsonObject outer = file.Object(component);
  if (outer.String("type") != "Sequence") {
    steps.push_back(outer);
    return steps;
  }
  const Json* inner = outer.Find(list);
  if (inner == nullptr || !inner->is_array()) {
    throw InputError("{}: {} must be a list", outer.source(), Quoted(list));
  }
  for (const Json& step : *inner) {
    steps.emplace_back(step, fmt::format("{}[{}]", outer.source(), steps.size()));
  }
  return steps;
}

[[noreturn]] void ThrowUnsupported(const JsonObject& where, std::string_view what) {
  throw UnsupportedError("{}: {} is not supported", where.source(), what);
}

// Refuses an option unless it is absent or off (null, false, "", 0).
void RefuseOption(const JsonObject& object, std::string_view key) {
  const Json* value = object.Find(key);
  if (value == nullptr || *value == false || *value == "" || *value == 0) return;
  ThrowUnsupported(object, Quoted(key));
}

bool ReadsNfc(const JsonObject& file) {
  bool nfc = false;
  for (const JsonObject& step : Steps(file, "normalizer", "normalizers")) {
    const std::string type = step.String("type");
    if (type != "NFC") ThrowUnsupported(step, "the normalizer " + Quoted(type));
    nfc = true;
  }
  return nfc;
}

// The expression of a Split step.
std::string SplitRegex(const JsonObject& step) {
  const JsonObject pattern = step.Object("pattern");
  if (pattern.Find("Regex") == nullptr) ThrowUnsupported(step, "a pattern that is no Regex");
  if (step.String("behavior") != "Isolated" || step.Bool("invert", false)) {
    ThrowUnsupported(step, "a Split that is not \"Isolated\"");
  }
  return pattern.String("Regex");
}

// The known families, each by its exact steps.
PreTokenizer ReadPreTokenizer(const JsonObject& file) {
  std::vector<std::string> names;  // of the steps, with the options that matter
  for (const JsonObject& step : Steps(file, "pre_tokenizer", "pretokenizers")) {
    const std::string type = step.String("type");
    if (type == "ByteLevel") {
      if (step.Bool("add_prefix_space", true)) ThrowUnsupported(step, "'add_prefix_space'");
      names.push_back(step.Bool("use_regex", true) ? std::string(kGpt2Regex) : "bytes");
    } else if (type == "Split") {
      names.push_back(SplitRegex(step));
    } else if (type == "Digits") {
      if (!step.Bool("individual_digits", false)) ThrowUnsupported(step, "Digits in groups");
      names.emplace_back("digits");
    } else {
      ThrowUnsupported(step, "the pre-tokenizer " + Quoted(type));
    }
  }
  if (!names.empty() && names.back() == "bytes") {
    names.pop_back();
  } else if (names.empty() || names.back() != kGpt2Regex) {
    throw UnsupportedError("{}: a pre_tokenizer that does not end with ByteLevel is not supported",
                           file.source());
  }
  using Names = std::vector<std::string>;
  if (names == Names{std::string(kGpt2Regex)}) return PreTokenizer::kGpt2;
  if (names == Names{"digits", std::string(kGpt2Regex)}) return PreTokenizer::kSmolLm;
  if (names == Names{std::string(kLlama3Regex)}) return PreTokenizer::kLlama3;
  if (names == Names{std::string(kQwen2Regex)}) return PreTokenizer::kQwen2;
  throw UnsupportedError(
      "{}: the pre_tokenizer's regular expression is none of GPT-2's, SmolLM's, Llama 3's and "
      "Qwen 2's",
      file.source());
}

TokenId ReadId(const Json& value, int64_t n_ids, const JsonObject& where, std::string_view text) {
  // A JSON number beyond int64 reads as unsigned, and as negative here.
  const int64_t id = value.is_number_integer() ? value.get<int64_t>() : -1;
  if (id < 0 || id >= n_ids) {
    throw InputError("{}: the id of {} must be an integer from 0 to {}", where.source(),
                     Quoted(text), n_ids - 1);
  }
  return static_cast<TokenId>(id);
}

// The added tokens, and all tokens by id.
void ReadTokens(const JsonObject& file, const JsonObject& model, BpeVocabulary& vocabulary) {
  const Json* vocab = model.Find("vocab");
  if (vocab == nullptr || !vocab->is_object()) {
    throw InputError("{}: 'vocab' must be an object", model.source());
  }
  const Json* added = file.Find("added_tokens");
  if (added != nullptr && !added->is_array()) {
    throw InputError("{}: 'added_tokens' must be a list", file.source());
  }
  const size_t n_added = added == nullptr ? 0 : added->size();
  const int64_t n_ids = static_cast<int64_t>(vocab->size() + n_added) + kMaxGap;

  // Where the text of an id goes; empty if it has none yet.
  const auto text_of = [&](TokenId id) -> std::string_view& {
    auto& tokens = vocabulary.tokens;
    if (tokens.size() <= static_cast<size_t>(id)) tokens.resize(id + 1);
    return tokens[id];
  };
  const auto check_same = [](std::string_view there, std::string_view text, TokenId id,
                             const JsonObject& where) {
    if (there.empty() || there == text) return;
    throw InputError("{}: {} and {} have the same id, {}", where.source(), Quoted(there),
                     Quoted(text), id);
  };
  for (const auto& [text, value] : vocab->items()) {
    const TokenId id = ReadId(value, n_ids, model, text);
    check_same(text_of(id), text, id, model);
    text_of(id) = text;
  }
  for (size_t i = 0; i < n_added; ++i) {
    const JsonObject token((*added)[i], fmt::format("{}: added_tokens[{}]", file.source(), i));
    const Json* content = token.Find("content");
    if (content == nullptr || !content->is_string()) {
      throw InputError("{}: 'content' must be a string", token.source());
    }
    const auto& text = content->get_ref<const std::string&>();
    const bool special = token.Bool("special", false);
    const Json* id_value = token.Find("id");
    const TokenId id = ReadId(id_value == nullptr ? Json() : *id_value, n_ids, token, text);
    vocabulary.added_tokens.push_back({.id = id,
                                       .text = text,
                                       .special = special,
                                       .lstrip = token.Bool("lstrip", false),
                                       .rstrip = token.Bool("rstrip", false),
                                       .single_word = token.Bool("single_word", false),
                                       .normalized = token.Bool("normalized", !special)});
    check_same(text_of(id), text, id, token);
  }
}

// "a b" in older files, ["a", "b"] in newer ones.
void ReadMerges(const JsonObject& model, BpeVocabulary& vocabulary) {
  const Json* merges = model.Find("merges");
  if (merges == nullptr || !merges->is_array()) {
    throw InputError("{}: 'merges' must be a list", model.source());
  }
  vocabulary.merges.reserve(merges->size());
  for (const Json& merge : *merges) {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      vocabulary.merges.emplace_back(merge[0].get_ref<const std::string&>(),
                                     merge[1].get_ref<const std::string&>());
      continue;
    }
    const std::string_view pair =
        merge.is_string() ? std::string_view(merge.get_ref<const std::string&>()) : "";
    const size_t space = pair.find(' ');
    if (space == std::string_view::npos) {
      throw InputError("{}: 'merges'[{}] is not a pair of strings", model.source(),
                       vocabulary.merges.size());
    }
    vocabulary.merges.emplace_back(pair.substr(0, space), pair.substr(space + 1));
  }
}

void ReadModel(const JsonObject& file, const JsonObject& model, BpeVocabulary& vocabulary) {
  if (const std::string type = model.String("type", "BPE"); type != "BPE") {
    ThrowUnsupported(model, "the model " + Quoted(type));
  }
  RefuseOption(model, "byte_fallback");  // SentencePiece's BPE, rewritten for this format
  RefuseOption(model, "dropout");
  RefuseOption(model, "continuing_subword_prefix");
  RefuseOption(model, "end_of_word_suffix");
  ReadTokens(file, model, vocabulary);
  ReadMerges(model, vocabulary);
  vocabulary.ignore_merges = model.Bool("ignore_merges", false);
  if (model.Find("unk_token") == nullptr) return;
  RefuseOption(model, "fuse_unk");
  const std::string unknown = model.String("unk_token");
  const auto found = std::find(vocabulary.tokens.begin(), vocabulary.tokens.end(), unknown);
  if (found == vocabulary.tokens.end()) {
    throw InputError("{}: the 'unk_token' {} is no token", model.source(), Quoted(unknown));
  }
  vocabulary.unknown = static_cast<TokenId>(found - vocabulary.tokens.begin());
}

// The token that the post-processor puts before a text, if any.
std::optional<TokenId> ReadBos(const JsonObject& file, int n_ids) {
  std::optional<TokenId> bos;
  for (const JsonObject& step : Steps(file, "post_processor", "processors")) {
    const std::string type = step.String("type");
    if (type == "ByteLevel") continue;  // moves offsets, not tokens
    if (type != "TemplateProcessing") ThrowUnsupported(step, "the post-processor " + Quoted(type));
    const Json* single = step.Find("single");
    const auto is = [&](size_t i, const char* kind) {
      return (*single)[i].is_object() && (*single)[i].contains(kind);
    };
    if (single != nullptr && single->is_array() && single->size() == 1 && is(0, "Sequence")) {
      continue;
    }
    if (single == nullptr || !single->is_array() || single->size() != 2 || !is(0, "SpecialToken") ||
        !is(1, "Sequence")) {
      ThrowUnsupported(step, "a template other than a token and the text");
    }
    const std::string name =
        JsonObject((*single)[0], step.source()).Object("SpecialToken").String("id");
    const JsonObject token = step.Object("special_tokens").Object(name);
    const Json* ids = token.Find("ids");
    if (ids == nullptr || !ids->is_array() || ids->size() != 1) {
      ThrowUnsupported(token, "a special token of several ids");
    }
    bos = ReadId((*ids)[0], n_ids, token, name);
  }
  return bos;
}

void CheckDecoder(const JsonObject& file) {
  for (const JsonObject& step : Steps(file, "decoder", "decoders")) {
    const std::string type = step.String("type");
    if (type != "ByteLevel") ThrowUnsupported(step, "the decoder " + Quoted(type));
  }
}

}  // namespace

std::unique_ptr<Tokenizer> BpeFromTokenizerJson(std::string_view text, std::string_view source) {
  const Json json = ParseJson(text, source);
  const JsonObject file(json, std::string(source));
  BpeVocabulary vocabulary;  // its views point into `json`
  vocabulary.nfc = ReadsNfc(file);
  const JsonObject model = file.Object("model");
  ReadModel(file, model, vocabulary);
  // After the model, whose refusals say more.
  vocabulary.pre_tokenizer = ReadPreTokenizer(file);
  CheckDecoder(file);
  auto tokenizer = std::make_unique<BpeTokenizer>(vocabulary, source);
  tokenizer->bos = ReadBos(file, tokenizer->vocab_size());
  return tokenizer;
}

}  // namespace aios
