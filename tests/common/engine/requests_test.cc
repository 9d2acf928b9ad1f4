// What can be wrong with a request, and with what it is told to call: it alone has the trouble.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "common/backend/backend.h"
#include "common/base/error.h"
#include "common/base/json.h"
#include "common/base/mapped_file.h"
#include "common/base/memory.h"
#include "common/engine/engine.h"
#include "common/model/model.h"
#include "tests/common/engine/damaged_checkpoint.h"

namespace aios {
namespace {

using testing::HasSubstr;
using Tokens = std::vector<TokenId>;

constexpr const char* kFolder = "tests/golden/tiny/llama3_scaled";

// AddressSanitizer keeps freed memory for a while, to find who still uses it: there the most that a
// process held says nothing.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kKeepsWhatIsFreed = true;
#else
constexpr bool kKeepsWhatIsFreed = false;
#endif

class RequestsTest : public testing::Test {
 protected:
  RequestsTest() {
    const Json golden = ParseJson(ReadTextFile(std::string(kFolder) + "/golden.json"), kFolder);
    prompt_ = golden["prompt"].get<Tokens>();
    greedy_ = golden["greedy"].get<Tokens>();
    backend_ = MakeBackend({.backend = "cpu", .n_threads = 1});
    model_ = std::make_unique<Model>(Model::Load(kFolder));
    MakeEngine({});
  }

  void MakeEngine(EngineOptions options) {
    options.kv = {.page_size = 16, .context = 128};
    options.scheduler.max_seqs = 8;
    options.clock = [this] { return now_; };
    engine_ = std::make_unique<Engine>(*backend_, *model_, options);
  }

