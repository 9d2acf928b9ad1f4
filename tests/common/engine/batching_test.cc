// Random traces through the engine: whatever is beside a sequence, and whatever happens to it, its
// tokens are those of the loop that remembers nothing and computes it alone (recompute.h); on the
// CPU, and on CUDA with --deterministic, its scores are too, bit by bit. When a trace is through,
// every page is back.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "common/backend/backend.h"
#include "common/base/json.h"
#include "common/base/mapped_file.h"
#include "common/engine/engine.h"
#include "common/engine/generate.h"
#include "common/engine/recompute.h"
#include "common/mm/kv_storage.h"
#include "common/model/model.h"

namespace aios {
namespace {

using Tokens = std::vector<TokenId>;

constexpr int64_t kContext = 96;
constexpr int kTopLogits = 4;

// What all traces of a checkpoint have seen: a test of preemption that preempts nothing is none.
struct Seen {
  int64_t n_recomputed = 0;
  int64_t n_swapped = 0;
  int64_t n_found = 0;  // prompt tokens
  int64_t n_cancelled = 0;
  int64_t n_overdue = 0;
  int64_t n_mixed = 0;  // steps of several sequences, one of which brings several rows
};

class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}
  int64_t operator()(int64_t from, int64_t to) {  // both inclusive
    return from + static_cast<int64_t>(engine_() % static_cast<uint32_t>(to - from + 1));
  }
  bool Chance(int percent) { return (*this)(1, 100) <= percent; }
  template <typename T>
  T OneOf(std::initializer_list<T> values) {
    return values.begin()[(*this)(0, static_cast<int64_t>(values.size()) - 1)];
  }

 private:
  std::mt19937 engine_;
};

// A request, what comes of it alone, and what came of it.
struct Case {
  EngineRequest request;
  int64_t submit_at = 0;   // step
  int64_t cancel_at = -1;  // step; -1: never
  Generation want;
  std::optional<Outcome> got;
  Tokens streamed;
};

struct Lane {
  std::string name;
  BackendOptions backend;
  // Whether scores are the same bit by bit. Else tokens are compared with those of the CPU, and a
  // draw of chance can fall between two tokens' probabilities there and here: all are greedy.
  bool is_bitwise = true;
};

void PrintTo(const Lane& lane, std::ostream* out) { *out << lane.name; }

// One thread: so small a model has no work for two.
const Lane kLanes[] = {
    {"cpu_f32", {.backend = "cpu", .n_threads = 1}},
    {"cuda_f32", {.backend = "cuda", .dtype = "f32"}, /*is_bitwise=*/false},
    {"cuda_f32_deterministic", {.backend = "cuda", .dtype = "f32", .deterministic = true}},
    {"cuda_bf16_deterministic", {.backend = "cuda", .dtype = "bf16", .deterministic = true}}};

class BatchingTest : public testing::TestWithParam<std::tuple<std::string, Lane>> {
 protected:
  void SetUp() override {
    const auto& [checkpoint, lane] = GetParam();
    if (lane.backend.backend == "cuda" && !WhyNoCuda(0).empty()) GTEST_SKIP() << WhyNoCuda(0);
    const std::string folder = "tests/golden/tiny/" + checkpoint;
    model_ = std::make_unique<Model>(Model::Load(folder));
    prompt_ = ParseJson(ReadTextFile(folder + "/golden.json"), folder)["prompt"].get<Tokens>();
    oracle_backend_ = MakeBackend(lane.is_bitwise ? lane.backend : kLanes[0].backend);
    backend_ = MakeBackend(lane.backend);
    oracle_ = std::make_unique<Recompute>(*oracle_backend_, *model_, kContext);
  }

  // The clock of a trace: it ticks a millisecond a step, and jumps at times, back as well.
  double now_ = 0;

