// Hyperparameters, from both forms of config.json and from GGUF metadata: what is read, what is
// refused and in which words.
#include "common/model/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/loader/checkpoint.h"
#include "tests/common/model/checkpoint_files.h"

namespace aios {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// ---- Hugging Face ------------------------------------------------------------------------------

// Every size differs from every other, so that none can be mistaken for another.
Json Llama() {
  return Json::parse(R"({
      "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 8,
      "num_key_value_heads": 4, "intermediate_size": 160, "vocab_size": 500,
      "max_position_embeddings": 2048, "rms_norm_eps": 1e-6
  })");
}

// Llama's config.json with these members replaced or added.
Json Changed(const std::string& changes) {
  Json json = Llama();
  json.update(Json::parse(changes));
  return json;
}

ModelConfig ReadJson(const Json& config, const std::optional<Json>& generation = std::nullopt) {
  const std::filesystem::path folder = WriteHuggingFace(config, {{"x", {1}}});
  if (generation.has_value()) WriteFile(folder / "generation_config.json", generation->dump());
  return ReadModelConfig(Checkpoint::Open(folder));
}
ModelConfig Read(const std::string& changes) { return ReadJson(Changed(changes)); }

TEST(HuggingFace, LlamaWithNothingButWhatItMustHave) {
  const ModelConfig config = ReadJson(Llama());
  EXPECT_EQ(config.name, "HuggingFace.LlamaWithNothingButWhatItMustHave");  // the folder's
  EXPECT_EQ(config.architecture, "llama");
  EXPECT_EQ(config.d_model, 64);
  EXPECT_EQ(config.n_layers, 3);
  EXPECT_EQ(config.n_heads, 8);
  EXPECT_EQ(config.n_kv_heads, 4);
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.q_dim(), 64);
  EXPECT_EQ(config.kv_dim(), 32);
  EXPECT_EQ(config.d_ff, 160);
  EXPECT_EQ(config.vocab_size, 500);
  EXPECT_EQ(config.max_context, 2048);
  EXPECT_EQ(config.norm_eps, 1e-6);
  EXPECT_EQ(config.rope.theta, 10000);
  EXPECT_EQ(config.rope.pairing, RopePairing::kHalves);
  EXPECT_EQ(config.rope.linear_factor, 1);
  EXPECT_FALSE(config.rope.llama3.has_value());
  EXPECT_FALSE(config.tied_embeddings);
  EXPECT_FALSE(config.qkv_bias);
  EXPECT_FALSE(config.qk_norm);
  EXPECT_THAT(config.eos_ids, IsEmpty());
}

TEST(HuggingFace, FamiliesAreFeatures) {
  EXPECT_FALSE(Read(R"({"model_type": "mistral"})").qkv_bias);
  EXPECT_FALSE(Read(R"({"model_type": "mistral"})").qk_norm);
  EXPECT_TRUE(Read(R"({"model_type": "qwen2"})").qkv_bias);
  EXPECT_FALSE(Read(R"({"model_type": "qwen2"})").qk_norm);
  EXPECT_FALSE(Read(R"({"model_type": "qwen3"})").qkv_bias);
  EXPECT_TRUE(Read(R"({"model_type": "qwen3"})").qk_norm);
}

TEST(HuggingFace, OlderFormHasRopeAtTheTop) {
  const ModelConfig config = Read(R"({
      "rope_theta": 500000.0, "torch_dtype": "bfloat16", "rope_scaling": {
          "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 128}})");
  EXPECT_EQ(config.rope.theta, 500000);
  ASSERT_TRUE(config.rope.llama3.has_value());
  EXPECT_EQ(config.rope.llama3->factor, 8);
  EXPECT_EQ(config.rope.llama3->low_freq_factor, 1);
  EXPECT_EQ(config.rope.llama3->high_freq_factor, 4);
  EXPECT_EQ(config.rope.llama3->original_context, 128);
}

TEST(HuggingFace, NewerFormHasRopeInOnePlace) {
  const ModelConfig config = Read(R"({
      "dtype": "bfloat16", "rope_parameters": {
          "rope_theta": 500000.0, "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 128}})");
  EXPECT_EQ(config.rope.theta, 500000);
  ASSERT_TRUE(config.rope.llama3.has_value());
  EXPECT_EQ(config.rope.llama3->factor, 8);
  EXPECT_EQ(config.rope.llama3->original_context, 128);
  EXPECT_EQ(Read(R"({"rope_parameters": {"rope_theta": 777, "rope_type": "default"}})").rope.theta,
            777);
}

TEST(HuggingFace, RopeScalingMayCallItsTypeTypeOrBeNull) {
  EXPECT_EQ(Read(R"({"rope_scaling": {"type": "linear", "factor": 4.0}})").rope.linear_factor, 4);
  EXPECT_TRUE(Read(R"({"rope_scaling": {
      "type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
      "original_max_position_embeddings": 128}})")
                  .rope.llama3.has_value());
  EXPECT_EQ(Read(R"({"rope_theta": 5000, "rope_scaling": null})").rope.theta, 5000);
  EXPECT_EQ(Read(R"({"rope_scaling": {"type": "default"}})").rope.linear_factor, 1);
}

