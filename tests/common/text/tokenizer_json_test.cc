// tokenizer.json: what is read, and what is refused by name. golden_test.cc has real files.
#include "common/text/tokenizer_json.h"

#include <gtest/gtest.h>

#include "tests/common/text/text_testing.h"

namespace aios {
namespace {

using Ids = std::vector<TokenId>;

Json Small() {
  return Json::parse(R"({
    "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
    "post_processor": null,
    "decoder": {"type": "ByteLevel"},
    "added_tokens": [{"id": 3, "content": "<s>", "special": true},
                     {"id": 4, "content": "user", "special": false, "normalized": false}],
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}
  })");
}

std::unique_ptr<Tokenizer> Read(const Json& json) {
  return BpeFromTokenizerJson(json.dump(), "test.json");
}

// The error after the member at `pointer` became `value`.
template <typename Error = InputError>
std::string ErrorWith(const char* pointer, const Json& value) {
  Json json = Small();
  json[Json::json_pointer(pointer)] = value;
  return ErrorOf<Error>([&] { Read(json); });
}

std::string UnsupportedWith(const char* pointer, const char* value) {
  return ErrorWith<UnsupportedError>(pointer, Json::parse(value));
}

TEST(TokenizerJsonTest, ReadsAVocabulary) {
  const auto tokenizer = Read(Small());
  EXPECT_EQ(tokenizer->Encode("abuser<s>", SpecialTokens::kRecognize), (Ids{2, 4, 3}));
  EXPECT_EQ(tokenizer->bos, std::nullopt);
}

TEST(TokenizerJsonTest, MergesAsStrings) {
  Json json = Small();
  json["model"]["merges"] = {"a b"};
  EXPECT_EQ(Read(json)->Encode("ab", SpecialTokens::kAsText), Ids{2});
}

TEST(TokenizerJsonTest, TemplateGivesTheBeginningOfSequence) {
  Json json = Small();
  json["post_processor"] = Json::parse(R"({"type": "Sequence", "processors": [
      {"type": "ByteLevel"},
      {"type": "TemplateProcessing",
       "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A"}}],
       "special_tokens": {"<s>": {"id": "<s>", "ids": [3], "tokens": ["<s>"]}}}]})");
  EXPECT_EQ(Read(json)->bos, 3);
  json["/post_processor/processors/1/special_tokens/<s>/ids/0"_json_pointer] = 5;
  EXPECT_TRUE(
      ErrorOf([&] { Read(json); }).ends_with("the id of '<s>' must be an integer from 0 to 4"));
  json["/post_processor/processors/1/single"_json_pointer].push_back(
      {{"SpecialToken", {{"id", "<s>"}}}});
  EXPECT_TRUE(ErrorOf<UnsupportedError>([&] {
                Read(json);
              }).ends_with("a template other than a token and the text is not supported"));
}

