// The counts against what others published or counted: parameters of real models, the bytes of
// files that other programs wrote, a forward pass written out as loops that only count.
#include "common/profile/roofline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "common/base/error.h"
#include "common/model/model.h"
#include "common/model/shapes.h"

namespace aios {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// ---- What a model is ----------------------------------------------------------------------------

TEST(ModelSize, HasTheParametersThatTheModelsWerePublishedWith) {
  // As Hugging Face counts them in the safetensors of each.
  const std::map<std::string, int64_t, std::less<>> published = {
      {"smollm2-135m", 134515008},  {"qwen2.5-0.5b", 494032768}, {"qwen3-0.6b", 596049920},
      {"llama-1b", 1235814400},     {"llama-3b", 3212749824},    {"mistral-7b", 7248023552},
      {"qwen2.5-7b", 7615616512},   {"llama-8b", 8030261248},    {"qwen3-8b", 8190735360},
      {"qwen2.5-32b", 32763876352}, {"llama-70b", 70553706496}};
  EXPECT_EQ(ShapeNames().size(), published.size());
  for (const std::string_view name : ShapeNames()) {
    ASSERT_TRUE(published.contains(name)) << name;
    const ModelSize size = SizeOf(ShapeNamed(name), DType::kBF16);
    EXPECT_EQ(size.n_params(), published.find(name)->second) << name;
    EXPECT_EQ(size.n_bytes(), 2 * size.n_params()) << name;
  }
}

// Bytes of the tensors of a safetensors file: all but the header, whose length is its first word.
int64_t TensorBytes(const fs::path& file) {
  uint64_t header = 0;
  std::ifstream(file, std::ios::binary).read(reinterpret_cast<char*>(&header), sizeof header);
  return static_cast<int64_t>(fs::file_size(file) - sizeof header - header);
}

TEST(ModelSize, AddsUpToTheTensorsOfFilesThatTransformersWrote) {
  int n_models = 0;
  for (const auto& entry : fs::directory_iterator("tests/golden/tiny")) {
    if (entry.path().filename() == "qwen3_moe") continue;  // not supported
    int64_t n_bytes = 0;
    for (const auto& file : fs::directory_iterator(entry)) {
      if (file.path().extension() == ".safetensors") n_bytes += TensorBytes(file);
    }
    const Model model = Model::Load(entry);
    const ModelSize stored = SizeOf(model.config(), model.weights());
    EXPECT_EQ(stored.n_bytes(), n_bytes) << entry.path();
    EXPECT_EQ(stored.n_params(), model.n_params()) << entry.path();
    // And from the config alone, if all is in one format: so is it in these.
    const DType format = model.weights().output_norm.dtype();
    const ModelSize counted = SizeOf(model.config(), format);
    for (int i = 0; i < kNumComponents; ++i) {
      EXPECT_EQ(counted.parts[i].n_params, stored.parts[i].n_params) << entry.path() << i;
      EXPECT_EQ(counted.parts[i].n_bytes, stored.parts[i].n_bytes) << entry.path() << i;
    }
    ++n_models;
  }
  EXPECT_EQ(n_models, 7);
}

TEST(ModelSize, QuantizedMatricesHaveTheirBlocksAndVectorsF32) {
  const ModelConfig config = ShapeNamed("llama-8b");
  const ModelSize size = SizeOf(config, DType::kQ4_0);
  EXPECT_EQ(size[Component::kFeedForward].n_bytes, int64_t{32} * 3 * 14336 * 4096 / 32 * 18);
  EXPECT_EQ(size[Component::kNorms].n_bytes, 65 * 4096 * 4);
  EXPECT_NEAR(size.bits_per_param(), 4.5, 0.01);
}

TEST(ModelSize, RefusesRowsThatAreNotWholeBlocks) {
  try {
    SizeOf(ShapeNamed("smollm2-135m"), DType::kQ6_K);  // 576 is no multiple of 256
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("576"));
    EXPECT_THAT(error.what(), HasSubstr("Q6_K"));
  }
}