TEST(HuggingFace, HeadDimIsItsOwnOrFollowsFromTheWidth) {
  EXPECT_EQ(Read(R"({"head_dim": 32})").head_dim, 32);
  EXPECT_EQ(Read(R"({"head_dim": 32})").q_dim(), 256);  // need not be d_model
  EXPECT_EQ(Read(R"({"head_dim": null})").head_dim, 8);
}

TEST(HuggingFace, KeyValueHeadsAreTheQueryHeadsUnlessSaid) {
  EXPECT_EQ(Read(R"({"num_key_value_heads": null})").n_kv_heads, 8);
  EXPECT_EQ(Read(R"({"num_key_value_heads": 1})").n_kv_heads, 1);
}

TEST(HuggingFace, EmbeddingsAreTiedIfSaid) {
  EXPECT_TRUE(Read(R"({"tie_word_embeddings": true})").tied_embeddings);
  EXPECT_FALSE(Read(R"({"tie_word_embeddings": false})").tied_embeddings);
}

TEST(HuggingFace, TheContextEndsWhereAWindowWouldBegin) {
  EXPECT_EQ(Read(R"({"model_type": "mistral", "sliding_window": 256})").max_context, 256);
  EXPECT_EQ(Read(R"({"model_type": "mistral", "sliding_window": 9999})").max_context, 2048);
  EXPECT_EQ(Read(R"({"model_type": "mistral", "sliding_window": null})").max_context, 2048);
  EXPECT_EQ(Read(R"({"model_type": "qwen2", "sliding_window": 256, "use_sliding_window": true})")
                .max_context,
            256);
  EXPECT_EQ(Read(R"({"model_type": "qwen2", "sliding_window": 256, "use_sliding_window": false})")
                .max_context,
            2048);
  EXPECT_EQ(Read(R"({"model_type": "qwen2", "sliding_window": 256})").max_context, 2048);
}

TEST(HuggingFace, EndTokensAreOneOrSeveral) {
  EXPECT_THAT(Read(R"({"eos_token_id": 7})").eos_ids, ElementsAre(7));
  EXPECT_THAT(Read(R"({"eos_token_id": [7, 0, 499]})").eos_ids, ElementsAre(7, 0, 499));
  EXPECT_THAT(Read(R"({"eos_token_id": null})").eos_ids, IsEmpty());
}

TEST(HuggingFace, GenerationConfigKnowsTheEndTokensBetter) {
  const Json config = Changed(R"({"eos_token_id": 7})");
  EXPECT_THAT(ReadJson(config, Json{{"eos_token_id", {8, 9}}}).eos_ids, ElementsAre(8, 9));
  EXPECT_THAT(ReadJson(config, Json{{"eos_token_id", 8}}).eos_ids, ElementsAre(8));
  EXPECT_THAT(ReadJson(config, Json{{"temperature", 1}}).eos_ids, ElementsAre(7));
  EXPECT_THAT(ReadJson(Llama(), Json{{"eos_token_id", 8}}).eos_ids, ElementsAre(8));
}

// ---- GGUF --------------------------------------------------------------------------------------

GgufMetadata GgufLlama() {
  return {{"general.architecture", GgufText("llama")},
          {"general.name", GgufText("A Small Llama")},
          {"llama.embedding_length", GgufInt(64)},
          {"llama.block_count", GgufInt(3)},
          {"llama.attention.head_count", GgufInt(8)},
          {"llama.attention.head_count_kv", GgufInt(4)},
          {"llama.feed_forward_length", GgufInt(160)},
          {"llama.context_length", GgufInt(2048)},
          {"llama.attention.layer_norm_rms_epsilon", GgufFloat(0.5F)}};
}