  EngineOptions RandomOptions(Random& random, int64_t bytes_per_token) {
    const int64_t page_size = random.OneOf<int64_t>({1, 4, 4, 16, 96});
    EngineOptions options = {.share_prefixes = random.Chance(70),
                             .overlap = random.Chance(50),
                             .clock = [this] { return now_; }};
    const int64_t pages_of_context = (kContext + page_size - 1) / page_size;
    // Hardly more than one sequence may need.
    const int64_t n_pages =
        pages_of_context + random(0, (random.Chance(70) ? 1 : 6) * pages_of_context / 2);
    options.kv = {.memory = n_pages * page_size * bytes_per_token,
                  .page_size = page_size,
                  .context = kContext};
    SchedulerOptions& scheduler = options.scheduler;
    scheduler.policy = random.OneOf(
        {Policy::kFirstCome, Policy::kPriority, Policy::kShortestRemaining, Policy::kFairShare});
    scheduler.max_seqs = random.OneOf<int64_t>({1, 3, 8, 16});
    scheduler.static_batches = random.Chance(15);
    scheduler.chunked_prefill = random.Chance(80);
    scheduler.max_step_tokens =
        scheduler.chunked_prefill ? scheduler.max_seqs + random(0, 512) : 16 * kContext;
    scheduler.prefill_chunk = random.OneOf<int64_t>({1, 2, 3, 7, 16, 64, 200, 512});
    scheduler.preemption = random.OneOf({Preemption::kRecompute, Preemption::kSwap});
    scheduler.patience = random.OneOf({0.0, 0.01, 1e9});
    // Room for all, or for some, so that who finds none is computed again.
    options.swap_bytes = random(0, 2) * kContext * bytes_per_token;
    return options;
  }

  Case RandomCase(Random& random, SequenceId id) {
    Case c;
    c.request = {.id = id,
                 .user = fmt::format("user {}", random(0, 2)),
                 .priority = static_cast<int>(random(0, 2))};
    GenerationRequest& request = c.request.generation;
    const int64_t n_prompt = random.Chance(70) ? random(1, 20) : random(1, 60);
    const int64_t n_shared = random.Chance(60) ? random(0, std::min<int64_t>(n_prompt, 40)) : 0;
    request.prompt_ids.assign(prompt_.begin(), prompt_.begin() + n_shared);
    while (static_cast<int64_t>(request.prompt_ids.size()) < n_prompt) {
      request.prompt_ids.push_back(static_cast<TokenId>(random(0, 511)));
    }
    request.max_new_tokens = static_cast<int>(random.Chance(5) ? 0 : random(1, 60));
    request.max_context = random.Chance(20) ? n_prompt + random(1, 10) : kContext;
    if (random.Chance(30) && lane().is_bitwise) {
      request.sampling = {.temperature = 0.8F, .top_k = 20, .seed = static_cast<uint64_t>(id)};
    }
    if (random.Chance(30)) request.top_logits = kTopLogits;
    c.submit_at = random(0, 20);
    if (random.Chance(15)) c.cancel_at = c.submit_at + random(0, 40);
    if (random.Chance(5)) c.request.timeout = 0.001 * static_cast<double>(random(0, 30));

    if (request.max_new_tokens > 0) {
      GenerationRequest alone = request;
      alone.top_logits = kTopLogits;
      c.want = Generate(std::ref(*oracle_), alone, nullptr, [](auto) {});
      if (random.Chance(15)) {  // one that ends itself
        const size_t i = random(0, static_cast<int64_t>(c.want.tokens.size()) - 1);
        request.stop_ids = {c.want.tokens[i]};
        const auto at = std::ranges::find(c.want.tokens, c.want.tokens[i]);
        c.want.tokens.erase(at + 1, c.want.tokens.end());
        c.want.finish_reason = FinishReason::kEndToken;
      }
    }
    return c;
  }

  // Whether it is what comes of it alone, or the beginning of that if it was ended early.
  void Check(const Case& c, Seen& seen) {
    SCOPED_TRACE(fmt::format("request {}: {} prompt tokens", c.request.id,
                             c.request.generation.prompt_ids.size()));
    ASSERT_TRUE(c.got.has_value());
    ASSERT_FALSE(c.got->failure);
    const Generation& got = c.got->generation;
    seen.n_found += got.n_cached;
    EXPECT_EQ(got.tokens, c.streamed);
    ASSERT_LE(got.tokens.size(), c.want.tokens.size());
    EXPECT_TRUE(std::equal(got.tokens.begin(), got.tokens.end(), c.want.tokens.begin()));
    if (got.finish_reason == FinishReason::kCancelled) {
      EXPECT_GE(c.cancel_at, 0);
      ++seen.n_cancelled;
    } else if (got.finish_reason == FinishReason::kDeadline) {
      EXPECT_LT(c.request.timeout, 1);
      ++seen.n_overdue;
    } else {
      EXPECT_EQ(got.tokens.size(), c.want.tokens.size());
      EXPECT_EQ(got.finish_reason, c.want.finish_reason);
    }
    if (!lane().is_bitwise || c.request.generation.top_logits == 0) return;
    ASSERT_EQ(got.steps.size(), got.tokens.size());
    for (size_t i = 0; i < got.steps.size(); ++i) {
      ASSERT_EQ(got.steps[i].top, c.want.steps[i].top) << i;
      ASSERT_EQ(got.steps[i].log_sum_exp, c.want.steps[i].log_sum_exp) << i;
    }
  }