// The arithmetic that is shown must give the number beside it. A calculator of + and x, with ( ).
class Calculator {
 public:
  static int64_t Of(const std::string& text) {
    Calculator c(text);
    const int64_t value = c.Sum();
    EXPECT_EQ(c.at_, text.size()) << text;
    return value;
  }

 private:
  explicit Calculator(const std::string& text) : text_(text) {}
  bool Eat(const std::string& token) {
    if (text_.compare(at_, token.size(), token) != 0) return false;
    at_ += token.size();
    return true;
  }
  int64_t Sum() {
    int64_t sum = Product();
    while (Eat(" + ")) sum += Product();
    return sum;
  }
  int64_t Product() {
    int64_t product = Factor();
    while (Eat(" x ")) product *= Factor();
    return product;
  }
  int64_t Factor() {
    if (Eat("(")) {
      const int64_t sum = Sum();
      EXPECT_TRUE(Eat(")")) << text_;
      return sum;
    }
    size_t n = 0;
    const int64_t value = std::stoll(text_.substr(at_), &n);
    at_ += n;
    return value;
  }
  const std::string& text_;
  size_t at_ = 0;
};

TEST(Arithmetic, GivesTheParametersOfEveryComponentOfEveryShape) {
  for (const std::string_view name : ShapeNames()) {
    const ModelConfig config = ShapeNamed(name);
    const ModelSize size = SizeOf(config, DType::kF32);
    for (int i = 0; i < kNumComponents; ++i) {
      const auto component = static_cast<Component>(i);
      if (component == Component::kOutput && config.tied_embeddings) continue;
      EXPECT_EQ(Calculator::Of(Arithmetic(component, config)), size[component].n_params)
          << name << " " << Name(component);
    }
  }
}

TEST(KvBytesPerToken, IsWhatThePapersSay) {
  EXPECT_EQ(KvBytesPerToken(ShapeNamed("llama-8b"), DType::kBF16), 128 << 10);
  EXPECT_EQ(KvBytesPerToken(ShapeNamed("llama-70b"), DType::kBF16), 320 << 10);
  EXPECT_EQ(KvBytesPerToken(ShapeNamed("smollm2-135m"), DType::kF32), 46080);
}

// ---- What a step costs --------------------------------------------------------------------------

// A forward pass of one sequence that only counts its multiplications.
struct Counter {
  const ModelConfig& c;
  double products = 0;
  double attention = 0;

  void MatMul(int64_t d_in, int64_t d_out) {
    for (int64_t o = 0; o < d_out; ++o) products += static_cast<double>(d_in);
  }
  void Forward(int64_t n_past, int64_t n_new) {
    for (int64_t layer = 0; layer < c.n_layers; ++layer) {
      for (int64_t token = 0; token < n_new; ++token) {
        for (int64_t head = 0; head < c.n_heads; ++head) {
          MatMul(c.d_model, c.head_dim);  // q
          for (int64_t key = 0; key <= n_past + token; ++key) {
            attention += static_cast<double>(2 * c.head_dim);  // q k, p v
          }
          MatMul(c.head_dim, c.d_model);  // o
        }
        for (int64_t head = 0; head < c.n_kv_heads; ++head) {
          MatMul(c.d_model, c.head_dim);  // k
          MatMul(c.d_model, c.head_dim);  // v
        }
        MatMul(c.d_model, c.d_ff);
        MatMul(c.d_model, c.d_ff);
        MatMul(c.d_ff, c.d_model);
      }
    }
    MatMul(c.d_model, c.vocab_size);
  }
};

TEST(CostOf, CountsTheFlopsOfAForwardPass) {
  for (const char* name : {"tests/golden/tiny/qwen2", "tests/golden/tiny/mistral"}) {
    const Model model = Model::Load(name);
    const ModelConfig& config = model.config();
    const ModelSize size = SizeOf(config, DType::kF32);
    for (const auto& [n_past, n_new] : {std::pair(0, 1), {0, 17}, {40, 1}, {13, 5}}) {
      Counter counter{config};
      counter.Forward(n_past, n_new);
      const Cost cost =
          CostOf(config, size, DType::kF32, {.n_sequences = 3, .n_new = n_new, .n_past = n_past});
      EXPECT_DOUBLE_EQ(cost.matrix_flops, 3 * 2 * counter.products) << name << n_new;
      EXPECT_DOUBLE_EQ(cost.attention_flops, 3 * 2 * counter.attention) << name << n_new;
      EXPECT_DOUBLE_EQ(cost.kv_bytes, 3.0 * (n_past + n_new) * config.n_layers * 2 *
                                          config.n_kv_heads * config.head_dim * 4);
    }
  }
}