// The same under another architecture's name.
GgufMetadata GgufOf(const std::string& architecture) {
  GgufMetadata metadata;
  for (const auto& [key, value] : GgufLlama()) {
    metadata[key.starts_with("llama.") ? architecture + key.substr(5) : key] = value;
  }
  metadata["general.architecture"] = GgufText(architecture);
  return metadata;
}

ModelConfig ReadGguf(const GgufMetadata& changes, GgufMetadata metadata = GgufLlama(),
                     TensorShapes tensors = {{"token_embd.weight", {500, 64}}}) {
  for (const auto& [key, value] : changes) metadata[key] = value;
  return ReadModelConfig(Checkpoint::Open(WriteGguf(metadata, tensors)));
}

TEST(Gguf, LlamaWithNothingButWhatItMustHave) {
  const ModelConfig config = ReadGguf({});
  EXPECT_EQ(config.name, "A Small Llama");
  EXPECT_EQ(config.architecture, "llama");
  EXPECT_EQ(config.d_model, 64);
  EXPECT_EQ(config.n_layers, 3);
  EXPECT_EQ(config.n_heads, 8);
  EXPECT_EQ(config.n_kv_heads, 4);
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.d_ff, 160);
  EXPECT_EQ(config.vocab_size, 500);
  EXPECT_EQ(config.max_context, 2048);
  EXPECT_EQ(config.norm_eps, 0.5);
  EXPECT_EQ(config.rope.theta, 10000);
  EXPECT_EQ(config.rope.pairing, RopePairing::kInterleaved);
  EXPECT_EQ(config.rope.linear_factor, 1);
  EXPECT_TRUE(config.tied_embeddings);  // there is no output.weight
  EXPECT_FALSE(config.qkv_bias);
  EXPECT_FALSE(config.qk_norm);
  EXPECT_THAT(config.eos_ids, IsEmpty());
}

TEST(Gguf, WhatIsOptional) {
  const ModelConfig config = ReadGguf({{"llama.attention.key_length", GgufInt(32)},
                                       {"llama.attention.value_length", GgufInt(32)},
                                       {"llama.rope.dimension_count", GgufInt(32)},
                                       {"llama.rope.freq_base", GgufFloat(500000)},
                                       {"llama.rope.scaling.type", GgufText("linear")},
                                       {"llama.rope.scaling.factor", GgufFloat(4)},
                                       {"llama.vocab_size", GgufInt(499)},
                                       {"tokenizer.ggml.eos_token_id", GgufInt(2)},
                                       {"tokenizer.ggml.eot_token_id", GgufInt(5)}});
  EXPECT_EQ(config.head_dim, 32);
  EXPECT_EQ(config.rope.theta, 500000);
  EXPECT_EQ(config.rope.linear_factor, 4);
  EXPECT_EQ(config.vocab_size, 499);
  EXPECT_THAT(config.eos_ids, ElementsAre(2, 5));
}

TEST(Gguf, TheTensorsSayWhatTheMetadataDoesNot) {
  const ModelConfig config = ReadGguf(
      {}, GgufLlama(),
      {{"token_embd.weight", {77, 64}}, {"output.weight", {77, 64}}, {"blk.0.attn_q.bias", {64}}});
  EXPECT_EQ(config.vocab_size, 77);
  EXPECT_FALSE(config.tied_embeddings);
  EXPECT_TRUE(config.qkv_bias);
}

TEST(Gguf, FamiliesAreFeatures) {
  const ModelConfig qwen2 = ReadGguf({}, GgufOf("qwen2"));
  EXPECT_TRUE(qwen2.qkv_bias);
  EXPECT_FALSE(qwen2.qk_norm);
  EXPECT_EQ(qwen2.rope.pairing, RopePairing::kHalves);
  const ModelConfig qwen3 = ReadGguf({}, GgufOf("qwen3"));
  EXPECT_FALSE(qwen3.qkv_bias);
  EXPECT_TRUE(qwen3.qk_norm);
  EXPECT_EQ(qwen3.rope.pairing, RopePairing::kHalves);
}

// ---- What is refused ---------------------------------------------------------------------------

