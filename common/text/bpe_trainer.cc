#include "common/text/bpe_trainer.h"

#include <algorithm>
#include <array>
#include <compare>
#include <queue>
#include <unordered_map>
#include <utility>

#include "common/base/error.h"
#include "common/base/utf8.h"
#include "common/text/byte_level.h"

namespace aios {
namespace {

constexpr int kBytes = 256;
constexpr uint32_t kNone = UINT32_MAX;

// The different words of a text, and how often each stands there.
struct Words {
  std::vector<std::pair<std::string_view, uint64_t>> unique;  // in order of appearance
  uint64_t n_words = 0;
};

Words CountWords(std::string_view text, PreTokenizer pre_tokenizer, std::string_view source) {
  const WordScanner word_end = ScannerOf(pre_tokenizer);
  Words words;
  std::unordered_map<std::string_view, size_t> index;
  size_t n_bytes = 0;
  const char* const end = text.data() + text.size();
  for (const char* at = text.data(); at != end;) {
    const std::string_view word(at, word_end(at, end));
    at += word.size();
    ++words.n_words;
    const auto [found, is_new] = index.emplace(word, words.unique.size());
    if (is_new) {
      words.unique.emplace_back(word, 0);
      n_bytes += word.size();
      if (n_bytes > kMaxTrainedWordBytes) {
        throw InputError(
            "{}: its different words have more than {} MiB; train on a part of it (head -c)",
            source, kMaxTrainedWordBytes >> 20);
      }
    }
    ++words.unique[found->second].second;
  }
  return words;
}

// All words as lists of tokens, each token linked to its neighbours in the word; and for each pair
// of neighbours its count and where it stands. A merge touches only the places of its pair, so that
// all merges together cost no more than there are bytes (each takes a token away), up to a
// logarithm. A place that another merge has changed meanwhile is recognized when it comes up.
class PairCounts {
 public:
  struct Pair {
    TokenId left;
    TokenId right;
    auto operator<=>(const Pair&) const = default;
  };
  struct Candidate {
    uint64_t count;
    Pair pair;
    // std::priority_queue gives the largest: the most frequent, then the lowest ids.
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };

  PairCounts(const Words& words, const std::array<TokenId, kBytes>& id_of_byte) {
    for (const auto& [word, count] : words.unique) {
      const auto first = static_cast<uint32_t>(nodes_.size());
      word_count_.push_back(count);
      for (const char c : word) {
        const auto at = static_cast<uint32_t>(nodes_.size());
        nodes_.push_back({.token = id_of_byte[static_cast<uint8_t>(c)],
                          .previous = at == first ? kNone : at - 1,
                          .next = at + 1,
                          .word = static_cast<uint32_t>(word_count_.size() - 1)});
        if (at > first) Add(at - 1, at);
      }
      nodes_.back().next = kNone;
    }
    for (const auto& [key, places] : pairs_) {
      queue_.push({.count = places.count, .pair = PairOf(key)});
    }
  }

  // The most frequent pair, which leaves the queue; with a count of 0 if there is none.
  Candidate TakeBest() {
    while (!queue_.empty()) {
      const Candidate best = queue_.top();
      queue_.pop();
      const auto found = pairs_.find(KeyOf(best.pair));
      const uint64_t count = found == pairs_.end() ? 0 : found->second.count;
      if (count == best.count) return best;
      // It has become rarer since it was queued (or was merged): its turn comes later, if ever.
      if (count > 0) queue_.push({.count = count, .pair = best.pair});
    }
    return {};
  }

  // Makes `result` of the pair wherever it stands, in each word from the left.
  void Merge(const Pair& pair, TokenId result) {
    const auto found = pairs_.find(KeyOf(pair));
    std::vector<uint32_t> at = std::move(found->second.at);
    std::sort(at.begin(), at.end());
    changed_.clear();
    for (const uint32_t i : at) {
      Node& left = nodes_[i];
      if (left.token != pair.left || left.next == kNone) continue;
      Node& right = nodes_[left.next];
      if (right.token != pair.right) continue;
      if (left.previous != kNone) Remove(left.previous, i);
      if (right.next != kNone) Remove(left.next, right.next);
      left.token = result;
      right.token = kNoToken;
      left.next = right.next;
      if (left.next != kNone) nodes_[left.next].previous = i;
      if (left.previous != kNone) changed_.push_back(Add(left.previous, i));
      if (left.next != kNone) changed_.push_back(Add(i, left.next));
    }
    pairs_.erase(KeyOf(pair));
    std::sort(changed_.begin(), changed_.end());
    changed_.erase(std::unique(changed_.begin(), changed_.end()), changed_.end());
    for (const uint64_t key : changed_) {
      queue_.push({.count = pairs_[key].count, .pair = PairOf(key)});
    }
  }