TEST(TokenizerJsonTest, WhatIsNotSupportedIsNamed) {
  const struct {
    const char* pointer;
    const char* value;
    const char* error;
  } kCases[] = {
      {"/normalizer", R"({"type": "NFKC"})", "'normalizer': the normalizer 'NFKC'"},
      {"/normalizer",
       R"({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]})",
       "'normalizer'[1]: the normalizer 'Lowercase'"},
      {"/pre_tokenizer/add_prefix_space", "true", "'pre_tokenizer': 'add_prefix_space'"},
      {"/pre_tokenizer", R"({"type": "Metaspace"})",
       "'pre_tokenizer': the pre-tokenizer 'Metaspace'"},
      {"/pre_tokenizer", R"({"type": "Digits"})", "'pre_tokenizer': Digits in groups"},
      {"/pre_tokenizer", R"({"type": "Digits", "individual_digits": true})",
       "a pre_tokenizer that does not end with ByteLevel"},
      {"/pre_tokenizer", R"({"type": "Split", "pattern": {"Regex": "x"}, "behavior": "Removed"})",
       "'pre_tokenizer': a Split that is not \"Isolated\""},
      {"/pre_tokenizer", R"({"type": "Split", "pattern": {"String": " "}, "behavior": "Isolated"})",
       "'pre_tokenizer': a pattern that is no Regex"},
      {"/post_processor", R"({"type": "BertProcessing"})",
       "'post_processor': the post-processor 'BertProcessing'"},
      {"/decoder", R"({"type": "WordPiece"})", "'decoder': the decoder 'WordPiece'"},
      {"/model/type", R"("Unigram")", "'model': the model 'Unigram'"},
      {"/model/byte_fallback", "true", "'model': 'byte_fallback'"},
      {"/model/dropout", "0.1", "'model': 'dropout'"},
      {"/model/end_of_word_suffix", R"("</w>")", "'model': 'end_of_word_suffix'"},
      {"/model/continuing_subword_prefix", R"("##")", "'model': 'continuing_subword_prefix'"},
  };
  for (const auto& c : kCases) {
    EXPECT_EQ(UnsupportedWith(c.pointer, c.value),
              fmt::format("test.json: {} is not supported", c.error));
  }
  EXPECT_TRUE(UnsupportedWith("/pre_tokenizer", R"({"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"Regex": "\\p{L}+"}, "behavior": "Isolated"},
      {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]})")
                  .starts_with("test.json: the pre_tokenizer's regular expression is none of"));
}

TEST(TokenizerJsonTest, Malformed) {
  EXPECT_EQ(ErrorWith("/model", 1), "test.json: 'model': must be a JSON object");
  EXPECT_EQ(ErrorWith("/model/vocab", Json::array()),
            "test.json: 'model': 'vocab' must be an object");
  EXPECT_EQ(ErrorWith("/model/merges", "x"), "test.json: 'model': 'merges' must be a list");
  EXPECT_EQ(ErrorWith("/model/merges/0", "ab"),
            "test.json: 'model': 'merges'[0] is not a pair of strings");
  EXPECT_EQ(ErrorWith("/model/merges/0", {"a", 1}),
            "test.json: 'model': 'merges'[0] is not a pair of strings");
  EXPECT_EQ(ErrorWith("/model/merges/0", {"a", "c"}),
            "test.json: merge 0 ('a' with 'c') needs 'c', which is no token");
  EXPECT_EQ(ErrorWith("/model/vocab/b", 0), "test.json: 'model': 'a' and 'b' have the same id, 0");
  EXPECT_EQ(ErrorWith("/added_tokens/0/id", 0),
            "test.json: added_tokens[0]: 'a' and '<s>' have the same id, 0");
  EXPECT_EQ(ErrorWith("/added_tokens/1/content", 5),
            "test.json: added_tokens[1]: 'content' must be a string");
  EXPECT_EQ(ErrorWith("/added_tokens/1", 5), "test.json: added_tokens[1]: must be a JSON object");
  EXPECT_EQ(ErrorWith("/model/unk_token", "x"),
            "test.json: 'model': the 'unk_token' 'x' is no token");
  EXPECT_EQ(ErrorOf([] { BpeFromTokenizerJson("[]", "test.json"); }),
            "test.json: must be a JSON object");
}

// An id is also the size of a table.
TEST(TokenizerJsonTest, IdsThatWouldCostMemory) {
  for (const Json& id : {Json(-1), Json(70'000), Json(1LL << 31), Json(UINT64_MAX), Json(1.5),
                         Json("1"), Json(nullptr)}) {
    EXPECT_EQ(ErrorWith("/model/vocab/b", id),
              "test.json: 'model': the id of 'b' must be an integer from 0 to 65540");
    EXPECT_EQ(ErrorWith("/added_tokens/0/id", id),
              "test.json: added_tokens[0]: the id of '<s>' must be an integer from 0 to 65540");
  }
  Json json = Small();
  json["added_tokens"][0]["id"] = 1000;  // a gap is allowed
  EXPECT_EQ(Read(json)->TokenBytes(999), "");
}

}  // namespace
}  // namespace aios
