// Tokenizer: text becomes token ids, and ids become text again.
//
// Two kinds of vocabulary stand behind one interface: byte-level BPE (GPT-2, Llama 3, Qwen,
// SmolLM), read from GGUF metadata or from tokenizer.json; and SentencePiece (Llama 2, Mistral),
// read from tokenizer.model or from GGUF.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace aios {

class Checkpoint;

using TokenId = int32_t;

// What a special token's text, such as "<|im_end|>", means in a text that is encoded.
enum class SpecialTokens : uint8_t {
  kAsText,     // nothing: it is split like any other text. For text that a user gave.
  kRecognize,  // the token. For text that a template wrote.
};

// Immutable after loading, so thread-safe.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // The ids of `text`, without a beginning-of-sequence token. Throws InputError unless the text is
  // valid UTF-8. Time and memory are linear in the text (up to a logarithm), whatever the text and
  // the merges.
  virtual std::vector<TokenId> Encode(std::string_view text, SpecialTokens special) const = 0;

  // The bytes that a token stands for; a special token's own text. May be part of a character.
  // REQUIRES: 0 <= id < vocab_size(). An id in a gap of the vocabulary gives an empty text.
  virtual std::string_view TokenBytes(TokenId id) const = 0;

  // Whether it is a control token: not text (end of sequence, start of turn, ...).
  // REQUIRES: 0 <= id < vocab_size().
  virtual bool IsSpecial(TokenId id) const = 0;

  // One past the largest id.
  virtual int vocab_size() const = 0;

  // The id of a special token by its text.
  virtual std::optional<TokenId> FindSpecial(std::string_view text) const = 0;

  // Whether a space at the front of a text, and after each special token, is not part of the text:
  // SentencePiece puts one there before it encodes, and Decode takes it away.
  virtual bool drops_leading_space() const { return false; }

  // The text of `ids`, special tokens included. May end inside a character; see Detokenizer for
  // streams. REQUIRES: each id in [0, vocab_size()).
  std::string Decode(std::span<const TokenId> ids) const;

  // What comes before a raw prompt: the beginning-of-sequence token if the model wants one, else
  // nothing.
  std::optional<TokenId> bos;
  // The model's chat template (Jinja), or empty.
  std::string chat_template;
};

// The tokenizer of a checkpoint, or nullptr if the checkpoint has none (a directory without
// tokenizer.json and tokenizer.model). Throws InputError if it is malformed, UnsupportedError if it
// is of another kind.
std::unique_ptr<Tokenizer> LoadTokenizer(const Checkpoint& checkpoint);

// The tokenizer at a path: a GGUF file, a directory, a tokenizer.json or a SentencePiece .model
// file. Throws InputError if there is none.
std::unique_ptr<Tokenizer> LoadTokenizerFromPath(const std::filesystem::path& path);

}  // namespace aios
