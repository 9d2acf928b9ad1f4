#include "common/text/bpe.h"

#include <algorithm>
#include <atomic>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/base/utf8.h"
#include "common/text/bpe_merge.h"
#include "common/text/byte_level.h"
#include "common/text/nfc.h"
#include "common/text/unicode.h"
#include "common/text/word_cache.h"

namespace aios {
namespace {

uint32_t NextCacheOwner() {
  static std::atomic<uint32_t> next{1};
  return next++;
}

std::vector<AddedToken> Matched(const BpeVocabulary& vocabulary, bool normalized) {
  std::vector<AddedToken> tokens;
  for (const AddedToken& token : vocabulary.added_tokens) {
    if (token.normalized != normalized || token.text.empty()) continue;
    tokens.push_back(token);
    if (normalized && vocabulary.nfc) {
      std::string storage;
      tokens.back().text = std::string(NormalizeNfc(token.text, storage));
    }
  }
  return tokens;
}

}  // namespace

// The ids of a text. A vector, but written without a check for room at each token.
class BpeTokenizer::Output {
 public:
  explicit Output(size_t expected) : ids_(expected + kSlack) {}

  // Where `n` more tokens can be written; then say how many were.
  TokenId* Reserve(size_t n) {
    if (ids_.size() - size_ < n) ids_.resize(ids_.size() * 2 + n);
    return ids_.data() + size_;
  }
  void Advance(size_t n) { size_ += n; }
  void Push(TokenId id) {
    *Reserve(1) = id;
    Advance(1);
  }

  std::vector<TokenId> Take() && {
    ids_.resize(size_);
    return std::move(ids_);
  }

 private:
  static constexpr size_t kSlack = 64;
  std::vector<TokenId> ids_;
  size_t size_ = 0;
};

BpeTokenizer::BpeTokenizer(const BpeVocabulary& vocabulary, std::string_view source)
    : word_end_(ScannerOf(vocabulary.pre_tokenizer)),
      nfc_(vocabulary.nfc),
      ignore_merges_(vocabulary.ignore_merges),
      is_special_(vocabulary.tokens.size()),
      merges_(vocabulary.merges.size()),
      cache_owner_(NextCacheOwner()) {
  AddTokens(vocabulary, source);
  AddMerges(vocabulary, source);
  if (!ignore_merges_) token_of_bytes_ = StringIndex();
}

void BpeTokenizer::AddTokens(const BpeVocabulary& vocabulary, std::string_view source) {
  const size_t n = vocabulary.tokens.size();
  std::vector<const AddedToken*> added(n);
  for (const AddedToken& token : vocabulary.added_tokens) {
    if (token.id < 0 || static_cast<size_t>(token.id) >= n) {
      throw InputError("{}: added token {} has the id {}, but the ids end at {}", source,
                       Quoted(token.text), token.id, static_cast<int64_t>(n) - 1);
    }
    if (token.text.size() > AddedTokenMatcher::kMaxBytes) {
      throw UnsupportedError("{}: added token {} is longer than {} bytes", source,
                             Quoted(token.text), AddedTokenMatcher::kMaxBytes);
    }
    if (FindInvalidUtf8(token.text) != std::string_view::npos) {
      // It would be found inside a character and leave the rest of it behind.
      throw InputError("{}: added token {} is not valid UTF-8", source, Quoted(token.text));
    }
    if (added[token.id] != nullptr) {
      throw InputError("{}: added tokens {} and {} have the same id, {}", source,
                       Quoted(added[token.id]->text), Quoted(token.text), token.id);
    }
    added[token.id] = &token;
    is_special_[token.id] = token.special;
    if (token.special) specials_.emplace_back(token.text, token.id);
  }
  std::sort(specials_.begin(), specials_.end());
  added_tokens_ = AddedTokenMatcher(Matched(vocabulary, /*normalized=*/false));
  normalized_added_tokens_ = AddedTokenMatcher(Matched(vocabulary, /*normalized=*/true));

  bytes_.Reserve(n, n * 8);
  for (size_t id = 0; id < n; ++id) {
    if (added[id] != nullptr) {
      bytes_.bytes() += added[id]->text;
    } else if (!AppendByteLevel(vocabulary.tokens[id], bytes_.bytes())) {
      throw InputError("{}: token {} ({}) is not written in the byte-level alphabet", source, id,
                       Quoted(vocabulary.tokens[id]));
    }
    bytes_.EndString();
  }

  // Special tokens are left out of the index: no merge, and so no user's text, leads to them. Other
  // added tokens are in it only if they are in the vocabulary proper too.
  token_of_bytes_ = StringIndex(n);
  for (size_t i = 0; i < n; ++i) {
    const auto id = static_cast<TokenId>(i);
    if (added[i] != nullptr || bytes_[id].empty()) continue;
    if (const TokenId first = token_of_bytes_.Insert(bytes_, id); first != id) {
      throw InputError("{}: tokens {} and {} are the same ({})", source, first, id,
                       Quoted(vocabulary.tokens[i]));
    }
  }
  for (size_t i = 0; i < n; ++i) {
    if (added[i] == nullptr || added[i]->special || vocabulary.tokens[i].empty()) continue;
    token_of_bytes_.Insert(bytes_, static_cast<TokenId>(i));
  }
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const TokenId token = token_of_bytes_.Find(bytes_, {&c, 1});
    token_of_byte_[byte] = token != kNoToken ? token : vocabulary.unknown.value_or(kNoToken);
    if (token != kNoToken) continue;
    // Its neighbours may come to stand side by side, so nothing is known about places beside it.
    for (int other = 0; other < 256; ++other) {
      may_join_[byte * 256 + other] = true;
      may_join_[other * 256 + byte] = true;
    }
  }
}

