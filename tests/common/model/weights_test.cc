// Binding a file's tensors to the names that the forward pass uses, and what is wrong with a file
// that has others. The names and shapes here were written down from the formats' own documents, not
// from our table.
#include "common/model/weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <ostream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/loader/checkpoint.h"
#include "tests/common/model/checkpoint_files.h"

namespace aios {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// A model of two layers in which every size differs from every other.
constexpr int64_t kVocabSize = 24;
constexpr int64_t kDModel = 16;
constexpr int64_t kDFf = 20;
constexpr int64_t kHeadDim = 6;
constexpr int64_t kQDim = 12;  // 2 heads
constexpr int64_t kKvDim = 6;  // 1 head

Json ConfigOf(const std::string& family, bool tied) {
  return {{"model_type", family},          {"hidden_size", kDModel},     {"num_hidden_layers", 2},
          {"num_attention_heads", 2},      {"num_key_value_heads", 1},   {"head_dim", kHeadDim},
          {"intermediate_size", kDFf},     {"vocab_size", kVocabSize},   {"rms_norm_eps", 1e-6},
          {"max_position_embeddings", 64}, {"tie_word_embeddings", tied}};
}

TensorShapes SafetensorsOf(const std::string& family, bool tied) {
  TensorShapes tensors = {{"model.embed_tokens.weight", {kVocabSize, kDModel}},
                          {"model.norm.weight", {kDModel}}};
  if (!tied) tensors["lm_head.weight"] = {kVocabSize, kDModel};
  for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
    tensors[layer + "input_layernorm.weight"] = {kDModel};
    tensors[layer + "self_attn.q_proj.weight"] = {kQDim, kDModel};
    tensors[layer + "self_attn.k_proj.weight"] = {kKvDim, kDModel};
    tensors[layer + "self_attn.v_proj.weight"] = {kKvDim, kDModel};
    tensors[layer + "self_attn.o_proj.weight"] = {kDModel, kQDim};
    tensors[layer + "post_attention_layernorm.weight"] = {kDModel};
    tensors[layer + "mlp.gate_proj.weight"] = {kDFf, kDModel};
    tensors[layer + "mlp.up_proj.weight"] = {kDFf, kDModel};
    tensors[layer + "mlp.down_proj.weight"] = {kDModel, kDFf};
    if (family == "qwen2") {
      tensors[layer + "self_attn.q_proj.bias"] = {kQDim};
      tensors[layer + "self_attn.k_proj.bias"] = {kKvDim};
      tensors[layer + "self_attn.v_proj.bias"] = {kKvDim};
    }
    if (family == "qwen3") {
      tensors[layer + "self_attn.q_norm.weight"] = {kHeadDim};
      tensors[layer + "self_attn.k_norm.weight"] = {kHeadDim};
    }
  }
  return tensors;
}

GgufMetadata MetadataOf(const std::string& family) {
  return {{"general.architecture", GgufText(family)},
          {family + ".embedding_length", GgufInt(kDModel)},
          {family + ".block_count", GgufInt(2)},
          {family + ".attention.head_count", GgufInt(2)},
          {family + ".attention.head_count_kv", GgufInt(1)},
          {family + ".attention.key_length", GgufInt(kHeadDim)},
          {family + ".feed_forward_length", GgufInt(kDFf)},
          {family + ".context_length", GgufInt(64)},
          {family + ".attention.layer_norm_rms_epsilon", GgufFloat(1e-6F)}};
}

TensorShapes GgufTensorsOf(const std::string& family, bool tied) {
  TensorShapes tensors = {{"token_embd.weight", {kVocabSize, kDModel}},
                          {"output_norm.weight", {kDModel}}};
  if (!tied) tensors["output.weight"] = {kVocabSize, kDModel};
  for (const std::string layer : {"blk.0.", "blk.1."}) {
    tensors[layer + "attn_norm.weight"] = {kDModel};
    tensors[layer + "attn_q.weight"] = {kQDim, kDModel};
    tensors[layer + "attn_k.weight"] = {kKvDim, kDModel};
    tensors[layer + "attn_v.weight"] = {kKvDim, kDModel};
    tensors[layer + "attn_output.weight"] = {kDModel, kQDim};
    tensors[layer + "ffn_norm.weight"] = {kDModel};
    tensors[layer + "ffn_gate.weight"] = {kDFf, kDModel};
    tensors[layer + "ffn_up.weight"] = {kDFf, kDModel};
    tensors[layer + "ffn_down.weight"] = {kDModel, kDFf};
    if (family == "qwen2") {
      tensors[layer + "attn_q.bias"] = {kQDim};
      tensors[layer + "attn_k.bias"] = {kKvDim};
      tensors[layer + "attn_v.bias"] = {kKvDim};
    }
    if (family == "qwen3") {
      tensors[layer + "attn_q_norm.weight"] = {kHeadDim};
      tensors[layer + "attn_k_norm.weight"] = {kHeadDim};
    }
  }
  return tensors;
}

