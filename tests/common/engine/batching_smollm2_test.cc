// The golden prompts (tests/golden/README.md), all at once through the default model: whatever the
// policy, the chunks, the pages and who is cancelled beside it, each gets the tokens that another
// program gave it alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/backend/backend.h"
#include "common/base/json.h"
#include "common/base/mapped_file.h"
#include "common/engine/engine.h"
#include "common/mm/kv_storage.h"
#include "common/model/model.h"

namespace aios {
namespace {

using Tokens = std::vector<TokenId>;

constexpr const char* kModel = "../smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
constexpr const char* kGolden = "tests/golden/smollm2.json";

struct Way {
  std::string name;
  SchedulerOptions scheduler;
  // Pages beyond those of the longest sequence; if few, the long prompt, which needs most of what
  // there is, is left out.
  int64_t n_pages_spare = 1'000;
  int64_t page_size = 16;
  bool swaps = false;
  bool overlap = false;
  bool cancels = false;  // every third prompt is sent twice, and the second one cancelled
};

const Way kWays[] = {
    {.name = "all at once", .scheduler = {.max_seqs = 16}},
    {.name = "in chunks of one token, overlapped",
     .scheduler = {.policy = Policy::kShortestRemaining, .max_seqs = 16, .prefill_chunk = 1},
     .overlap = true},
    {.name = "in chunks, few pages, computed again",
     .scheduler = {.policy = Policy::kFairShare, .max_seqs = 16, .prefill_chunk = 48},
     .n_pages_spare = 6},
    {.name = "in chunks, few pages, swapped, overlapped",
     .scheduler = {.policy = Policy::kPriority,
                   .max_seqs = 16,
                   .prefill_chunk = 512,
                   .preemption = Preemption::kSwap},
     .n_pages_spare = 6,
     .swaps = true,
     .overlap = true},
    {.name = "static batches of three, whole prompts",
     .scheduler = {.static_batches = true, .max_seqs = 3, .chunked_prefill = false}},
    {.name = "others are cancelled",
     .scheduler = {.max_seqs = 4, .prefill_chunk = 32},
     .page_size = 64,
     .overlap = true,
     .cancels = true}};

class DefaultModelBatchingTest : public testing::TestWithParam<std::string> {};

TEST_P(DefaultModelBatchingTest, GivesEachTheGoldenTokens) {
  if (GetParam() == "cuda" && !WhyNoCuda(0).empty()) GTEST_SKIP() << WhyNoCuda(0);
  const Json all = ParseJson(ReadTextFile(kGolden), kGolden);
  const Model model = Model::Load(kModel);
  const auto backend = MakeBackend({.backend = GetParam(), .dtype = "f32"});
  for (const Way& way : kWays) {
    SCOPED_TRACE(way.name);
    Json golden = all;
    if (way.n_pages_spare < 10) golden.erase("long");
    size_t longest = 0;
    for (const auto& [name, of] : golden.items()) {
      longest = std::max(longest, of["prompt"].size() + of["greedy"].size());
    }
    const auto context = static_cast<int64_t>(longest);
    const int64_t bytes_per_page = KvStorage::BytesPerPage(*backend, model.config(), way.page_size);
    Engine engine(
        *backend, model,
        {.kv = {.memory = (PagesFor(context, way.page_size) + way.n_pages_spare) * bytes_per_page,
                .page_size = way.page_size,
                .context = context},
         .scheduler = way.scheduler,
         .swap_bytes = way.swaps ? 100 * bytes_per_page : 0,
         .overlap = way.overlap});
    int64_t n_preempted = 0;
    engine.Observe([&](const SchedulerEvent& event) {
      n_preempted += event.kind == SchedulerEvent::Kind::kPreempted ||
                             event.kind == SchedulerEvent::Kind::kSwapped
                         ? 1
                         : 0;
    });
    std::map<std::string, Outcome> outcomes;
    SequenceId id = 0;
    std::vector<SequenceId> to_cancel;
    for (const auto& [name, of] : golden.items()) {
      EngineRequest request = {
          .id = id,
          .user = name.substr(0, 1),
          .priority = static_cast<int>(id % 3),
          .generation = {.prompt_ids = of["prompt"].get<Tokens>(),
                         .max_new_tokens = static_cast<int>(of["greedy"].size()),
                         .max_context = context},
          .on_done = [&, name = name](Outcome outcome) { outcomes[name] = std::move(outcome); }};
      if (way.cancels && id % 3 == 0) {
        EngineRequest other = request;
        other.id = 1000 + id;
        other.on_done = {};
        engine.Submit(std::move(other));
        to_cancel.push_back(1000 + id);
      }
      engine.Submit(std::move(request));
      ++id;
    }
    for (int64_t step = 0; engine.Step(); ++step) {
      if (step == 9) {
        for (const SequenceId other : to_cancel) EXPECT_TRUE(engine.Cancel(other));
      }
    }
    for (const auto& [name, of] : golden.items()) {
      EXPECT_EQ(outcomes[name].generation.tokens, of["greedy"].get<Tokens>()) << name;
    }
    EXPECT_EQ(n_preempted > 0, way.n_pages_spare < 10);
    engine.cache().CheckIntegrity({});
    EXPECT_EQ(engine.memory().n_free(), engine.cache().n_pages());
    EXPECT_EQ(engine.memory().swap().n_free(), engine.memory().swap().n_pages());
  }
}

INSTANTIATE_TEST_SUITE_P(ExactLanes, DefaultModelBatchingTest, testing::Values("cpu", "cuda"));

}  // namespace
}  // namespace aios