void BpeTokenizer::AddMerges(const BpeVocabulary& vocabulary, std::string_view source) {
  std::string pair;
  for (size_t rank = 0; rank < vocabulary.merges.size(); ++rank) {
    const auto& [left, right] = vocabulary.merges[rank];
    pair.clear();
    const bool left_valid = AppendByteLevel(left, pair);
    const size_t middle = pair.size();
    const bool valid = left_valid && AppendByteLevel(right, pair);
    if (!valid || middle == 0 || middle == pair.size()) {
      throw InputError("{}: merge {} ({} with {}) is not two strings of the byte-level alphabet",
                       source, rank, Quoted(left), Quoted(right));
    }
    const std::string_view bytes = pair;
    const std::string_view parts[3] = {bytes.substr(0, middle), bytes.substr(middle), bytes};
    TokenId ids[3];
    bool special = false;
    for (int i = 0; i < 3; ++i) {
      ids[i] = token_of_bytes_.Find(bytes_, parts[i]);
      if (ids[i] != kNoToken) continue;
      special = FindSpecial(parts[i]).has_value();
      if (special) break;
      throw InputError("{}: merge {} ({} with {}) needs {}, which is no token", source, rank,
                       Quoted(left), Quoted(right), Quoted(ToByteLevel(parts[i])));
    }
    if (special) continue;
    merges_.Insert(ids[0], ids[1], MakeMerge(static_cast<uint32_t>(rank), ids[2]));
    may_join_[static_cast<uint8_t>(bytes[middle - 1]) * 256 + static_cast<uint8_t>(bytes[middle])] =
        true;
  }
}

std::vector<TokenId> BpeTokenizer::Encode(std::string_view text, SpecialTokens special) const {
  if (const size_t ascii = AsciiPrefix(text); ascii < text.size()) {
    if (FindInvalidUtf8(text.substr(ascii)) != std::string_view::npos) CheckUtf8(text, "the text");
  }
  Output out(text.size() / 3);
  if (!added_tokens_.Finds(special)) {
    EncodeUnnormalized(text, special, out);
  } else {
    for (const TextPart& part : added_tokens_.Split(text, special)) {
      if (part.token != nullptr) {
        out.Push(part.token->id);
      } else {
        EncodeUnnormalized(part.text, special, out);
      }
    }
  }
  return std::move(out).Take();
}