 private:
  struct Node {
    TokenId token;      // kNoToken: merged into the one before
    uint32_t previous;  // in the word; kNone at its ends
    uint32_t next;
    uint32_t word;
  };
  struct Places {
    uint64_t count = 0;
    std::vector<uint32_t> at;  // of the left token; some may be out of date
  };

  static uint64_t KeyOf(const Pair& pair) {
    return static_cast<uint64_t>(pair.left) << 32 | static_cast<uint32_t>(pair.right);
  }
  static Pair PairOf(uint64_t key) {
    return {static_cast<TokenId>(key >> 32), static_cast<TokenId>(key)};
  }
  uint64_t KeyAt(uint32_t left, uint32_t right) const {
    return KeyOf({nodes_[left].token, nodes_[right].token});
  }

  uint64_t Add(uint32_t left, uint32_t right) {
    const uint64_t key = KeyAt(left, right);
    Places& places = pairs_[key];
    places.count += word_count_[nodes_[left].word];
    places.at.push_back(left);
    return key;
  }
  void Remove(uint32_t left, uint32_t right) {
    pairs_[KeyAt(left, right)].count -= word_count_[nodes_[left].word];
  }

  std::vector<Node> nodes_;
  std::vector<uint64_t> word_count_;
  std::unordered_map<uint64_t, Places> pairs_;
  std::priority_queue<Candidate> queue_;
  std::vector<uint64_t> changed_;  // pairs that the last merge made more frequent
};

// The bytes as the first tokens, in the order of their letters (which UTF-8 keeps).
std::array<TokenId, kBytes> AddBytes(std::vector<std::string>& tokens) {
  for (int byte = 0; byte < kBytes; ++byte) {
    const char c = static_cast<char>(byte);
    tokens.push_back(ToByteLevel({&c, 1}));
  }
  std::sort(tokens.begin(), tokens.end());
  std::array<TokenId, kBytes> id_of_byte{};
  for (TokenId id = 0; id < kBytes; ++id) {
    std::string byte;
    AppendByteLevel(tokens[id], byte);
    id_of_byte[static_cast<uint8_t>(byte[0])] = id;
  }
  return id_of_byte;
}

}  // namespace

TrainedBpe TrainBpe(std::string_view text, const BpeTrainerOptions& options,
                    std::string_view source) {
  if (options.vocab_size < kBytes || options.vocab_size > kMaxTrainedVocabulary) {
    throw InputError(
        "a vocabulary of {} tokens cannot be trained: it must have from {} (the bytes) to {}",
        options.vocab_size, kBytes, kMaxTrainedVocabulary);
  }
  if (text.empty()) throw InputError("{}: is empty, so there is nothing to train on", source);
  CheckUtf8(text, source);

  TrainedBpe trained;
  trained.pre_tokenizer = options.pre_tokenizer;
  std::vector<std::string>& tokens = trained.tokens;
  const std::array<TokenId, kBytes> id_of_byte = AddBytes(tokens);
  const Words words = CountWords(text, options.pre_tokenizer, source);
  trained.n_words = words.n_words;
  trained.n_unique_words = words.unique.size();

  PairCounts pairs(words, id_of_byte);
  // No two merges lead to the same token: where its bytes stand and nothing merges across their
  // ends, the same merges happen in the same order as at every other such place.
  while (std::ssize(tokens) < options.vocab_size) {
    const auto [count, pair] = pairs.TakeBest();
    if (count < std::max<uint64_t>(options.min_count, 1)) break;
    if (tokens[pair.left].size() + tokens[pair.right].size() > kMaxTrainedTokenBytes) continue;
    const auto result = static_cast<TokenId>(tokens.size());
    tokens.push_back(tokens[pair.left] + tokens[pair.right]);
    pairs.Merge(pair, result);
    trained.merges.push_back(
        {.left = pair.left, .right = pair.right, .result = result, .count = count});
  }
  return trained;
}

std::unique_ptr<BpeTokenizer> TrainedBpe::MakeTokenizer(std::string_view source) const {
  BpeVocabulary vocabulary;
  vocabulary.pre_tokenizer = pre_tokenizer;
  vocabulary.tokens.assign(tokens.begin(), tokens.end());
  for (const TrainedMerge& merge : merges) {
    vocabulary.merges.emplace_back(tokens[merge.left], tokens[merge.right]);
  }
  return std::make_unique<BpeTokenizer>(vocabulary, source);
}

}  // namespace aios
