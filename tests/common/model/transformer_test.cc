// The engine's forward pass on every backend: one body, held against the reference model, against
// the answers of transformers and of a numpy forward pass (tests/golden/README.md), and against
// itself in other batches.
#include "common/model/transformer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "common/backend/backend.h"
#include "common/base/json.h"
#include "common/base/mapped_file.h"
#include "common/mm/kv_storage.h"
#include "common/model/model.h"
#include "common/model/reference.h"
#include "common/sample/sampler.h"

namespace aios {
namespace {

Json ReadJson(const std::string& path) { return ParseJson(ReadTextFile(path), path); }

// Where and in which numbers to compute, and how far logits may be from the golden ones.
struct Lane {
  std::string backend;
  std::string dtype;
  double tolerance;

  bool exact() const { return dtype == "f32"; }
};
void PrintTo(const Lane& lane, std::ostream* out) { *out << lane.backend << "_" << lane.dtype; }

// bf16 keeps 8 bits of every weight and activation: its logits, of some 10, are off by some 1%.
const Lane kExactLanes[] = {{"cpu", "f32", 2e-3}, {"cuda", "f32", 2e-3}};
const Lane kLanes[] = {kExactLanes[0], kExactLanes[1], {"cuda", "bf16", 0.3}};

// A lane's backend, deterministic, or nullptr where there is no such device.
std::unique_ptr<Backend> MakeBackendOf(const Lane& lane, bool deterministic = true) {
  if (lane.backend == "cuda" && !WhyNoCuda(0).empty()) return nullptr;
  return MakeBackend({.backend = lane.backend,
                      .dtype = lane.dtype,
                      .n_threads = 2,
                      .deterministic = deterministic});
}

// Some rows of one sequence: its tokens [begin, end).
struct Piece {
  const std::vector<int32_t>& tokens;
  const std::vector<int32_t>& pages;
  size_t begin;
  size_t end;
};

// The batch of these pieces that wants the logits of each row.
Batch BatchOf(const std::vector<Piece>& pieces) {
  Batch batch;
  for (const Piece& piece : pieces) {
    batch.max_pages = std::max(batch.max_pages, static_cast<int32_t>(piece.pages.size()));
  }
  for (const Piece& piece : pieces) {
    for (size_t i = piece.begin; i < piece.end; ++i) {
      batch.logit_rows.push_back(batch.n_tokens());
      batch.tokens.push_back(piece.tokens[i]);
      batch.positions.push_back(static_cast<int32_t>(i));
    }
    batch.seq_offsets.push_back(batch.n_tokens());
    batch.kv_lengths.push_back(static_cast<int32_t>(piece.end));
    std::vector<int32_t> pages = piece.pages;
    pages.resize(batch.max_pages, -1);  // past a sequence's end: must not be read
    batch.page_table.insert(batch.page_table.end(), pages.begin(), pages.end());
  }
  return batch;
}

// A transformer with pages for everything that a test does.
class Engine {
 public:
  static constexpr int64_t kPageSize = 16;

  Engine(std::unique_ptr<Backend> backend, const Model& model, const Weights& weights,
         int32_t max_tokens)
      : backend_(std::move(backend)),
        limits_{.n_tokens = max_tokens,
                .n_seqs = 8,
                .n_logit_rows = max_tokens,
                .max_pages = static_cast<int32_t>(max_tokens / kPageSize + 1)},
        transformer_(*backend_, model.config(), weights, limits_, kPageSize),
        kv_(*backend_, model.config(), limits_.n_seqs * limits_.max_pages, kPageSize),
        vocab_size_(model.config().vocab_size) {}

  // The logits of all rows: [n_tokens, vocab_size].
  std::vector<float> Forward(const std::vector<Piece>& pieces) { return Step(BatchOf(pieces)); }

  std::vector<float> Step(const Batch& batch) {
    const MutableTensor logits = transformer_.Forward(batch, kv_.layers());
    std::vector<float> host(logits.n_elements());
    backend_->Download(logits, host.data());
    return host;
  }

  // Pages for sequence s of 8, which nothing else uses, in an order that is not their own.
  std::vector<int32_t> PagesOf(int s) const {
    std::vector<int32_t> pages;
    for (int32_t i = 0; i < limits_.max_pages; ++i) pages.push_back(i * limits_.n_seqs + s);
    std::shuffle(pages.begin(), pages.end(), std::mt19937(s));
    return pages;
  }

  std::span<const float> Row(const std::vector<float>& logits, size_t row) const {
    return std::span(logits).subspan(row * vocab_size_, vocab_size_);
  }

