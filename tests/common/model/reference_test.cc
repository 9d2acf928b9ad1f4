// The reference model against programs that share no code with it: transformers on tiny checkpoints
// of every family, and a numpy forward pass on the default model. See tests/golden/README.md.
#include "common/model/reference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/base/mapped_file.h"
#include "common/model/model.h"
#include "common/sample/sampler.h"

namespace aios {
namespace {

constexpr double kLogitTolerance = 2e-3;

Json ReadJson(const std::string& path) { return ParseJson(ReadTextFile(path), path); }

std::vector<int32_t> Greedy(const ReferenceModel& model, std::vector<int32_t> sequence,
                            size_t n_tokens) {
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < n_tokens; ++i) {
    tokens.push_back(Sample(model.Forward(sequence), {}, i));
    sequence.push_back(tokens.back());
  }
  return tokens;
}

// ---- Tiny checkpoints --------------------------------------------------------------------------

// The golden answers of llama_bf16 come from a model that was converted to bf16 and back as a
// whole, and with it a buffer that is no weight: RoPE's frequencies (transformers computes them in
// f32 when it loads such a file). These factors repeat that rounding, for the comparison only; with
// it our logits are within 1e-5, without it 4e-3 away.
std::vector<float> Bf16RopeFactors(const ModelConfig& config) {
  std::vector<float> factors;
  for (int64_t i = 0; i < config.head_dim / 2; ++i) {
    const double exact = std::pow(
        config.rope.theta, -2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim));
    const uint32_t bits = std::bit_cast<uint32_t>(static_cast<float>(exact));
    const uint32_t to_nearest_even = 0x7FFF + ((bits >> 16) & 1);
    factors.push_back(
        static_cast<float>(exact / std::bit_cast<float>((bits + to_nearest_even) & 0xFFFF0000)));
  }
  return factors;
}

class TinyCheckpoint : public testing::TestWithParam<std::string> {};

TEST_P(TinyCheckpoint, AgreesWithTransformers) {
  const std::string folder = "tests/golden/tiny/" + GetParam();
  const Json golden = ReadJson(folder + "/golden.json");
  const auto prompt = golden["prompt"].get<std::vector<int32_t>>();

  const Model model = Model::Load(folder);
  Weights weights = model.weights();
  const std::vector<float> factors = Bf16RopeFactors(model.config());
  if (GetParam() == "llama_bf16") {
    weights.rope_factors =
        Tensor(factors.data(), DType::kF32, {static_cast<int64_t>(factors.size())});
  }
  const ReferenceModel reference(model.config(), weights);
  const std::vector<float> logits = reference.Forward(prompt, static_cast<int64_t>(prompt.size()));
  const auto vocab_size = static_cast<size_t>(model.config().vocab_size);
  ASSERT_EQ(logits.size(), prompt.size() * vocab_size);

  for (size_t position = 0; position < prompt.size(); ++position) {
    const std::span<const float> row(&logits[position * vocab_size], vocab_size);
    EXPECT_EQ(Sample(row, {}, 0), golden["argmax_per_position"][position])
        << "position " << position;
    EXPECT_NEAR(LogSumExp(row), golden["logsumexp_per_position"][position].get<double>(),
                kLogitTolerance);
  }
  const auto last = golden["last_logits"].get<std::vector<float>>();
  ASSERT_EQ(last.size(), vocab_size);
  EXPECT_THAT(std::vector<float>(logits.end() - static_cast<int64_t>(vocab_size), logits.end()),
              testing::Pointwise(testing::FloatNear(kLogitTolerance), last));
  EXPECT_EQ(Greedy(reference, prompt, golden["greedy"].size()),
            golden["greedy"].get<std::vector<int32_t>>());
}

INSTANTIATE_TEST_SUITE_P(Families, TinyCheckpoint,
                         testing::Values("llama_bf16", "llama_tied", "llama_sharded",
                                         "llama3_scaled", "mistral", "qwen2", "qwen3"),
                         [](const auto& info) { return info.param; });

