// Byte-level BPE, the tokenizer of GPT-2, Llama 3, Qwen and SmolLM. A text goes through
//
//   added tokens    "<|im_end|>" and the like are cut out                     added_tokens.h
//   normalization   NFC, if the model wants it                                nfc.h
//   words           each word stands alone from here on                       pretokenizer.h
//   bytes           a word's bytes are its first tokens
//   merges          neighbours become one token, the most urgent pair first   bpe_merge.h
//
// Since the bytes themselves are tokens, every text can be encoded, and decoding gives it back.
#pragma once

#include <array>
#include <bitset>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/text/added_tokens.h"
#include "common/text/bpe_merge.h"
#include "common/text/merge_table.h"
#include "common/text/pretokenizer.h"
#include "common/text/string_index.h"
#include "common/text/tokenizer.h"

namespace aios {

class WordCache;

// A vocabulary as files describe it. The views must live until the tokenizer is built.
struct BpeVocabulary {
  // By id, in the letters of byte_level.h. An empty one is a gap, or an id that only added_tokens
  // has. The text of an added token, which is literal, may stand here too.
  std::vector<std::string_view> tokens;
  // The most urgent first; also in the letters of byte_level.h.
  std::vector<std::pair<std::string_view, std::string_view>> merges;
  std::vector<AddedToken> added_tokens;
  PreTokenizer pre_tokenizer = PreTokenizer::kGpt2;
  bool nfc = false;
  // A word that is a token becomes it, whether the merges lead there or not.
  bool ignore_merges = false;
  // For a byte that the vocabulary lacks. Without it, such bytes are left out, as Hugging Face's
  // tokenizers do: there is no token that could stand for them.
  std::optional<TokenId> unknown;
};

// A word as the pre-tokenizer cuts it, and what becomes of it: for showing.
struct WordTrace {
  std::string word;               // after normalization
  std::vector<TokenId> bytes;     // what the merges begin with
  std::vector<MergeStep> merges;  // in the order in which they happen
  std::vector<TokenId> ids;       // what is left; together they are what Encode gives
  // Why there may be no merges: an added token, or a word that is a token itself (ignore_merges).
  bool looked_up = false;
};

class BpeTokenizer final : public Tokenizer {
 public:
  // `source` names the vocabulary in errors. Throws InputError if a token stands there twice or is
  // not in the alphabet, if a merge names a token that is not there, or if an added token's id is
  // past the last one.
  BpeTokenizer(const BpeVocabulary& vocabulary, std::string_view source);

  std::vector<TokenId> Encode(std::string_view text, SpecialTokens special) const override;
  std::string_view TokenBytes(TokenId id) const override;
  bool IsSpecial(TokenId id) const override;
  int vocab_size() const override { return static_cast<int>(is_special_.size()); }
  std::optional<TokenId> FindSpecial(std::string_view text) const override;

  // How `text` becomes tokens, word by word; special tokens are text. Throws like Encode. Quadratic
  // in the longest word.
  std::vector<WordTrace> Trace(std::string_view text) const;

 private:
  class Output;

  void AddTokens(const BpeVocabulary& vocabulary, std::string_view source);
  void AddMerges(const BpeVocabulary& vocabulary, std::string_view source);

  // Each takes what the one before leaves of a text.
  void EncodeUnnormalized(std::string_view text, SpecialTokens special, Output& out) const;
  void EncodeWords(std::string_view text, Output& out) const;
  void EncodeUnit(std::string_view unit, size_t readable, WordCache& cache, Output& out) const;
  void TraceWords(std::string_view text, std::vector<WordTrace>& words) const;
  size_t MergeBytes(std::string_view bytes, TokenId* tokens) const;

  // Whether some merge's left side ends with the one byte and its right side begins with the other.
  // Where none does, a word can be cut: no token will ever span the place.
  bool MayJoin(char left, char right) const {
    return may_join_[static_cast<uint8_t>(left) * 256 + static_cast<uint8_t>(right)];
  }

  WordScanner word_end_;
  bool nfc_;
  bool ignore_merges_;
  AddedTokenMatcher added_tokens_;             // looked for in the text as it is
  AddedTokenMatcher normalized_added_tokens_;  // and in its normal form
  StringPool bytes_;                           // of each token, by id
  StringIndex token_of_bytes_;                 // kept only for ignore_merges
  std::vector<bool> is_special_;
  std::vector<std::pair<std::string, TokenId>> specials_;  // by text
  std::array<TokenId, 256> token_of_byte_;                 // kNoToken: no such token
  MergeTable merges_;
  std::bitset<256 * 256> may_join_;
  uint32_t cache_owner_;  // this tokenizer's number in the word cache
};

}  // namespace aios
