// Training a byte-level BPE vocabulary: which merges a text calls for.
//
// Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words with Subword Units" (ACL
// 2016), over bytes as in GPT-2 (Radford et al. 2019): begin with the 256 bytes; count every pair
// of neighbours within the words of the text; the most frequent pair becomes a token; again, until
// the vocabulary is full. The order in which the merges were found is their rank when encoding.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/text/bpe.h"

namespace aios {

struct BpeTrainerOptions {
  int vocab_size = 512;    // with the 256 bytes; fewer if the text has no more pairs
  uint64_t min_count = 2;  // a pair seen less often is not merged
  PreTokenizer pre_tokenizer = PreTokenizer::kGpt2;
};

// Larger than any vocabulary in use.
inline constexpr int kMaxTrainedVocabulary = 1 << 18;
// Of the text's different words, together. Training takes 35 to 90 bytes of memory for each byte.
inline constexpr size_t kMaxTrainedWordBytes = size_t{8} << 20;

// Of a token, in letters, which take one or two bytes each. Without a limit, a text that repeats a
// word of a megabyte would make tokens that fill the memory.
inline constexpr size_t kMaxTrainedTokenBytes = 256;

struct TrainedMerge {
  TokenId left;
  TokenId right;
  TokenId result;
  uint64_t count;  // how often the pair stood in the text when it was chosen
};

struct TrainedBpe {
  std::vector<std::string> tokens;   // by id, in the letters of byte_level.h
  std::vector<TrainedMerge> merges;  // by rank
  PreTokenizer pre_tokenizer = PreTokenizer::kGpt2;
  uint64_t n_words = 0;       // in the text
  size_t n_unique_words = 0;  // that differ: only these are held and merged
  // An encoder with this vocabulary. `source` names it in errors.
  std::unique_ptr<BpeTokenizer> MakeTokenizer(std::string_view source) const;
};

// Ties: of pairs that are equally frequent, the one with the lowest left id goes first, then the
// one with the lowest right id. The bytes' ids are in the order of their letters' code points ('!'
// is 0), new tokens follow in the order of their making. Both as in GPT-2's vocabulary and Hugging
// Face's trainer, so that the same text gives the same merges there.
//
// A pair's count is the number of places where it stands: three in "aaaa" for (a, a), although only
// two can be merged.
//
// Time O(n log n) in the bytes of the different words, whatever the text. `source` names the text
// in errors. Throws InputError if the text is empty, not UTF-8, or has more different words than
// kMaxTrainedWordBytes holds; or if vocab_size is not in [256, kMaxTrainedVocabulary].
TrainedBpe TrainBpe(std::string_view text, const BpeTrainerOptions& options,
                    std::string_view source);

}  // namespace aios