struct Refused {
  std::string name;
  std::string changes;  // of Llama's config.json
  std::string word;     // that the error must have
};
void PrintTo(const Refused& refused, std::ostream* out) { *out << refused.changes; }

class UnsupportedFeature : public testing::TestWithParam<Refused> {};

TEST_P(UnsupportedFeature, IsNamed) {
  EXPECT_THAT(ErrorOf<UnsupportedError>([] { Read(GetParam().changes); }),
              HasSubstr(GetParam().word));
}

INSTANTIATE_TEST_SUITE_P(
    HuggingFace, UnsupportedFeature,
    testing::Values(
        Refused{"phi3", R"({"model_type": "phi3"})", "'phi3'"},
        Refused{"gemma", R"({"model_type": "gemma"})", "'gemma'"},
        Refused{"mixtral", R"({"model_type": "mixtral"})", "'mixtral'"},
        Refused{"qwen3_moe", R"({"model_type": "qwen3_moe"})", "'qwen3_moe'"},
        Refused{"yarn", R"({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}})", "'yarn'"},
        Refused{"yarn_older", R"({"rope_scaling": {"type": "yarn", "factor": 4.0}})", "'yarn'"},
        Refused{"yarn_newer", R"({"rope_parameters": {"rope_type": "yarn"}})", "'yarn'"},
        Refused{"dynamic", R"({"rope_scaling": {"type": "dynamic"}})", "'dynamic'"},
        Refused{"longrope", R"({"rope_scaling": {"type": "longrope"}})", "'longrope'"},
        Refused{"attention_bias", R"({"attention_bias": true})", "'attention_bias'"},
        Refused{"mlp_bias", R"({"mlp_bias": true})", "'mlp_bias'"},
        Refused{"quantized", R"({"quantization_config": {"bits": 4}})", "'quantization_config'"},
        Refused{"gelu", R"({"hidden_act": "gelu"})", "'gelu'"},
        Refused{"partial_rope", R"({"partial_rotary_factor": 0.5})", "'partial_rotary_factor'"},
        Refused{"partial_rope_newer", R"({"rope_parameters": {"partial_rotary_factor": 0.5}})",
                "'partial_rotary_factor'"}),
    [](const auto& info) { return info.param.name; });

struct RefusedGguf {
  std::string name;
  std::string key;
  GgufValue value;
  std::string word;
};
void PrintTo(const RefusedGguf& refused, std::ostream* out) { *out << refused.key; }

class UnsupportedGguf : public testing::TestWithParam<RefusedGguf> {};

TEST_P(UnsupportedGguf, IsNamed) {
  EXPECT_THAT(ErrorOf<UnsupportedError>([] {
                ReadGguf({{GetParam().key, GetParam().value}});
              }),
              HasSubstr(GetParam().word));
}

INSTANTIATE_TEST_SUITE_P(
    Gguf, UnsupportedGguf,
    testing::Values(RefusedGguf{"phi3", "general.architecture", GgufText("phi3"), "'phi3'"},
                    RefusedGguf{"gemma", "general.architecture", GgufText("gemma"), "'gemma'"},
                    RefusedGguf{"experts", "llama.expert_count", GgufInt(8), "mixture of experts"},
                    RefusedGguf{"yarn", "llama.rope.scaling.type", GgufText("yarn"), "'yarn'"},
                    RefusedGguf{"partial_rope", "llama.rope.dimension_count", GgufInt(4),
                                "4 of a head's 8"}),
    [](const auto& info) { return info.param.name; });

TEST(UnsupportedGguf, ValueHeadsOfAnotherWidth) {
  EXPECT_THAT(ErrorOf<UnsupportedError>([] {
                ReadGguf({{"llama.attention.key_length", GgufInt(32)},
                          {"llama.attention.value_length", GgufInt(16)}});
              }),
              HasSubstr("value heads"));
}

class BadConfig : public testing::TestWithParam<Refused> {};

TEST_P(BadConfig, IsAnErrorThatNamesIt) {
  EXPECT_THAT(ErrorOf([] { Read(GetParam().changes); }), HasSubstr(GetParam().word));
}

// "llama3" with one number replaced.
std::string Llama3With(const std::string& key, const std::string& value) {
  Json scaling = Json::parse(R"({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                 "high_freq_factor": 4.0,
                                 "original_max_position_embeddings": 128})");
  scaling[key] = Json::parse(value);
  return Json{{"rope_scaling", scaling}}.dump();
}