// A checkpoint with what was bound of it.
struct Bound {
  explicit Bound(const std::filesystem::path& path)
      : checkpoint(Checkpoint::Open(path)),
        config(ReadModelConfig(checkpoint)),
        weights(BindWeights(checkpoint, config)) {}
  Checkpoint checkpoint;
  ModelConfig config;
  Weights weights;
};

// ---- What fits ---------------------------------------------------------------------------------

struct Kind {
  std::string family;
  bool tied;
  bool gguf;
};
void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.family; }

class Family : public testing::TestWithParam<Kind> {
 protected:
  TensorShapes Tensors() const {
    return GetParam().gguf ? GgufTensorsOf(GetParam().family, GetParam().tied)
                           : SafetensorsOf(GetParam().family, GetParam().tied);
  }
  std::filesystem::path Write(const TensorShapes& tensors) const {
    return GetParam().gguf
               ? WriteGguf(MetadataOf(GetParam().family), tensors)
               : WriteHuggingFace(ConfigOf(GetParam().family, GetParam().tied), tensors);
  }
};

TEST_P(Family, BindsEveryTensorOfTheFileOnce) {
  const Bound bound(Write(Tensors()));
  std::set<const void*> seen;
  size_t n_bound = 0;
  ForEachWeight(bound.config, bound.weights, [&](const WeightSpec& spec, const Tensor& tensor) {
    EXPECT_EQ(tensor.shape(), spec.shape(bound.config)) << spec.gguf;
    EXPECT_TRUE(seen.insert(tensor.data()).second) << spec.gguf << " is another weight's data";
    ++n_bound;
  });
  EXPECT_EQ(n_bound, Tensors().size());
}

TEST_P(Family, PutsEachTensorInItsPlace) {
  const Bound bound(Write(Tensors()));
  const auto data = [&](const char* safetensors, const char* gguf) {
    return bound.checkpoint.Find(GetParam().gguf ? gguf : safetensors)->data();
  };
  const LayerWeights& layer = bound.weights.layers[1];
  // Those that could be mistaken for another of the same shape.
  EXPECT_EQ(layer.wk.data(), data("model.layers.1.self_attn.k_proj.weight", "blk.1.attn_k.weight"));
  EXPECT_EQ(layer.wv.data(), data("model.layers.1.self_attn.v_proj.weight", "blk.1.attn_v.weight"));
  EXPECT_EQ(layer.w_gate.data(),
            data("model.layers.1.mlp.gate_proj.weight", "blk.1.ffn_gate.weight"));
  EXPECT_EQ(layer.w_up.data(), data("model.layers.1.mlp.up_proj.weight", "blk.1.ffn_up.weight"));
  EXPECT_EQ(layer.attn_norm.data(),
            data("model.layers.1.input_layernorm.weight", "blk.1.attn_norm.weight"));
  EXPECT_EQ(layer.ffn_norm.data(),
            data("model.layers.1.post_attention_layernorm.weight", "blk.1.ffn_norm.weight"));
  EXPECT_EQ(bound.weights.output_norm.data(), data("model.norm.weight", "output_norm.weight"));
  if (bound.config.qkv_bias) {
    EXPECT_EQ(layer.bk.data(), data("model.layers.1.self_attn.k_proj.bias", "blk.1.attn_k.bias"));
    EXPECT_EQ(layer.bv.data(), data("model.layers.1.self_attn.v_proj.bias", "blk.1.attn_v.bias"));
  }
  if (bound.config.qk_norm) {
    EXPECT_EQ(layer.q_norm.data(),
              data("model.layers.1.self_attn.q_norm.weight", "blk.1.attn_q_norm.weight"));
    EXPECT_EQ(layer.k_norm.data(),
              data("model.layers.1.self_attn.k_norm.weight", "blk.1.attn_k_norm.weight"));
  }
  EXPECT_EQ(bound.weights.output.data() == bound.weights.token_embedding.data(), GetParam().tied);
  EXPECT_NE(bound.weights.output.data(), nullptr);
}

TEST_P(Family, MissesEachTensorByName) {
  for (const auto& [name, shape] : Tensors()) {
    // A GGUF file without one of these is another model: a tied one; one of an unknown vocabulary.
    if (name == "output.weight" || name == "token_embd.weight") continue;
    TensorShapes tensors = Tensors();
    tensors.erase(name);
    EXPECT_THAT(ErrorOf([&] { Bound bound(Write(tensors)); }),
                AllOf(HasSubstr("'" + name + "'"), HasSubstr("missing")));
  }
}