TEST(CostOf, ReadsATiedTableWholeAndAnUntiedOneByRows) {
  const ModelConfig tied = ShapeNamed("llama-1b");
  const ModelSize tied_size = SizeOf(tied, DType::kBF16);
  EXPECT_EQ(CostOf(tied, tied_size, DType::kBF16, {}).weight_bytes, tied_size.n_bytes());
  const ModelConfig untied = ShapeNamed("llama-8b");
  const ModelSize size = SizeOf(untied, DType::kBF16);
  const double others = size.n_bytes() - 128256.0 * 4096 * 2;
  EXPECT_EQ(CostOf(untied, size, DType::kBF16, {}).weight_bytes, others + 4096 * 2);
  EXPECT_EQ(CostOf(untied, size, DType::kBF16, {.n_new = 10}).weight_bytes, others + 10 * 4096 * 2);
  EXPECT_EQ(CostOf(untied, size, DType::kBF16, {.n_new = 1000000}).weight_bytes, size.n_bytes());
}

// Lesson 02's README works it out by hand: 4,320 positions, 917 GFLOP and 3.6 for the logits.
TEST(RecomputeCost, IsWhatLesson02WorksOutByHand) {
  const ModelConfig config = ShapeNamed("smollm2-135m");
  const Cost cost = RecomputeCost(config, SizeOf(config, DType::kF32), DType::kF32, 36, 64);
  EXPECT_EQ(cost.weight_bytes, 4.0 * 134515008);
  EXPECT_NEAR(cost.matrix_flops * 64, 2.0 * 106168320 * 4320 + 2.0 * 49152 * 576 * 64, 1);
  EXPECT_NEAR(cost.matrix_flops * 64 * 1e-9, 917 + 3.6, 0.5);
}

TEST(DecodeCost, IsTheAverageOfItsSteps) {
  const ModelConfig config = ShapeNamed("llama-8b");
  const ModelSize size = SizeOf(config, DType::kBF16);
  const Cost average = DecodeCost(config, size, DType::kBF16, 100, 12, 4);
  double kv = 0;
  double flops = 0;
  for (int64_t past = 100; past < 111; ++past) {
    const Cost step = CostOf(config, size, DType::kBF16, {.n_sequences = 4, .n_past = past});
    kv += step.kv_bytes / 11;
    flops += step.flops() / 11;
  }
  EXPECT_NEAR(average.kv_bytes, kv, 1e-9 * kv);
  EXPECT_NEAR(average.flops(), flops, 1e-9 * flops);
}

// ---- What a device makes of it ------------------------------------------------------------------

constexpr double kGb = 1e9;
const DeviceLimits kDevice = {.name = "a device",
                              .is_gpu = true,
                              .read_bytes_s = 4000 * kGb,
                              .flop_s = 800e12,
                              .memory_bytes = 141 * kGb};

TEST(Predict, TakesTheSlowerOfTheTwo) {
  const Prediction memory = Predict({.weight_bytes = 3 * kGb, .kv_bytes = kGb}, kDevice);
  EXPECT_DOUBLE_EQ(memory.seconds(), 1e-3);
  EXPECT_TRUE(memory.memory_bound());
  const Prediction both =
      Predict({.weight_bytes = 4 * kGb, .matrix_flops = 1e12, .attention_flops = 7e12}, kDevice);
  EXPECT_DOUBLE_EQ(both.seconds(), 10e-3);
  EXPECT_FALSE(both.memory_bound());
}