TEST(TinyCheckpoint, MixtureOfExpertsIsAnErrorThatNamesIt) {
  try {
    Model::Load("tests/golden/tiny/qwen3_moe");
    FAIL() << "loaded";
  } catch (const UnsupportedError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("qwen3_moe"));
  }
}

// ---- The default model -------------------------------------------------------------------------

class DefaultModel : public testing::TestWithParam<std::string> {
 protected:
  // Loaded once: dequantizing it takes longer than most prompts.
  static void SetUpTestSuite() {
    model_ = new Model(Model::Load("../smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"));
    reference_ = new ReferenceModel(model_->config(), model_->weights());
  }
  static void TearDownTestSuite() {
    delete reference_;
    delete model_;
  }

  static inline Model* model_ = nullptr;
  static inline ReferenceModel* reference_ = nullptr;
};

// Every token of the golden answer is the best after the prompt and the tokens before it, with the
// golden scores. One pass over prompt and answer shows it for all of them: what comes later does
// not change what is before.
TEST_P(DefaultModel, AgreesWithNumpy) {
  const Json golden = ReadJson("tests/golden/smollm2.json")[GetParam()];
  const auto prompt = golden["prompt"].get<std::vector<int32_t>>();
  const auto answer = golden["greedy"].get<std::vector<int32_t>>();
  std::vector<int32_t> sequence = prompt;
  sequence.insert(sequence.end(), answer.begin(), answer.end());
  const std::vector<float> logits =
      reference_->Forward(sequence, static_cast<int64_t>(sequence.size()));
  const auto vocab_size = static_cast<size_t>(model_->config().vocab_size);
  const auto row = [&](size_t position) {
    return std::span<const float>(&logits[position * vocab_size], vocab_size);
  };

  double nll = 0;
  for (size_t i = 0; i + 1 < prompt.size(); ++i) nll += LogSumExp(row(i)) - row(i)[prompt[i + 1]];
  EXPECT_NEAR(nll / static_cast<double>(prompt.size() - 1), golden["prompt_nll"].get<double>(),
              kLogitTolerance);

  ASSERT_EQ(golden["steps"].size(), answer.size());
  for (size_t i = 0; i < answer.size(); ++i) {
    const std::span<const float> scores = row(prompt.size() - 1 + i);
    EXPECT_EQ(Sample(scores, {}, i), answer[i]) << "step " << i;
    EXPECT_NEAR(LogSumExp(scores), golden["steps"][i]["lse"].get<double>(), kLogitTolerance);
    for (const Json& top : golden["steps"][i]["top"]) {
      EXPECT_NEAR(scores[top[0].get<int32_t>()], top[1].get<double>(), kLogitTolerance)
          << "step " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(GoldenPrompts, DefaultModel,
                         testing::Values("sky", "france", "story", "count", "code", "turns",
                                         "unicode", "long"),
                         [](const auto& info) { return info.param; });

// The same by the loop that lesson 02 runs, one pass a token.
TEST_F(DefaultModel, GeneratesTheGoldenAnswer) {
  const Json golden = ReadJson("tests/golden/smollm2.json")["france"];
  EXPECT_EQ(
      Greedy(*reference_, golden["prompt"].get<std::vector<int32_t>>(), golden["greedy"].size()),
      golden["greedy"].get<std::vector<int32_t>>());
}

TEST_F(DefaultModel, RefusesTokensThatItDoesNotKnow) {
  EXPECT_THROW(reference_->Forward({}), InputError);
  EXPECT_THROW(reference_->Forward(std::vector<int32_t>{-1}), InputError);
  EXPECT_THROW(reference_->Forward(std::vector<int32_t>{49152}), InputError);
  EXPECT_THROW(reference_->Forward(std::vector<int32_t>(8193, 1)), InputError);
}

}  // namespace
}  // namespace aios
