// Many threads ask one engine: every answer is the one it would be alone. Run with --config=tsan.
#include "common/engine/engine_thread.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/backend/backend.h"
#include "common/base/json.h"
#include "common/base/mapped_file.h"
#include "common/model/model.h"

namespace aios {
namespace {

using Tokens = std::vector<TokenId>;

constexpr const char* kFolder = "tests/golden/tiny/qwen2";

class EngineThreadTest : public testing::Test {
 protected:
  EngineThreadTest() {
    const Json golden = ParseJson(ReadTextFile(std::string(kFolder) + "/golden.json"), kFolder);
    prompt_ = golden["prompt"].get<Tokens>();
    greedy_ = golden["greedy"].get<Tokens>();
    backend_ = MakeBackend({.backend = "cpu", .n_threads = 1});
    model_ = std::make_unique<Model>(Model::Load(kFolder));
    engine_ = std::make_unique<Engine>(
        *backend_, *model_,
        EngineOptions{.kv = {.page_size = 16, .context = 128},
                      .scheduler = {.max_seqs = 8, .prefill_chunk = 16, .max_waiting = 64}});
  }

  EngineRequest Golden(SequenceId id) const {
    return {.id = id,
            .generation = {.prompt_ids = prompt_,
                           .max_new_tokens = static_cast<int>(greedy_.size()),
                           .max_context = 128}};
  }

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Engine> engine_;
  Tokens prompt_;
  Tokens greedy_;
};

TEST_F(EngineThreadTest, SixteenThreadsSubmitAndCancel) {
  EngineThread thread(*engine_);
  std::atomic<int> n_whole = 0;
  std::atomic<int> n_cancelled = 0;
  std::atomic<int> n_wrong = 0;
  const auto ask = [&](int self) {
    for (int i = 0; i < 12; ++i) {
      const auto id = static_cast<SequenceId>(self * 1000 + i);
      const auto stream = thread.Submit(Golden(id));
      Tokens tokens;
      bool cancelled = false;
      while (const auto piece = stream->Next()) {
        tokens.insert(tokens.end(), piece->tokens.begin(), piece->tokens.end());
        // Every third one, when some of it is there; by another thread's hand as well.
        if (i % 3 == 1 && !cancelled) {
          thread.Cancel(id);
          thread.Cancel(static_cast<SequenceId>((self + 1) % 16 * 1000 + i));
          cancelled = true;
        }
      }
      const Outcome& outcome = stream->Wait();
      const bool is_whole = outcome.generation.finish_reason == FinishReason::kMaxTokens;
      const bool is_cancelled = outcome.generation.finish_reason == FinishReason::kCancelled;
      const bool is_right =
          outcome.failure == nullptr && tokens == outcome.generation.tokens &&
          std::equal(tokens.begin(), tokens.end(), greedy_.begin()) &&
          (is_whole ? tokens.size() == greedy_.size() : is_cancelled && i % 3 == 1);
      ++(is_right ? (is_whole ? n_whole : n_cancelled) : n_wrong);
      if (thread.Cancel(id)) ++n_wrong;  // it is done
    }
  };
  std::vector<std::thread> threads;
  for (int self = 0; self < 16; ++self) threads.emplace_back(ask, self);
  for (std::thread& asking : threads) asking.join();
  EXPECT_EQ(n_wrong, 0);
  EXPECT_GE(n_whole, 16 * 8);
  EXPECT_GT(n_cancelled, 0);
  EXPECT_EQ(n_whole + n_cancelled, 16 * 12);
  EXPECT_EQ(thread.n_open(), 0);
}

TEST_F(EngineThreadTest, RefusesAtOnceWhatItWillNotTake) {
  EngineThread thread(*engine_);
  const auto why = [&](EngineRequest request) {
    try {
      thread.Submit(std::move(request));
    } catch (const Refused& refused) {
      return refused.why();
    }
    ADD_FAILURE() << "taken";
    return Refused::Why::kBusy;
  };
  EngineRequest too_long = Golden(1);
  too_long.generation.prompt_ids.assign(128, 1);
  EXPECT_EQ(why(too_long), Refused::Why::kTooLong);

  // The engine's thread is held up, so that nothing ends meanwhile.
  std::atomic<bool> go = false;
  EngineRequest holds = Golden(1);
  holds.on_token = [&](TokenId) { go.wait(false); };
  std::vector<std::shared_ptr<AnswerStream>> streams = {thread.Submit(std::move(holds))};
  EXPECT_EQ(why(Golden(1)), Refused::Why::kDuplicate);
  for (SequenceId id = 2; id <= 64; ++id) streams.push_back(thread.Submit(Golden(id)));
  for (SequenceId id = 100; id < 100'100; ++id) ASSERT_EQ(why(Golden(id)), Refused::Why::kBusy);
  go = true;
  go.notify_all();
  for (const auto& stream : streams) EXPECT_EQ(stream->Wait().generation.tokens, greedy_);
}

// Nobody reads it: the others go on, and what came is still there afterwards.
TEST_F(EngineThreadTest, WhoDoesNotReadHoldsNobodyUp) {
  EngineThread thread(*engine_);
  const auto unread = thread.Submit(Golden(1));
  const auto read = thread.Submit(Golden(2));
  EXPECT_EQ(read->Wait().generation.tokens, greedy_);
  while (!unread->is_done()) std::this_thread::yield();
  Tokens tokens;
  while (const auto piece = unread->Next()) {
    tokens.insert(tokens.end(), piece->tokens.begin(), piece->tokens.end());
  }
  EXPECT_EQ(tokens, greedy_);
}

TEST_F(EngineThreadTest, EndsWhatIsNotDoneWhenItEnds) {
  std::vector<std::shared_ptr<AnswerStream>> streams;
  {
    EngineThread thread(*engine_);
    for (SequenceId id = 0; id < 40; ++id) streams.push_back(thread.Submit(Golden(id)));
  }
  int n_cancelled = 0;
  for (const auto& stream : streams) {
    const Generation& generation = stream->Wait().generation;
    const bool is_cancelled = generation.finish_reason == FinishReason::kCancelled;
    EXPECT_TRUE(is_cancelled || generation.tokens == greedy_);
    n_cancelled += is_cancelled ? 1 : 0;
  }
  EXPECT_GT(n_cancelled, 0);  // rather than that all are waited for
  EXPECT_EQ(engine_->scheduler().n_sequences(), 0);
  engine_->cache().CheckIntegrity({});
}

TEST_F(EngineThreadTest, AFailingDeviceIsToldToAll) {
  EngineThread thread(*engine_);
  engine_->Watch([](const PageTable& table) {
    if (table.n_tokens() > 50) throw std::runtime_error("the device has failed");
  });
  const auto stream = thread.Submit(Golden(1));
  EXPECT_THROW(std::rethrow_exception(stream->Wait().failure), std::runtime_error);
  // The thread notes the failure when it has told those who wait.
  const auto is_refused = [&] {
    try {
      return thread.Submit(Golden(2))->Wait().failure != nullptr;
    } catch (const std::runtime_error&) {
      return true;
    }
  };
  EXPECT_TRUE(is_refused());
}

}  // namespace
}  // namespace aios