INSTANTIATE_TEST_SUITE_P(
    Sizes, BadConfig,
    testing::Values(
        Refused{"zero_width", R"({"hidden_size": 0})", "width is 0"},
        Refused{"negative_width", R"({"hidden_size": -64})", "width is -64"},
        Refused{"huge_width", R"({"hidden_size": 9223372036854775807})", "width is 92233"},
        Refused{"width_past_int64", R"({"hidden_size": 18446744073709551615})", "hidden_size"},
        Refused{"width_is_text", R"({"hidden_size": "64"})", "hidden_size"},
        Refused{"width_is_a_fraction", R"({"hidden_size": 64.5})", "hidden_size"},
        Refused{"width_is_null", R"({"hidden_size": null})", "hidden_size"},
        Refused{"no_layers", R"({"num_hidden_layers": 0})", "number of layers is 0"},
        Refused{"many_layers", R"({"num_hidden_layers": 1000000000})", "number of layers"},
        Refused{"no_heads", R"({"num_attention_heads": 0})", "number of heads is 0"},
        Refused{"negative_heads", R"({"num_attention_heads": -8})", "number of heads is -8"},
        Refused{"many_heads", R"({"num_attention_heads": 100000})", "number of heads"},
        Refused{"no_kv_heads", R"({"num_key_value_heads": 0})", "key-value heads is 0"},
        Refused{"negative_kv_heads", R"({"num_key_value_heads": -4})", "key-value heads is -4"},
        Refused{"uneven_heads", R"({"num_key_value_heads": 3})", "8 query heads"},
        Refused{"more_kv_than_heads", R"({"num_key_value_heads": 16})", "8 query heads"},
        Refused{"zero_head_dim", R"({"head_dim": 0})", "head width is 0"},
        Refused{"odd_head_dim", R"({"head_dim": 7})", "head width is 7"},
        Refused{"huge_head_dim", R"({"head_dim": 1000000})", "head width"},
        Refused{"more_heads_than_width", R"({"hidden_size": 4})", "head width is 0"},
        Refused{"zero_d_ff", R"({"intermediate_size": 0})", "feed-forward width is 0"},
        Refused{"huge_d_ff", R"({"intermediate_size": 100000000})", "feed-forward width"},
        Refused{"no_vocabulary", R"({"vocab_size": 0})", "vocabulary is 0"},
        Refused{"huge_vocabulary", R"({"vocab_size": 4294967296})", "vocabulary"},
        Refused{"no_context", R"({"max_position_embeddings": 0})", "context is 0"},
        Refused{"huge_context", R"({"max_position_embeddings": 1e30})", "max_position_embeddings"},
        Refused{"zero_window", R"({"model_type": "mistral", "sliding_window": 0})", "context is 0"},
        Refused{"negative_window", R"({"model_type": "mistral", "sliding_window": -1})",
                "context is -1"}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Numbers, BadConfig,
    testing::Values(
        Refused{"zero_eps", R"({"rms_norm_eps": 0})", "epsilon"},
        Refused{"negative_eps", R"({"rms_norm_eps": -1e-6})", "epsilon"},
        Refused{"eps_of_one", R"({"rms_norm_eps": 1})", "epsilon"},
        Refused{"zero_theta", R"({"rope_theta": 0})", "theta (0)"},
        Refused{"negative_theta", R"({"rope_theta": -1})", "theta (-1)"},
        Refused{"zero_factor", R"({"rope_scaling": {"type": "linear", "factor": 0}})", "factor"},
        Refused{"no_factor", R"({"rope_scaling": {"type": "linear"}})", "'factor'"},
        Refused{"scaling_is_a_number", R"({"rope_scaling": 4})", "rope_scaling"},
        Refused{"llama3_zero_factor", Llama3With("factor", "0"), "llama3"},
        Refused{"llama3_zero_low", Llama3With("low_freq_factor", "0"), "llama3"},
        Refused{"llama3_low_is_high", Llama3With("low_freq_factor", "4.0"), "llama3"},
        Refused{"llama3_no_context", Llama3With("original_max_position_embeddings", "0"), "llama3"},
        Refused{"llama3_incomplete", Llama3With("high_freq_factor", "null"), "high_freq_factor"},
        Refused{"eos_past_the_end", R"({"eos_token_id": 500})", "token is 500"},
        Refused{"eos_negative", R"({"eos_token_id": [1, -1]})", "token is -1"},
        Refused{"eos_is_text", R"({"eos_token_id": "</s>"})", "eos_token_id"},
        Refused{"eos_is_nested", R"({"eos_token_id": [[1]]})", "eos_token_id"},
        Refused{"type_is_a_number", R"({"model_type": 1})", "model_type"},
        Refused{"tied_is_a_number", R"({"tie_word_embeddings": 1})", "tie_word_embeddings"}),
    [](const auto& info) { return info.param.name; });

TEST(BadConfig, WithoutWhatItMustHaveIsAnErrorThatNamesIt) {
  for (const char* key :
       {"model_type", "hidden_size", "num_hidden_layers", "num_attention_heads",
        "intermediate_size", "vocab_size", "max_position_embeddings", "rms_norm_eps"}) {
    Json json = Llama();
    json.erase(key);
    EXPECT_THAT(ErrorOf([&] { ReadJson(json); }), HasSubstr(key));
  }
}

TEST(BadGguf, WithoutWhatItMustHaveIsAnErrorThatNamesIt) {
  for (const char* key : {"general.architecture", "llama.embedding_length", "llama.block_count",
                          "llama.attention.head_count", "llama.feed_forward_length",
                          "llama.context_length", "llama.attention.layer_norm_rms_epsilon"}) {
    GgufMetadata metadata = GgufLlama();
    metadata.erase(key);
    EXPECT_THAT(ErrorOf([&] { ReadGguf({}, metadata); }), HasSubstr(key));
  }
}

TEST(BadGguf, NumbersThatNoModelHasAreErrorsThatNameThem) {
  const auto error = [](const std::string& key, const GgufValue& value) {
    return ErrorOf([&] { ReadGguf({{key, value}}); });
  };
  for (const int64_t absurd : {int64_t{0}, int64_t{-1}, INT64_MIN, INT64_MAX}) {
    EXPECT_THAT(error("llama.embedding_length", GgufInt(absurd)), HasSubstr("width is "));
    EXPECT_THAT(error("llama.block_count", GgufInt(absurd)), HasSubstr("number of layers is "));
    EXPECT_THAT(error("llama.attention.head_count", GgufInt(absurd)),
                HasSubstr("number of heads is "));
    EXPECT_THAT(error("llama.attention.head_count_kv", GgufInt(absurd)),
                HasSubstr("key-value heads is "));
    EXPECT_THAT(error("llama.attention.key_length", GgufInt(absurd)), HasSubstr("head"));
    EXPECT_THAT(error("llama.feed_forward_length", GgufInt(absurd)),
                HasSubstr("feed-forward width is "));
    EXPECT_THAT(error("llama.vocab_size", GgufInt(absurd)), HasSubstr("vocabulary is "));
    EXPECT_THAT(error("llama.context_length", GgufInt(absurd)), HasSubstr("context is "));
  }
  for (const float absurd : {0.0F, -1.0F, NAN, INFINITY}) {
    EXPECT_THAT(error("llama.attention.layer_norm_rms_epsilon", GgufFloat(absurd)),
                HasSubstr("epsilon"));
    EXPECT_THAT(error("llama.rope.freq_base", GgufFloat(absurd)), HasSubstr("theta"));
  }
  // Each alone could be, all together could not.
  const int64_t heads = 1 << 14;
  EXPECT_THAT(ErrorOf([&] {
                ReadGguf({{"llama.embedding_length", GgufInt(1 << 20)},
                          {"llama.attention.head_count", GgufInt(heads)},
                          {"llama.attention.head_count_kv", GgufInt(heads)},
                          {"llama.attention.key_length", GgufInt(1 << 14)},
                          {"llama.attention.value_length", GgufInt(1 << 14)},
                          {"llama.rope.dimension_count", GgufInt(1 << 14)},
                          {"llama.block_count", GgufInt(1 << 12)}});
              }),
              HasSubstr("parameters"));
  EXPECT_THAT(error("llama.block_count", GgufText("3")), HasSubstr("llama.block_count"));
  EXPECT_THAT(error("tokenizer.ggml.eos_token_id", GgufInt(500)), HasSubstr("token is 500"));
}

}  // namespace
}  // namespace aios