  void RunTrace(uint32_t seed, Seen& seen) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Random random(seed);
    const int64_t bytes_per_token = KvStorage::BytesPerPage(*backend_, model_->config(), 1);
    now_ = 0;
    Engine engine(*backend_, *model_, RandomOptions(random, bytes_per_token));
    engine.Observe([&](const SchedulerEvent& event) {
      seen.n_recomputed += event.kind == SchedulerEvent::Kind::kPreempted ? 1 : 0;
      seen.n_swapped += event.kind == SchedulerEvent::Kind::kSwapped ? 1 : 0;
    });
    std::vector<Case> cases;
    const int64_t n_cases = random(1, 24);
    for (int64_t i = 0; i < n_cases; ++i) cases.push_back(RandomCase(random, i));

    bool more = true;
    size_t n_submitted = 0;
    for (int64_t step = 0; more || n_submitted < cases.size(); ++step) {
      ASSERT_LT(step, 20'000) << "it does not end";
      for (Case& c : cases) {
        if (c.submit_at == step) {
          EngineRequest request = c.request;
          request.on_token = [&c](TokenId token) { c.streamed.push_back(token); };
          request.on_done = [&c](Outcome outcome) {
            EXPECT_FALSE(c.got.has_value());
            c.got = std::move(outcome);
          };
          engine.Submit(std::move(request));
          ++n_submitted;
        }
        if (c.cancel_at == step && c.submit_at <= step) {
          EXPECT_EQ(engine.Cancel(c.request.id), n_submitted > 0 && !AlreadyDone(c));
        }
      }
      more = engine.Step();
      const StepStats& stats = engine.last_step();
      seen.n_mixed += stats.n_seqs > 1 && stats.n_rows > stats.n_seqs ? 1 : 0;
      now_ += random.Chance(2) ? static_cast<double>(random(-500, 500)) * 1e-3 : 1e-3;
    }
    for (const Case& c : cases) Check(c, seen);

    EXPECT_EQ(engine.scheduler().n_sequences(), 0);
    engine.cache().CheckIntegrity({});
    EXPECT_EQ(engine.cache().n_free() + engine.cache().n_evictable(), engine.cache().n_pages());
    EXPECT_EQ(engine.memory().swap().n_free(), engine.memory().swap().n_pages());
  }

  // Cancel says false for what is done; which on_done has told already, unless it was by Cancel.
  static bool AlreadyDone(const Case& c) {
    return c.got.has_value() && c.got->generation.finish_reason != FinishReason::kCancelled;
  }

  static const Lane& lane() { return std::get<Lane>(GetParam()); }

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Model> model_;
  Tokens prompt_;
  std::unique_ptr<Backend> oracle_backend_;
  std::unique_ptr<Recompute> oracle_;
};

TEST_P(BatchingTest, EverySequenceIsAsItIsAlone) {
  Seen seen;
  const auto first = static_cast<uint32_t>(std::hash<std::string>()(std::get<0>(GetParam())));
  for (uint32_t trace = 0; trace < 40 && !HasFailure(); ++trace) RunTrace(first + trace, seen);
  EXPECT_GT(seen.n_recomputed, 15);
  EXPECT_GT(seen.n_swapped, 3);
  EXPECT_GT(seen.n_found, 80);
  EXPECT_GT(seen.n_cancelled, 20);
  EXPECT_GT(seen.n_overdue, 5);
  EXPECT_GT(seen.n_mixed, 200);
}

std::string NameOf(const testing::TestParamInfo<std::tuple<std::string, Lane>>& info) {
  return std::get<0>(info.param) + "_" + std::get<1>(info.param).name;
}
INSTANTIATE_TEST_SUITE_P(Exact, BatchingTest,
                         testing::Combine(testing::Values("llama_tied", "llama3_scaled", "mistral",
                                                          "qwen2", "qwen3"),
                                          testing::ValuesIn(kLanes)),
                         NameOf);

}  // namespace
}  // namespace aios