  std::vector<int32_t> Greedy(std::vector<int32_t> sequence, size_t n_tokens, bool use_cache) {
    std::vector<int32_t> answer;
    const std::vector<int32_t> pages = PagesOf(3);
    size_t n_cached = 0;
    for (size_t i = 0; i < n_tokens; ++i) {
      const size_t begin = use_cache ? n_cached : 0;
      const std::vector<float> logits = Forward({{sequence, pages, begin, sequence.size()}});
      answer.push_back(Sample(Row(logits, sequence.size() - begin - 1), {}, i));
      n_cached = sequence.size();
      sequence.push_back(answer.back());
    }
    return answer;
  }

  Backend& backend() { return *backend_; }

 private:
  std::unique_ptr<Backend> backend_;
  BatchLimits limits_;
  Transformer transformer_;
  KvStorage kv_;
  size_t vocab_size_;
};

// What llama_bf16's golden answers need: see reference_test.cc.
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

// ---- Tiny checkpoints of every family ----------------------------------------------------------

class TinyTest : public testing::TestWithParam<std::tuple<std::string, Lane>> {
 protected:
  void SetUp() override {
    const auto& [name, lane] = GetParam();
    std::unique_ptr<Backend> backend = MakeBackendOf(lane);
    if (backend == nullptr) GTEST_SKIP() << WhyNoCuda(0);
    const std::string folder = "tests/golden/tiny/" + name;
    golden_ = ReadJson(folder + "/golden.json");
    prompt_ = golden_["prompt"].get<std::vector<int32_t>>();
    model_ = std::make_unique<Model>(Model::Load(folder));
    Weights weights = model_->weights();
    factors_ = Bf16RopeFactors(model_->config());
    if (name == "llama_bf16") {
      weights.rope_factors =
          Tensor(factors_.data(), DType::kF32, {static_cast<int64_t>(factors_.size())});
    }
    engine_ = std::make_unique<Engine>(std::move(backend), *model_, weights, 128);
    reference_ = std::make_unique<ReferenceModel>(model_->config(), weights);
  }
  const Lane& lane() const { return std::get<Lane>(GetParam()); }

