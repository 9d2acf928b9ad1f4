// What ReferenceModel says that each layer computed, against transformers, which shares no code
// with it: tests/golden/make_trace.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/base/json.h"
#include "common/base/mapped_file.h"
#include "common/model/model.h"
#include "common/model/reference.h"

namespace aios {
namespace {

constexpr float kTolerance = 2e-5;

auto IsNear(const Json& golden) {
  return testing::Pointwise(testing::FloatNear(kTolerance), golden.get<std::vector<float>>());
}

std::vector<float> LastRow(const std::vector<float>& matrix, size_t n_rows) {
  return {matrix.end() - static_cast<int64_t>(matrix.size() / n_rows), matrix.end()};
}

class TraceTest : public testing::TestWithParam<std::string> {};

TEST_P(TraceTest, AgreesWithTransformers) {
  const std::string path = "tests/golden/trace.json";
  const Json golden = ParseJson(ReadTextFile(path), path)[GetParam()];
  const auto tokens = golden["tokens"].get<std::vector<int32_t>>();
  const Model model = Model::Load("tests/golden/tiny/" + GetParam());
  const ReferenceModel reference(model.config(), model.weights());

  std::vector<LayerTrace> trace(5);  // what was in it goes
  const std::vector<float> logits = reference.Forward(tokens, 1, &trace);
  EXPECT_EQ(logits, reference.Forward(tokens)) << "looking on must not change what is seen";
  ASSERT_EQ(trace.size(), golden["layers"].size());

  const size_t n = tokens.size();
  const auto n_heads = static_cast<size_t>(model.config().n_heads);
  for (size_t layer = 0; layer < trace.size(); ++layer) {
    SCOPED_TRACE(testing::Message() << "layer " << layer);
    const LayerTrace& ours = trace[layer];
    const Json& theirs = golden["layers"][layer];
    EXPECT_THAT(LastRow(ours.residual, n), IsNear(theirs["residual"]));
    EXPECT_THAT(LastRow(ours.after_attention, n), IsNear(theirs["after_attention"]));
    EXPECT_THAT(LastRow(ours.after_ffn, n), IsNear(theirs["after_ffn"]));
    EXPECT_THAT(LastRow(ours.gate, n), IsNear(theirs["gate"]));
    EXPECT_THAT(LastRow(ours.ffn_hidden, n), IsNear(theirs["ffn_hidden"]));
    EXPECT_THAT(reference.Logits(LastRow(ours.after_ffn, n)), IsNear(theirs["logits"]));

    ASSERT_EQ(ours.attn_weights.size(), n_heads * n * n);
    ASSERT_EQ(theirs["attn_weights"].size(), n_heads);
    for (size_t head = 0; head < n_heads; ++head) {
      for (size_t query = 0; query < n; ++query) {
        const float* const row = &ours.attn_weights[(head * n + query) * n];
        EXPECT_THAT(std::vector<float>(row, row + n), IsNear(theirs["attn_weights"][head][query]))
            << "head " << head << ", query " << query;
      }
    }
  }
}

// Attention takes its queries in blocks; the rows of a later one must be in their place too.
TEST_P(TraceTest, ALongTextBeginsLikeAShortOne) {
  const Model model = Model::Load("tests/golden/tiny/" + GetParam());
  const ReferenceModel reference(model.config(), model.weights());
  std::vector<int32_t> tokens(300);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i * 37 % 500);

  std::vector<LayerTrace> all, front;
  reference.Forward(tokens, 1, &all);
  const size_t n_front = 200;
  reference.Forward(std::span(tokens).first(n_front), 1, &front);
  for (size_t layer = 0; layer < all.size(); ++layer) {
    for (size_t head = 0; head < static_cast<size_t>(model.config().n_heads); ++head) {
      for (size_t query = 0; query < n_front; ++query) {
        const float* const a = &all[layer].attn_weights[(head * 300 + query) * 300];
        const float* const b = &front[layer].attn_weights[(head * n_front + query) * n_front];
        for (size_t key = 0; key < 300; ++key) {
          ASSERT_NEAR(a[key], key < n_front ? b[key] : 0, 1e-5)
              << "layer " << layer << ", head " << head << ", " << query << " -> " << key;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, TraceTest,
                         testing::Values("llama_tied", "mistral", "qwen2", "qwen3"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace aios
