// Tokenizers from GGUF metadata that makes no sense. golden_test.cc has files that do.
#include "common/text/bpe_gguf.h"

#include <gtest/gtest.h>

#include "common/text/sentencepiece_tokenizer.h"
#include "tests/common/text/text_testing.h"

namespace aios {
namespace {

constexpr uint32_t kInt32 = 5;
constexpr uint32_t kFloat32 = 6;
constexpr uint32_t kString = 8;
constexpr uint32_t kArray = 9;

std::string Strings(const std::vector<std::string>& values) {
  std::string bytes = Raw(kString) + Raw<uint64_t>(values.size());
  for (const std::string& value : values) bytes += GgufString(value);
  return bytes;
}

template <typename T>
std::string Numbers(uint32_t type, const std::vector<T>& values) {
  std::string bytes = Raw(type) + Raw<uint64_t>(values.size());
  for (const T value : values) bytes += Raw(value);
  return bytes;
}

// The metadata of a small vocabulary; a test changes the part that it is about.
struct Metadata {
  std::vector<std::string> tokens = {"a", "b", "ab", "<s>"};
  std::vector<int32_t> types = {1, 1, 1, 3};
  std::vector<std::string> merges = {"a b"};
  std::vector<float> scores = {};
  std::string pre = "gpt-2";

  std::string Bytes() const {
    GgufParts file;
    const std::string prefix = "tokenizer.ggml.";
    file.metadata = {
        GgufPair(prefix + "tokens", kArray, Strings(tokens)),
        GgufPair(prefix + "token_type", kArray, Numbers(kInt32, types)),
        GgufPair(prefix + "merges", kArray, Strings(merges)),
        GgufPair(prefix + "scores", kArray, Numbers(kFloat32, scores)),
        GgufPair(prefix + "pre", kString, GgufString(pre)),
    };
    return file.Bytes();
  }
};

using Reader = std::unique_ptr<Tokenizer> (*)(const GgufFile&);

std::unique_ptr<Tokenizer> Read(Reader reader, const Metadata& metadata) {
  const std::string bytes = metadata.Bytes();
  return reader(GgufFile::Parse(std::as_bytes(std::span(bytes)), "test.gguf"));
}

std::string ReadError(Reader reader, const Metadata& metadata) {
  return ErrorOf([&] { Read(reader, metadata); });
}

TEST(BpeGgufTest, ReadsAVocabulary) {
  const auto tokenizer = Read(BpeFromGguf, {});
  EXPECT_EQ(tokenizer->Encode("ab", SpecialTokens::kAsText), std::vector<TokenId>{2});
  EXPECT_TRUE(tokenizer->IsSpecial(3));
}

TEST(BpeGgufTest, UnusedEntriesStandForNothing) {
  const auto tokenizer =
      Read(BpeFromGguf,
           {.tokens = {"a", "[PAD 1]", "[PAD 1]", "<s>"}, .types = {1, 5, 5, 3}, .merges = {}});
  EXPECT_EQ(tokenizer->TokenBytes(1), "");
  EXPECT_EQ(tokenizer->vocab_size(), 4);
}

TEST(BpeGgufTest, Malformed) {
  EXPECT_EQ(ReadError(BpeFromGguf, {.tokens = {}}), "test.gguf: tokenizer.ggml.tokens is missing");
  EXPECT_EQ(ReadError(BpeFromGguf, {.types = {1, 1}}),
            "test.gguf: tokenizer.ggml.token_type has 2 entries for 4 tokens");
  EXPECT_EQ(ReadError(BpeFromGguf, {.types = {1, 1, 7, 3}}),
            "test.gguf: token 2 has the type 7, which is none of 1 to 6");
  EXPECT_EQ(ReadError(BpeFromGguf, {.merges = {"ab"}}),
            "test.gguf: merge 0 ('ab') is not two strings with a space between");
  EXPECT_EQ(ReadError(BpeFromGguf, {.merges = {"a b", "a c"}}),
            "test.gguf: merge 1 ('a' with 'c') needs 'c', which is no token");
  EXPECT_EQ(ReadError(BpeFromGguf, {.tokens = {"a", "b", "ab", "a"}, .types = {1, 1, 1, 1}}),
            "test.gguf: tokens 0 and 3 are the same ('a')");
  EXPECT_EQ(ReadError(BpeFromGguf, {.pre = "gemma4"}),
            "test.gguf: the pre-tokenizer 'gemma4' (tokenizer.ggml.pre) is not supported; gpt-2, "
            "smollm, llama-bpe and qwen2 are");
}

Metadata Pieces() {
  return {.tokens = {"<unk>", "<s>", "\u2581", "a", "\u2581a"},
          .types = {2, 3, 1, 1, 1},
          .merges = {},
          .scores = {0, 0, -2, -3, -1}};
}

TEST(SentencePieceGgufTest, ReadsAVocabulary) {
  const auto tokenizer = Read(SentencePieceFromGguf, Pieces());
  EXPECT_EQ(tokenizer->Encode("a a", SpecialTokens::kAsText), (std::vector<TokenId>{4, 4}));
  EXPECT_EQ(tokenizer->Encode("b", SpecialTokens::kAsText), (std::vector<TokenId>{2, 0}));
  EXPECT_TRUE(tokenizer->IsSpecial(0));
}

TEST(SentencePieceGgufTest, Malformed) {
  const auto error = [](const auto& change) {
    Metadata metadata = Pieces();
    change(metadata);
    return ReadError(SentencePieceFromGguf, metadata);
  };
  EXPECT_EQ(error([](Metadata& m) { m.scores.pop_back(); }),
            "test.gguf: tokenizer.ggml.scores has 4 entries for 5 tokens");
  EXPECT_EQ(error([](Metadata& m) { m.scores[2] = NAN; }),
            "test.gguf: the score of token 2 ('\u2581') is not a number");
  for (const std::string& bad : {std::string(), std::string("\0", 1), std::string("\xFF")}) {
    EXPECT_TRUE(error([&](Metadata& m) {
                  m.tokens[3] = bad;
                }).ends_with("is empty, has a zero byte or is not UTF-8"));
  }
  // What the library itself refuses.
  EXPECT_TRUE(error([](Metadata& m) { m.tokens[3] = "\u2581"; }).starts_with("test.gguf: not a"));
  EXPECT_TRUE(error([](Metadata& m) { m.types[0] = 1; }).starts_with("test.gguf: not a"));
  EXPECT_TRUE(error([](Metadata& m) { m.types[1] = 2; }).starts_with("test.gguf: not a"));
  EXPECT_TRUE(error([](Metadata& m) { m.types[3] = 6; }).starts_with("test.gguf: "));
}

}  // namespace
}  // namespace aios