  Json golden_;
  std::vector<int32_t> prompt_;
  std::unique_ptr<Model> model_;
  std::vector<float> factors_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<ReferenceModel> reference_;
};

TEST_P(TinyTest, AgreesWithTransformersAndTheReferenceModel) {
  const std::vector<float> logits =
      engine_->Forward({{prompt_, engine_->PagesOf(0), 0, prompt_.size()}});
  const std::vector<float> want =
      reference_->Forward(prompt_, static_cast<int64_t>(prompt_.size()));
  EXPECT_THAT(logits, testing::Pointwise(testing::FloatNear(lane().tolerance), want));
  const auto last = golden_["last_logits"].get<std::vector<float>>();
  const std::span<const float> row = engine_->Row(logits, prompt_.size() - 1);
  EXPECT_THAT(std::vector<float>(row.begin(), row.end()),
              testing::Pointwise(testing::FloatNear(lane().tolerance), last));
}

// bf16 is held against f32 by teacher forcing, below.
class TinyExactTest : public TinyTest {};

TEST_P(TinyExactTest, GeneratesTheGoldenTokensWithAndWithoutTheCache) {
  const auto want = golden_["greedy"].get<std::vector<int32_t>>();
  EXPECT_EQ(engine_->Greedy(prompt_, want.size(), /*use_cache=*/true), want);
  EXPECT_EQ(engine_->Greedy(prompt_, want.size(), /*use_cache=*/false), want);
}

// The batch must not change the answer: bit by bit.
TEST_P(TinyTest, ARowsBitsDoNotDependOnTheBatch) {
  const auto vocab_size = static_cast<int32_t>(model_->config().vocab_size);
  std::vector<std::vector<int32_t>> sequences;
  for (int s = 0; s < 4; ++s) {
    std::mt19937 random(s);
    std::vector<int32_t> tokens(21 + 7 * s);
    for (int32_t& token : tokens) token = static_cast<int32_t>(random() % vocab_size);
    sequences.push_back(tokens);
  }
  std::vector<std::vector<float>> alone;  // of each sequence, in one piece
  std::vector<std::vector<int32_t>> pages;
  for (int s = 0; s < 4; ++s) {
    pages.push_back(engine_->PagesOf(s));
    alone.push_back(engine_->Forward({{sequences[s], pages[s], 0, sequences[s].size()}}));
  }

  // The same in chunks, on other pages, next to one another, and at last token by token.
  for (auto& p : pages) std::reverse(p.begin(), p.end());
  std::vector<size_t> done(4, 0);
  for (const size_t chunk : {5, 9, 1, 3, 1, 1, 2, 13, 64}) {
    std::vector<Piece> pieces;
    for (int s = 0; s < 4; ++s) {
      const size_t end = std::min(done[s] + chunk + (chunk > 1 ? s : 0), sequences[s].size());
      if (end > done[s]) pieces.push_back({sequences[s], pages[s], done[s], end});
    }
    if (pieces.empty()) break;
    const std::vector<float> together = engine_->Forward(pieces);
    size_t row = 0;
    for (const Piece& piece : pieces) {
      const size_t s = &piece.pages - pages.data();
      for (size_t i = piece.begin; i < piece.end; ++i, ++row) {
        const std::span<const float> a = engine_->Row(together, row);
        const std::span<const float> b = engine_->Row(alone[s], i);
        ASSERT_TRUE(std::ranges::equal(a, b)) << "sequence " << s << ", token " << i;
      }
      done[s] = piece.end;
    }
  }
  for (int s = 0; s < 4; ++s) EXPECT_EQ(done[s], sequences[s].size());
}

// A sampled token is the one that the sampler chooses on the host, and its margin is that of the
// logits.
TEST_P(TinyTest, SamplesAsTheHostDoes) {
  const std::vector<int32_t> pages = engine_->PagesOf(0);
  Batch batch = BatchOf({{prompt_, pages, 0, prompt_.size()}});
  for (size_t i = 0; i < prompt_.size(); ++i) {
    SamplingParams params = {.temperature = i % 3 == 0 ? 0.0F : 0.9F, .seed = i};
    if (i % 4 == 1) params.top_k = 5;
    if (i % 4 == 2) params.top_p = 0.8F;
    if (i % 4 == 3) params.min_p = 0.05F;
    batch.sampling.push_back({.params = params, .step = i});
  }
  const std::vector<float> logits = engine_->Step(batch);
  std::vector<Sampled> sampled(prompt_.size());
  engine_->backend().TakeSampled(sampled);
  for (size_t i = 0; i < prompt_.size(); ++i) {
    const std::span<const float> row = engine_->Row(logits, i);
    EXPECT_EQ(sampled[i].token, Sample(row, batch.sampling[i].params, i)) << i;
    EXPECT_EQ(sampled[i].margin, TopMargin(row)) << i;
  }
}

// Steps that are given to the backend before the host knows what the one before has chosen are the
// steps that it would have given then. Steps of one size repeat: a GPU replays them.
TEST_P(TinyTest, AStepMayContinueAChoiceThatTheHostDoesNotKnow) {
  constexpr int32_t kSteps = 20;
  const std::vector<int32_t> pages = engine_->PagesOf(0);
  std::vector<int32_t> sequence = prompt_;
  std::vector<int32_t> want;
  for (int32_t i = 0; i < kSteps; ++i) {
    const std::vector<float> logits =
        engine_->Forward({{sequence, pages, i == 0 ? 0 : sequence.size() - 1, sequence.size()}});
    want.push_back(Sample(engine_->Row(logits, i == 0 ? sequence.size() - 1 : 0), {}, i));
    sequence.push_back(want.back());
  }

  const auto step = [&](const std::vector<int32_t>& tokens, size_t begin, int32_t i) {
    Batch batch = BatchOf({{tokens, pages, begin, tokens.size()}});
    batch.logit_rows = {batch.n_tokens() - 1};
    batch.sampling = {{.step = static_cast<uint64_t>(i)}};
    engine_->Step(batch);
  };
  std::vector<int32_t> unknown = prompt_;
  step(unknown, 0, 0);
  std::vector<int32_t> got;
  for (int32_t i = 1; i <= kSteps; ++i) {
    unknown.push_back(-1);
    if (i < kSteps) step(unknown, unknown.size() - 1, i);
    Sampled sampled;
    engine_->backend().TakeSampled({&sampled, 1});
    got.push_back(sampled.token);
  }
  EXPECT_EQ(got, want);
}

std::string NameOf(const testing::TestParamInfo<std::tuple<std::string, Lane>>& info) {
  const auto& [checkpoint, lane] = info.param;
  return checkpoint + "_" + lane.backend + "_" + lane.dtype;
}

const std::string kTinyCheckpoints[] = {
    "llama_bf16", "llama_tied", "llama_sharded", "llama3_scaled", "mistral", "qwen2", "qwen3"};
INSTANTIATE_TEST_SUITE_P(AllLanes, TinyTest,
                         testing::Combine(testing::ValuesIn(kTinyCheckpoints),
                                          testing::ValuesIn(kLanes)),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(ExactLanes, TinyExactTest,
                         testing::Combine(testing::ValuesIn(kTinyCheckpoints),
                                          testing::ValuesIn(kExactLanes)),
                         NameOf);

// ---- The default model -------------------------------------------------------------------------

constexpr const char* kDefaultModel = "../smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
const char* const kGoldenPrompts[] = {"sky",  "france", "story",   "count",
                                      "code", "turns",  "unicode", "long"};

// A golden prompt and its answer.
struct Golden {
  explicit Golden(const std::string& name)
      : json(ReadJson("tests/golden/smollm2.json")[name]),
        prompt(json["prompt"].get<std::vector<int32_t>>()),
        answer(json["greedy"].get<std::vector<int32_t>>()),
        sequence(prompt) {
    sequence.insert(sequence.end(), answer.begin(), answer.end());
  }

  Json json;
  std::vector<int32_t> prompt;
  std::vector<int32_t> answer;
  std::vector<int32_t> sequence;  // both
};

class DefaultModelTest : public testing::TestWithParam<Lane> {
 protected:
  void SetUp() override {
    // As a user has it: where a batch is large, the library's product.
    std::unique_ptr<Backend> backend = MakeBackendOf(GetParam(), /*deterministic=*/false);
    if (backend == nullptr) GTEST_SKIP() << WhyNoCuda(0);
    model_ = std::make_unique<Model>(Model::Load(kDefaultModel));
    engine_ = std::make_unique<Engine>(std::move(backend), *model_, model_->weights(), 640);
  }

  std::unique_ptr<Model> model_;
  std::unique_ptr<Engine> engine_;
};

class DefaultModelExactTest : public DefaultModelTest {};

TEST_P(DefaultModelExactTest, AgreesWithNumpy) {
  for (const char* name : kGoldenPrompts) {
    SCOPED_TRACE(name);
    const Golden golden(name);
    const std::vector<float> logits =
        engine_->Forward({{golden.sequence, engine_->PagesOf(1), 0, golden.sequence.size()}});
    for (size_t i = 0; i < golden.answer.size(); ++i) {
      const std::span<const float> scores = engine_->Row(logits, golden.prompt.size() - 1 + i);
      EXPECT_EQ(Sample(scores, {}, i), golden.answer[i]) << "step " << i;
      const Json& step = golden.json["steps"][i];
      EXPECT_NEAR(LogSumExp(scores), step["lse"].get<double>(), GetParam().tolerance);
      for (const Json& top : step["top"]) {
        EXPECT_NEAR(scores[top[0].get<int32_t>()], top[1].get<double>(), GetParam().tolerance);
      }
    }
  }
}

TEST_P(DefaultModelExactTest, GeneratesTheGoldenTokensWithTheCache) {
  for (const char* name : kGoldenPrompts) {
    const Golden golden(name);
    EXPECT_EQ(engine_->Greedy(golden.prompt, golden.answer.size(), /*use_cache=*/true),
              golden.answer)
        << name;
  }
}

// Shown the golden prompts and answers token by token, how far is this lane's idea of what comes
// next from the reference model's? KL = sum p (log p - log q), in nats.
TEST_P(DefaultModelTest, IsCloseToTheReferenceModelUnderTeacherForcing) {
  const ReferenceModel reference(model_->config(), model_->weights());
  double kl = 0;
  int64_t n_positions = 0;
  int64_t n_same = 0;
  for (const char* name : kGoldenPrompts) {
    const Golden golden(name);
    const auto n = static_cast<int64_t>(golden.sequence.size());
    const std::vector<float> want = reference.Forward(golden.sequence, n);
    const std::vector<float> got =
        engine_->Forward({{golden.sequence, engine_->PagesOf(1), 0, golden.sequence.size()}});
    for (int64_t i = 0; i < n; ++i) {
      const std::span<const float> p = engine_->Row(want, i);
      const std::span<const float> q = engine_->Row(got, i);
      const double log_p_sum = LogSumExp(p);
      const double log_q_sum = LogSumExp(q);
      for (size_t token = 0; token < p.size(); ++token) {
        const double log_p = p[token] - log_p_sum;
        kl += std::exp(log_p) * (log_p - (q[token] - log_q_sum));
      }
      n_same += Sample(p, {}, 0) == Sample(q, {}, 0) ? 1 : 0;
      ++n_positions;
    }
  }
  kl /= static_cast<double>(n_positions);
  const double agreement = static_cast<double>(n_same) / static_cast<double>(n_positions);
  std::printf("top-1 agreement %.4f, mean KL %.2e nats, %ld positions\n", agreement, kl,
              static_cast<long>(n_positions));
  EXPECT_GE(agreement, GetParam().exact() ? 1.0 : 0.98);
  EXPECT_LE(kl, GetParam().exact() ? 1e-8 : 2e-3);
}

std::string NameOfLane(const testing::TestParamInfo<Lane>& info) {
  return info.param.backend + "_" + info.param.dtype;
}
INSTANTIATE_TEST_SUITE_P(AllLanes, DefaultModelTest, testing::ValuesIn(kLanes), NameOfLane);
INSTANTIATE_TEST_SUITE_P(ExactLanes, DefaultModelExactTest, testing::ValuesIn(kExactLanes),
                         NameOfLane);

}  // namespace
}  // namespace aios