  // The golden request, whose outcome will be in outcomes_[id].
  EngineRequest Golden(SequenceId id) {
    return {.id = id,
            .generation = {.prompt_ids = prompt_,
                           .max_new_tokens = static_cast<int>(greedy_.size()),
                           .max_context = 128},
            .on_done = [this, id](Outcome outcome) {
              EXPECT_FALSE(outcomes_.contains(id)) << "told twice";
              outcomes_[id] = std::move(outcome);
            }};
  }
  void Finish() {
    while (engine_->Step()) ASSERT_LT(engine_->all_steps().n_steps, 10'000);
    EXPECT_EQ(engine_->scheduler().n_sequences(), 0);
    engine_->cache().CheckIntegrity({});
  }
  const Generation& Of(SequenceId id) { return outcomes_.at(id).generation; }
  std::string FailureOf(SequenceId id) {
    const Outcome& outcome = outcomes_.at(id);
    EXPECT_EQ(outcome.generation.finish_reason, FinishReason::kFailed);
    try {
      std::rethrow_exception(outcome.failure);
    } catch (const std::exception& error) {
      return error.what();
    }
  }
  // Why a request is refused. Whoever is there already notices nothing.
  std::string Refusal(EngineRequest request, std::optional<Refused::Why> why = std::nullopt) {
    const int64_t n_before = engine_->scheduler().n_sequences();
    try {
      engine_->Submit(std::move(request));
    } catch (const Refused& refused) {
      EXPECT_EQ(refused.why(), why);
      EXPECT_EQ(engine_->scheduler().n_sequences(), n_before);
      return refused.what();
    } catch (const InputError& error) {
      EXPECT_FALSE(why.has_value());
      EXPECT_EQ(engine_->scheduler().n_sequences(), n_before);
      return error.what();
    }
    return "taken";
  }

  double now_ = 0;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Engine> engine_;
  Tokens prompt_;  // 40
  Tokens greedy_;  // 32
  std::map<SequenceId, Outcome> outcomes_;
};

TEST_F(RequestsTest, RefusesWhatIsOutOfItsRangeAndTheOthersGoOn) {
  engine_->Submit(Golden(1));
  for (int step = 0; step < 5; ++step) engine_->Step();

  EngineRequest request = Golden(2);
  request.generation.prompt_ids.assign(128, 7);
  EXPECT_THAT(Refusal(request, Refused::Why::kTooLong),
              HasSubstr("a prompt of 128 tokens does not fit a context of 128"));
  request.generation.prompt_ids.clear();
  EXPECT_THAT(Refusal(request), HasSubstr("a prompt of no tokens"));
  request.generation.prompt_ids = {3, 512};
  EXPECT_THAT(Refusal(request), HasSubstr("the prompt has token 512, and the model has tokens 0"));
  request.generation.prompt_ids = {-1};
  EXPECT_THAT(Refusal(request), HasSubstr("the prompt has token -1"));
  request = Golden(2);
  request.generation.max_new_tokens = -1;
  EXPECT_THAT(Refusal(request), HasSubstr("an answer of -1 tokens"));
  request = Golden(2);
  request.generation.sampling.top_p = std::nanf("");
  EXPECT_NE(Refusal(request), "taken");
  request = Golden(2);
  request.generation.stop_strings = {"x"};  // without a tokenizer
  EXPECT_NE(Refusal(request), "taken");
  request = Golden(2);
  request.timeout = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(Refusal(request), HasSubstr("timeout"));
  EXPECT_THAT(Refusal(Golden(1), Refused::Why::kDuplicate), HasSubstr("request 1"));

  Finish();
  EXPECT_EQ(outcomes_.size(), 1);
  EXPECT_EQ(Of(1).tokens, greedy_);
  EXPECT_EQ(Refusal(Golden(1)), "taken");  // it is done: the number is free again
}

TEST_F(RequestsTest, RefusesWhatComesAfterTheQueueIsFull) {
  MakeEngine({.scheduler = {.max_waiting = 100}});
  const int64_t memory_before = PeakMemory();
  int64_t n_taken = 0;
  int64_t n_refused = 0;
  for (SequenceId id = 0; id < 100'000; ++id) {
    EngineRequest request = Golden(id);
    request.generation.max_new_tokens = 1;
    const std::string said =
        n_taken < 100 ? Refusal(request) : Refusal(request, Refused::Why::kBusy);
    ++(said == "taken" ? n_taken : n_refused);
    if (said != "taken") {
      ASSERT_THAT(said, HasSubstr("100"));
    }
  }
  EXPECT_EQ(n_taken, 100);
  EXPECT_EQ(n_refused, 99'900);
  if (!kKeepsWhatIsFreed) {
    EXPECT_LT(PeakMemory() - memory_before, int64_t{50} << 20);
  }
  Finish();
  ASSERT_EQ(outcomes_.size(), 100);
  for (const auto& [id, outcome] : outcomes_) {
    EXPECT_EQ(outcome.generation.tokens, Tokens{greedy_[0]});
  }
}

TEST_F(RequestsTest, CancelsInEveryStateAndOnlyOnce) {
  engine_->Submit(Golden(1));
  EXPECT_TRUE(engine_->Cancel(1));  // waiting
  EXPECT_FALSE(engine_->Cancel(1));
  EXPECT_EQ(Of(1).finish_reason, FinishReason::kCancelled);
  EXPECT_TRUE(Of(1).tokens.empty());
  EXPECT_FALSE(engine_->Cancel(99));

  MakeEngine({.scheduler = {.prefill_chunk = 10}});
  engine_->Submit(Golden(2));
  engine_->Submit(Golden(3));
  engine_->Step();
  EXPECT_TRUE(engine_->Cancel(2));  // a quarter of its prompt is computed
  EXPECT_EQ(engine_->cache().n_free() + engine_->cache().n_evictable(),
            engine_->cache().n_pages());  // at once, and 3 has none yet
  for (int step = 0; step < 10; ++step) engine_->Step();
  EXPECT_TRUE(engine_->Cancel(3));  // running
  EXPECT_EQ(Of(3).finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(Of(3).tokens, Tokens(greedy_.begin(), greedy_.begin() + 7));
  engine_->Submit(Golden(4));
  Finish();
  EXPECT_FALSE(engine_->Cancel(4));  // finished
  EXPECT_EQ(Of(4).tokens, greedy_);
}

TEST_F(RequestsTest, ACallbackThatThrowsFailsItsRequestAlone) {
  for (const bool overlap : {false, true}) {
    outcomes_.clear();
    MakeEngine({.overlap = overlap});
    for (SequenceId id = 1; id <= 4; ++id) {
      EngineRequest request = Golden(id);
      if (id == 2) {
        request.on_token = [n = 0](TokenId) mutable {
          if (++n == 5) throw std::runtime_error("closed");
        };
      }
      if (id == 3) {
        request.on_done = [](const Outcome&) { throw std::runtime_error("gone"); };
      }
      engine_->Submit(std::move(request));
    }
    Finish();
    EXPECT_EQ(FailureOf(2), "closed");
    EXPECT_EQ(Of(2).tokens, Tokens(greedy_.begin(), greedy_.begin() + 4));
    EXPECT_EQ(Of(1).tokens, greedy_);
    EXPECT_EQ(Of(4).tokens, greedy_);
  }
}

TEST_F(RequestsTest, CallbacksMaySubmitAndCancel) {
  for (const bool overlap : {false, true}) {
    outcomes_.clear();
    MakeEngine({.overlap = overlap});
    engine_->Submit(Golden(2));
    EngineRequest first = Golden(1);
    first.on_token = [&, n = 0](TokenId) mutable {
      if (++n == 3) {
        EXPECT_TRUE(engine_->Cancel(1));
        EXPECT_TRUE(engine_->Cancel(2));
        engine_->Submit(Golden(3));
      }
    };
    engine_->Submit(std::move(first));
    Finish();
    EXPECT_EQ(Of(1).finish_reason, FinishReason::kCancelled);
    EXPECT_EQ(Of(1).tokens, Tokens(greedy_.begin(), greedy_.begin() + 3));
    EXPECT_EQ(Of(2).finish_reason, FinishReason::kCancelled);
    EXPECT_EQ(Of(3).tokens, greedy_);
  }
}

TEST_F(RequestsTest, AnAnswerMayHaveNoTokens) {
  EngineRequest none = Golden(1);
  none.generation.max_new_tokens = 0;
  engine_->Submit(std::move(none));
  EXPECT_THAT(Refusal(Golden(1), Refused::Why::kDuplicate), HasSubstr("not done yet"));
  engine_->Submit(Golden(2));
  Finish();
  EXPECT_TRUE(Of(1).tokens.empty());
  EXPECT_EQ(Of(1).finish_reason, FinishReason::kMaxTokens);
  EXPECT_EQ(Of(2).tokens, greedy_);
}

TEST_F(RequestsTest, ScoresThatAreNoNumbersFailOneSequence) {
  TokenId damaged = 3;
  while (std::ranges::count(prompt_, damaged) + std::ranges::count(greedy_, damaged) > 0) {
    ++damaged;
  }
  model_ = std::make_unique<Model>(Model::Load(DamagedCheckpoint(kFolder, damaged)));
  for (const bool overlap : {false, true}) {
    outcomes_.clear();
    MakeEngine({.overlap = overlap});
    for (SequenceId id = 1; id <= 5; ++id) {
      EngineRequest request = Golden(id);
      if (id == 3) request.generation.prompt_ids[17] = damaged;
      engine_->Submit(std::move(request));
    }
    Finish();
    EXPECT_THAT(FailureOf(3), HasSubstr("its weights are damaged"));
    for (const SequenceId id : {1, 2, 4, 5}) EXPECT_EQ(Of(id).tokens, greedy_);
  }
}

TEST_F(RequestsTest, AClockThatJumpsLosesNobodyWithoutADeadline) {
  for (SequenceId id = 1; id <= 3; ++id) {
    EngineRequest request = Golden(id);
    if (id == 2) request.timeout = 100;
    engine_->Submit(std::move(request));
  }
  now_ = 50;
  engine_->Step();
  now_ = -1e9;
  for (int step = 0; step < 5; ++step) engine_->Step();
  EXPECT_EQ(outcomes_.size(), 0);
  now_ = 1e12;
  engine_->Step();
  ASSERT_TRUE(outcomes_.contains(2));
  EXPECT_EQ(Of(2).finish_reason, FinishReason::kDeadline);
  EXPECT_EQ(Of(2).tokens, Tokens(greedy_.begin(), greedy_.begin() + 6));
  now_ = 0;
  Finish();
  EXPECT_EQ(Of(1).tokens, greedy_);
  EXPECT_EQ(Of(3).tokens, greedy_);
}

// The device: what it throws reaches those who wait, and whoever runs the steps.
TEST_F(RequestsTest, AFailingDeviceIsToldToAll) {
  engine_->Submit(Golden(1));
  engine_->Submit(Golden(2));
  engine_->Step();
  engine_->Watch([](const PageTable&) { throw std::runtime_error("the device has failed"); });
  EXPECT_THROW(engine_->Step(), std::runtime_error);
  EXPECT_EQ(FailureOf(1), "the device has failed");
  EXPECT_EQ(FailureOf(2), "the device has failed");
}

}  // namespace
}  // namespace aios