void BpeTokenizer::EncodeUnnormalized(std::string_view text, SpecialTokens special,
                                      Output& out) const {
  std::string storage;
  if (nfc_) text = NormalizeNfc(text, storage);
  if (!normalized_added_tokens_.Finds(special)) return EncodeWords(text, out);
  for (const TextPart& part : normalized_added_tokens_.Split(text, special)) {
    if (part.token != nullptr) {
      out.Push(part.token->id);
    } else {
      EncodeWords(part.text, out);
    }
  }
}

void BpeTokenizer::EncodeWords(std::string_view text, Output& out) const {
  WordCache& cache = WordCache::OfThisThread();
  const char* const end = text.data() + text.size();
  for (const char* at = text.data(); at != end;) {
    const char* const word_end = word_end_(at, end);
    if (ignore_merges_) {
      const std::string_view word(at, word_end);
      if (const TokenId token = token_of_bytes_.Find(bytes_, word); token != kNoToken) {
        out.Push(token);
        at = word_end;
        continue;
      }
    }
    // A long word is cut where no token can span: a Chinese sentence, which is one word, falls into
    // its characters or nearly so.
    const bool whole = word_end - at <= static_cast<std::ptrdiff_t>(WordCache::kMaxWordBytes);
    while (at != word_end) {
      const char* cut = whole ? word_end : at + 1;
      while (cut != word_end && MayJoin(cut[-1], cut[0])) ++cut;
      EncodeUnit({at, cut}, static_cast<size_t>(end - at), cache, out);
      at = cut;
    }
  }
}

// A unit is a part of a word that is merged alone. `readable`: see WordCache::MakeKey.
void BpeTokenizer::EncodeUnit(std::string_view unit, size_t readable, WordCache& cache,
                              Output& out) const {
  TokenId* const tokens = out.Reserve(std::max(unit.size(), WordCache::kMaxTokens));
  if (unit.size() > WordCache::kMaxWordBytes) return out.Advance(MergeBytes(unit, tokens));

  const WordCache::Key key = WordCache::MakeKey(unit, readable);
  WordCache::Entry& entry = cache.SlotOf(key);
  if (WordCache::Holds(entry, key, cache_owner_)) {
    // All that an entry can hold, since a copy of fixed size is two instructions.
    std::copy(entry.tokens.begin(), entry.tokens.end(), tokens);
    return out.Advance(entry.n_tokens);
  }
  const size_t n_tokens = MergeBytes(unit, tokens);
  if (n_tokens <= WordCache::kMaxTokens) {
    WordCache::Fill(entry, key, cache_owner_, {tokens, n_tokens});
  }
  out.Advance(n_tokens);
}

// Writes the tokens of `bytes` and returns their number. REQUIRES: room for one a byte.
size_t BpeTokenizer::MergeBytes(std::string_view bytes, TokenId* tokens) const {
  size_t n = 0;
  for (const char c : bytes) {
    const TokenId token = token_of_byte_[static_cast<uint8_t>(c)];
    if (token != kNoToken) tokens[n++] = token;
  }
  return MergeTokens(merges_, tokens, n);
}

std::string_view BpeTokenizer::TokenBytes(TokenId id) const {
  AIOS_CHECK(id >= 0 && id < vocab_size(), "token {} of {}", id, vocab_size());
  return bytes_[id];
}

bool BpeTokenizer::IsSpecial(TokenId id) const {
  AIOS_CHECK(id >= 0 && id < vocab_size(), "token {} of {}", id, vocab_size());
  return is_special_[id];
}

std::optional<TokenId> BpeTokenizer::FindSpecial(std::string_view text) const {
  const auto found = std::lower_bound(
      specials_.begin(), specials_.end(), text,
      [](const auto& special, std::string_view key) { return special.first < key; });
  if (found == specials_.end() || found->first != text) return std::nullopt;
  return found->second;
}

}  // namespace aios