TEST(RidgeBatch, IsWhereTheBoundChanges) {
  const ModelConfig config = ShapeNamed("llama-8b");
  const ModelSize size = SizeOf(config, DType::kBF16);
  const double ridge = RidgeBatch(config, size, DType::kBF16, 99, kDevice);
  ASSERT_GT(ridge, 1);
  const auto bound = [&](double batch) {
    const Step step = {.n_sequences = static_cast<int64_t>(batch), .n_new = 1, .n_past = 99};
    return Predict(CostOf(config, size, DType::kBF16, step), kDevice).memory_bound();
  };
  // The rows of the embedding that a batch reads, 8 KB each, are not in the ridge's formula.
  EXPECT_TRUE(bound(std::floor(0.999 * ridge)));
  EXPECT_FALSE(bound(std::ceil(1.001 * ridge)));
  // Each token of a long context has 16 FLOPs for a byte of its keys and values, far below 200.
  EXPECT_EQ(RidgeBatch(config, size, DType::kBF16, 100000, kDevice), 0);
}

TEST(FitOf, FillsTheMemoryAndNoMore) {
  const ModelConfig config = ShapeNamed("llama-8b");
  const ModelSize size = SizeOf(config, DType::kBF16);
  const Fit fit = FitOf(config, size, DType::kBF16, 2048, 512, kDevice);
  const auto needed = [&](int64_t batch) {
    return 16060522496.0 + fit.prefill_bytes +
           static_cast<double>(batch) *
               (2048.0 * 131072 + ActivationBytes(config, DType::kBF16, 1, 1));
  };
  EXPECT_LE(needed(fit.max_batch), 0.9 * 141 * kGb);
  EXPECT_GT(needed(fit.max_batch + 1), 0.9 * 141 * kGb);
  EXPECT_TRUE(fit.weights_fit());
  EXPECT_NEAR(static_cast<double>(fit.max_context), (0.9 * 141 * kGb - 16.06e9) / 131072, 2000);
}

TEST(FitOf, SaysWhenNotEvenTheWeightsFit) {
  const ModelConfig config = ShapeNamed("llama-70b");
  const Fit fit = FitOf(config, SizeOf(config, DType::kBF16), DType::kBF16, 2048, 512, kDevice);
  EXPECT_FALSE(fit.weights_fit());
  EXPECT_EQ(fit.max_batch, 0);
  EXPECT_EQ(fit.max_context, 0);
}

TEST(ActivationBytes, IsTheTransformersScratch) {
  // d_model 576, q_dim 576, kv_dim 192, d_ff 1536: x; normed, delta; q k v; q, heads; gate, up, ff.
  const ModelConfig config = ShapeNamed("smollm2-135m");
  EXPECT_EQ(ActivationBytes(config, DType::kF32, 1, 0),
            4 * (576 + 2 * 576 + (576 + 2 * 192) + 2 * 576 + 3 * 1536));
  EXPECT_EQ(ActivationBytes(config, DType::kBF16, 10, 2),
            10 * (4 * 576 + 2 * (2 * 576 + (576 + 2 * 192) + 2 * 576 + 3 * 1536)) +
                2 * (2 * 576 + 4 * 49152));
}

// The largest config that a file may have, and a billion tokens: finite numbers, in no time.
TEST(Roofline, StaysFiniteAtTheLargestConfigThereCanBe) {
  ModelConfig config = ShapeNamed("llama-8b");
  config.d_model = 1 << 20;
  config.n_heads = config.n_kv_heads = 1 << 14;
  config.head_dim = 1 << 14;
  config.d_ff = 1 << 22;
  config.vocab_size = 1 << 24;
  config.n_layers = 1 << 12;
  EXPECT_THROW(CheckModelConfig(config, "test"), InputError);
  config.n_layers = 1 << 5;
  ASSERT_NO_THROW(CheckModelConfig(config, "test"));
  const ModelSize size = SizeOf(config, DType::kF32);
  EXPECT_GT(size.n_bytes(), 0);
  const Cost cost = RecomputeCost(config, size, DType::kF32, 1000000000, 1000000000);
  EXPECT_TRUE(std::isfinite(Predict(cost, kDevice).seconds()));
  EXPECT_GT(cost.flops(), 0);
  EXPECT_EQ(FitOf(config, size, DType::kF32, 1000000000, 1000000000, kDevice).max_batch, 0);
}

}  // namespace
}  // namespace aios