TEST_P(Family, RefusesEachTensorInAnotherShape) {
  for (const auto& [name, shape] : Tensors()) {
    if (name == "token_embd.weight") continue;  // its shape makes the vocabulary
    std::vector<std::vector<int64_t>> others = {shape, shape, shape};
    others[0].back() += 2;
    others[1].insert(others[1].begin(), 1);      // [1, n] is not [n]
    others[2] = {shape.rbegin(), shape.rend()};  // as if it were column-major
    if (shape.size() == 1) others.pop_back();
    for (const std::vector<int64_t>& other : others) {
      TensorShapes tensors = Tensors();
      tensors[name] = other;
      EXPECT_THAT(ErrorOf([&] { Bound bound(Write(tensors)); }),
                  AllOf(HasSubstr("'" + name + "'"), HasSubstr(Shape(shape).ToString()),
                        HasSubstr(Shape(other).ToString())));
    }
  }
}

TEST_P(Family, RefusesATensorThatItWouldNotUse) {
  const std::string layer = GetParam().gguf ? "blk.0." : "model.layers.0.";
  // An expert's gate; a layer past the last; a bias that this family does not have.
  for (const std::string& name : {layer + "ffn_gate_inp.weight",
                                  GetParam().gguf ? std::string("blk.2.attn_q.weight")
                                                  : std::string("model.layers.2.q.weight"),
                                  layer + "mlp.gate_proj.bias"}) {
    TensorShapes tensors = Tensors();
    tensors[name] = {4};
    EXPECT_THAT(ErrorOf<UnsupportedError>([&] { Bound bound(Write(tensors)); }),
                HasSubstr("'" + name + "'"));
  }
}

INSTANTIATE_TEST_SUITE_P(All, Family,
                         testing::Values(Kind{"llama", false, false}, Kind{"llama", true, false},
                                         Kind{"mistral", false, false}, Kind{"qwen2", true, false},
                                         Kind{"qwen3", true, false}, Kind{"llama", false, true},
                                         Kind{"llama", true, true}, Kind{"qwen2", false, true},
                                         Kind{"qwen3", true, true}),
                         [](const auto& info) {
                           const Kind& kind = info.param;
                           return (kind.gguf ? "gguf_" : "safetensors_") + kind.family +
                                  (kind.tied ? "_tied" : "");
                         });

// ---- What is more than needed ------------------------------------------------------------------

TEST(Redundant, TensorsAreIgnored) {
  TensorShapes tensors = SafetensorsOf("llama", /*tied=*/true);
  tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = {3};
  tensors["lm_head.weight"] = {kVocabSize, kDModel};  // a second copy of the embedding
  const Bound bound(WriteHuggingFace(ConfigOf("llama", /*tied=*/true), tensors));
  EXPECT_EQ(bound.weights.output.data(), bound.weights.token_embedding.data());
}

TEST(RopeFactors, AreBoundWhereGgufHasThem) {
  TensorShapes tensors = GgufTensorsOf("llama", false);
  EXPECT_EQ(Bound(WriteGguf(MetadataOf("llama"), tensors)).weights.rope_factors.data(), nullptr);
  tensors["rope_freqs.weight"] = {kHeadDim / 2};
  const Bound bound(WriteGguf(MetadataOf("llama"), tensors));
  EXPECT_EQ(bound.weights.rope_factors.data(), bound.checkpoint.Find("rope_freqs.weight")->data());
  tensors["rope_freqs.weight"] = {kHeadDim};
  EXPECT_THAT(ErrorOf([&] { Bound other(WriteGguf(MetadataOf("llama"), tensors)); }),
              HasSubstr("'rope_freqs.weight'"));
}

// The config's number of layers is a claim: only layers that are there cost anything.
TEST(Layers, ThatAreClaimedButMissingAreFoundAtOnce) {
  Json config = ConfigOf("llama", false);
  config["num_hidden_layers"] = 4096;
  EXPECT_THAT(
      ErrorOf([&] { Bound bound(WriteHuggingFace(config, SafetensorsOf("llama", false))); }),
      HasSubstr("'model.layers.2.input_layernorm.weight'"));
}

// ---- The table ---------------------------------------------------------------------------------

TEST(WeightTable, HasEachNameAndEachPlaceOnce) {
  std::set<std::string_view> gguf;
  std::set<std::string_view> safetensors;
  for (const WeightSpec& spec : WeightTable()) {
    EXPECT_TRUE(gguf.insert(spec.gguf).second) << spec.gguf;
    EXPECT_TRUE(safetensors.insert(spec.safetensors).second) << spec.safetensors;
    EXPECT_NE(spec.layer == nullptr, spec.global == nullptr) << spec.gguf;
    // Pointers to members have no order.
    int n_here = 0;
    for (const WeightSpec& other : WeightTable()) {
      n_here += (spec.layer != nullptr && other.layer == spec.layer) ||
                        (spec.global != nullptr && other.global == spec.global)
                    ? 1
                    : 0;
    }
    EXPECT_EQ(n_here, 1) << spec.gguf;
  }
}

}  // namespace
}  // namespace aios
