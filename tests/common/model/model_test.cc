// Models as a whole: random ones of real shapes, and how large those are.
#include "common/model/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/base/memory.h"
#include "tests/common/loader/loader_testing.h"

namespace aios {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;

double BFloat16(uint16_t bits) {
  const uint32_t wide = uint32_t{bits} << 16;
  float value = 0;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

// ---- Random weights ----------------------------------------------------------------------------

class RandomModel : public testing::Test {
 protected:
  static void SetUpTestSuite() { model_ = new Model(Model::Random("smollm2-135m")); }
  static void TearDownTestSuite() { delete model_; }
  static inline Model* model_ = nullptr;
};

TEST_F(RandomModel, HasTheShapeOfTheRealOne) {
  const Model real = Model::Load("../smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
  EXPECT_EQ(model_->n_params(), real.n_params());
  EXPECT_EQ(model_->n_params(), 134515008);
  EXPECT_EQ(model_->n_bytes(), 2 * model_->n_params());
  EXPECT_EQ(model_->checkpoint(), nullptr);
  EXPECT_EQ(model_->config().rope.theta, real.config().rope.theta);
  EXPECT_EQ(model_->config().tied_embeddings, real.config().tied_embeddings);
  EXPECT_NO_THROW(CheckModelConfig(model_->config(), "random"));
  ForEachWeight(real.config(), real.weights(), [&](const WeightSpec& spec, const Tensor& tensor) {
    EXPECT_EQ(tensor.shape(), spec.shape(model_->config())) << spec.gguf;
  });
}

TEST_F(RandomModel, IsTheSameEachTime) {
  const Model again = Model::Random("smollm2-135m");
  const auto bytes = [](const Model& model) {
    const Tensor& first = model.weights().token_embedding;
    return std::string_view(static_cast<const char*>(first.data()), model.n_bytes());
  };
  EXPECT_TRUE(bytes(*model_) == bytes(again));  // EXPECT_EQ would print 270 MB
}

TEST_F(RandomModel, StaysWhereItIsWhenItMoves) {
  Model a = Model::Random("smollm2-135m");
  const void* embedding = a.weights().token_embedding.data();
  const Model b = std::move(a);
  EXPECT_EQ(b.weights().token_embedding.data(), embedding);
  EXPECT_EQ(b.weights().output.data(), embedding);  // tied
}

TEST_F(RandomModel, HasWeightsOfTheUsualSizeAndNormsOfOne) {
  const auto moments = [](const Tensor& tensor) {
    const auto* numbers = static_cast<const uint16_t*>(tensor.data());
    double sum = 0;
    double squares = 0;
    for (int64_t i = 0; i < tensor.n_elements(); ++i) {
      sum += BFloat16(numbers[i]);
      squares += BFloat16(numbers[i]) * BFloat16(numbers[i]);
    }
    const auto n = static_cast<double>(tensor.n_elements());
    return std::pair(sum / n, std::sqrt(squares / n));
  };
  ForEachWeight(model_->config(), model_->weights(),
                [&](const WeightSpec& spec, const Tensor& tensor) {
                  const auto [mean, deviation] = moments(tensor);
                  const bool is_norm = tensor.shape().rank() == 1;
                  EXPECT_NEAR(mean, is_norm ? 1 : 0, 5e-4) << spec.gguf;
                  EXPECT_NEAR(deviation, is_norm ? 1 : 0.02, 5e-4) << spec.gguf;
                });
}

TEST_F(RandomModel, HasNoTwoMatricesAlike) {
  const LayerWeights& first = model_->weights().layers.front();
  const LayerWeights& last = model_->weights().layers.back();
  EXPECT_NE(std::memcmp(first.wq.data(), last.wq.data(), first.wq.n_bytes()), 0);
  EXPECT_NE(std::memcmp(first.w_gate.data(), first.w_up.data(), first.w_up.n_bytes()), 0);
}

// ---- Sizes -------------------------------------------------------------------------------------

TEST(RandomShapes, AreNamedAndAnUnknownOneIsAnErrorThatListsThem) {
  EXPECT_THAT(Model::RandomShapeNames(), Contains("llama-8b"));
  EXPECT_THAT(ErrorOf([] { Model::Random("llama-9b"); }),
              AllOf(HasSubstr("'llama-9b'"), HasSubstr("llama-8b"), HasSubstr("qwen3-0.6b")));
  EXPECT_THAT(ErrorOf([] { Model::Random(""); }), HasSubstr("llama-8b"));
}

// How many parameters these models are published with, to the last one. A shape that does not fit
// the memory is measured by the error that says so.
TEST(RandomShapes, NeedTheMemoryOfTheRealModels) {
  const std::vector<std::pair<std::string, double>> published = {{"qwen3-0.6b", 596049920},
                                                                 {"llama-1b", 1235814400},
                                                                 {"llama-8b", 8030261248},
                                                                 {"llama-70b", 70553706496}};
  // So much more for each parameter that no machine has it: nothing is allocated.
  constexpr int64_t kBytesPerParam = 100000;
  for (const auto& [name, n_params] : published) {
    const std::string gigabytes = fmt::format("{:.1f} GB", n_params * (2 + kBytesPerParam) * 1e-9);
    EXPECT_THAT(ErrorOf([&, &shape = name] { Model::Random(shape, kBytesPerParam); }),
                AllOf(HasSubstr(name), HasSubstr(" " + gigabytes)));
  }
}

TEST(RandomShapes, ThatDoNotFitTheMemoryAreAnErrorAtOnce) {
  if (AvailableMemory() > int64_t{140} << 30) GTEST_SKIP() << "llama-70b fits this machine";
  const auto start = std::chrono::steady_clock::now();
  const int64_t peak = PeakMemory();
  EXPECT_THAT(ErrorOf([] { Model::Random("llama-70b"); }),
              AllOf(HasSubstr("llama-70b needs 141.1 GB of memory"), HasSubstr("are free")));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
  EXPECT_LT(PeakMemory() - peak, 1 << 20);
}

}  // namespace
}  // namespace aios
