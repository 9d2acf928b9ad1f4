// The loop with a pretended model whose scores a script gives, and a pretended tokenizer whose text
// can be read off the ids.
#include "common/engine/generate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "common/base/error.h"

namespace aios {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;

// One token for each byte; the id is the byte. Token 0 is the end of a text.
class ByteTokenizer : public Tokenizer {
 public:
  static constexpr int kVocabSize = 256;

  ByteTokenizer() {
    for (int i = 1; i < kVocabSize; ++i) bytes_[i] = std::string(1, static_cast<char>(i));
    bytes_[0] = "<end>";
  }
  std::vector<TokenId> Encode(std::string_view, SpecialTokens) const override { return {}; }
  std::string_view TokenBytes(TokenId id) const override { return bytes_[id]; }
  bool IsSpecial(TokenId id) const override { return id == 0; }
  int vocab_size() const override { return kVocabSize; }
  std::optional<TokenId> FindSpecial(std::string_view) const override { return std::nullopt; }

 private:
  std::array<std::string, kVocabSize> bytes_;
};

// A model that says `script`, whatever the prompt, and has seen what it was called with.
class ScriptedModel {
 public:
  explicit ScriptedModel(std::string script) : script_(std::move(script)) {}

  std::vector<float> operator()(std::span<const TokenId> sequence) {
    seen.emplace_back(sequence.begin(), sequence.end());
    std::vector<float> logits(ByteTokenizer::kVocabSize, -10);
    logits[static_cast<uint8_t>(script_.at(seen.size() - 1))] = 10;
    return logits;
  }

  std::vector<std::vector<TokenId>> seen;

 private:
  std::string script_;
};

struct Result {
  Generation generation;
  std::vector<std::string> pieces;
  std::vector<std::vector<TokenId>> seen;
};

// Any request whose answer is `script` as far as it goes. The prompt is "?".
Result Say(const std::string& script, GenerationRequest request) {
  static const ByteTokenizer tokenizer;
  if (request.prompt_ids.empty()) request.prompt_ids = {'?'};
  if (request.max_context == 0) request.max_context = 1000;
  ScriptedModel model(script);
  Result result;
  result.generation = Generate(std::ref(model), request, &tokenizer,
                               [&](std::string_view piece) { result.pieces.emplace_back(piece); });
  result.seen = model.seen;
  // However it ends: what was streamed is the text, and each token was asked for once.
  std::string streamed;
  for (const std::string& piece : result.pieces) streamed += piece;
  EXPECT_EQ(streamed, result.generation.text);
  EXPECT_EQ(result.seen.size(), result.generation.tokens.size());
  return result;
}

// ---- What ends an answer -----------------------------------------------------------------------

TEST(Generate, FeedsTheModelItsOwnTokensOneMoreEachTime) {
  const Result result = Say("abc", {.prompt_ids = {7, 8}, .max_new_tokens = 3});
  EXPECT_THAT(result.seen,
              ElementsAre(ElementsAre(7, 8), ElementsAre(7, 8, 'a'), ElementsAre(7, 8, 'a', 'b')));
}

TEST(Generate, EndsAtTheTokenLimit) {
  const Result result = Say("abcdef", {.max_new_tokens = 4});
  EXPECT_EQ(result.generation.finish_reason, FinishReason::kMaxTokens);
  EXPECT_THAT(result.generation.tokens, ElementsAre('a', 'b', 'c', 'd'));
  EXPECT_EQ(result.generation.text, "abcd");
  EXPECT_THAT(result.pieces, ElementsAre("a", "b", "c", "d"));
}

TEST(Generate, EndsAtAnEndTokenWhichIsATokenButNotText) {
  const Result result = Say(std::string("ab\0cd", 5), {.stop_ids = {200, 0}});
  EXPECT_EQ(result.generation.finish_reason, FinishReason::kEndToken);
  EXPECT_THAT(result.generation.tokens, ElementsAre('a', 'b', 0));
  EXPECT_EQ(result.generation.text, "ab");
}

TEST(Generate, MayConsistOfTheEndTokenAlone) {
  const Result result = Say(std::string(1, '\0'), {.stop_ids = {0}});
  EXPECT_EQ(result.generation.finish_reason, FinishReason::kEndToken);
  EXPECT_THAT(result.generation.tokens, ElementsAre(0));
  EXPECT_THAT(result.pieces, IsEmpty());
}

TEST(Generate, GoesOnPastAnEndTokenThatNobodyAskedFor) {
  const Result result = Say(std::string("a\0b", 3), {.max_new_tokens = 3});
  EXPECT_EQ(result.generation.finish_reason, FinishReason::kMaxTokens);
  EXPECT_EQ(result.generation.text, "a<end>b");
}

TEST(Generate, EndsBeforeAStopStringThatCameInPieces) {
  const Result result = Say("One. ENTER. END Two.", {.stop_strings = {"END"}});
  EXPECT_EQ(result.generation.finish_reason, FinishReason::kStopString);
  EXPECT_EQ(result.generation.text, "One. ENTER. ");
  EXPECT_THAT(result.generation.tokens, SizeIs(std::string("One. ENTER. END").size()));
}

TEST(Generate, ShowsTheBeginningOfAStopStringThatNeverCame) {
  const Result result = Say("the EN", {.max_new_tokens = 6, .stop_strings = {"END"}});
  EXPECT_EQ(result.generation.finish_reason, FinishReason::kMaxTokens);
  EXPECT_EQ(result.generation.text, "the EN");
}

TEST(Generate, EndsWhenTheContextIsFull) {
  const Result result = Say("abcdef", {.prompt_ids = {7, 8}, .max_context = 5});
  EXPECT_EQ(result.generation.finish_reason, FinishReason::kContextFull);
  EXPECT_THAT(result.generation.tokens, ElementsAre('a', 'b', 'c'));
  EXPECT_EQ(result.generation.text, "abc");
}

// At the last token that is allowed, the reason that says more wins.
TEST(Generate, NamesTheEndOfTheAnswerBeforeTheLimit) {
  EXPECT_EQ(
      Say(std::string("ab\0", 3), {.max_new_tokens = 3, .stop_ids = {0}}).generation.finish_reason,
      FinishReason::kEndToken);
  EXPECT_EQ(Say("abc", {.max_new_tokens = 3, .stop_strings = {"bc"}}).generation.finish_reason,
            FinishReason::kStopString);
}

TEST(Generate, EndsAfterTheTokenAtHandWhenInterrupted) {
  const ByteTokenizer tokenizer;
  std::atomic<bool> interrupt = false;
  ScriptedModel model("abcdef");
  const auto interrupted_model = [&](std::span<const TokenId> sequence) {
    if (sequence.size() == 3) interrupt = true;  // while it computes the third token
    return model(sequence);
  };
  const Generation generation = Generate(
      interrupted_model, {.prompt_ids = {'?'}, .max_context = 1000, .interrupt = &interrupt},
      &tokenizer, [](std::string_view) {});
  EXPECT_EQ(generation.finish_reason, FinishReason::kInterrupted);
  EXPECT_THAT(generation.tokens, ElementsAre('a', 'b', 'c'));
  EXPECT_EQ(generation.text, "abc");
}

// ---- Text --------------------------------------------------------------------------------------

TEST(Generate, ShowsWholeCharactersOnly) {
  const Result result = Say("\xC3\xA9\xF0\x9F\x9A\x80!", {.max_new_tokens = 7});
  EXPECT_THAT(result.pieces, ElementsAre("é", "🚀", "!"));
}

TEST(Generate, ShowsACharacterThatWasCutOffAsAReplacement) {
  const Result result = Say("a\xF0\x9F", {.max_new_tokens = 3});
  EXPECT_THAT(result.pieces, ElementsAre("a", "\uFFFD"));
}

TEST(Generate, WorksWithoutATokenizer) {
  ScriptedModel model("abc");
  const Generation generation =
      Generate(std::ref(model), {.prompt_ids = {'?'}, .max_new_tokens = 3, .max_context = 1000},
               nullptr, [](std::string_view) { ADD_FAILURE() << "text out of nowhere"; });
  EXPECT_THAT(generation.tokens, ElementsAre('a', 'b', 'c'));
  EXPECT_EQ(generation.text, "");
}

TEST(Generate, KnowsTokensThatTheTokenizerDoesNot) {
  // A vocabulary that was padded to a round number, as Qwen's is.
  const ByteTokenizer tokenizer;
  const std::vector<TokenId> script = {'a', ByteTokenizer::kVocabSize, 'b'};
  size_t step = 0;
  const Generation generation = Generate(
      [&](std::span<const TokenId>) {
        std::vector<float> logits(ByteTokenizer::kVocabSize + 44);
        logits[script[step++]] = 1;
        return logits;
      },
      {.prompt_ids = {0}, .max_new_tokens = 3, .max_context = 9}, &tokenizer, [](auto) {});
  EXPECT_EQ(generation.tokens, script);
  EXPECT_EQ(generation.text, "ab");
}

// ---- Scores ------------------------------------------------------------------------------------

TEST(Generate, KeepsTheBestScoresOfEachStepAndTheirSum) {
  const Result result = Say("abc", {.max_new_tokens = 3, .top_logits = 2});
  ASSERT_THAT(result.generation.steps, SizeIs(3));
  for (size_t i = 0; i < 3; ++i) {
    const StepScores& step = result.generation.steps[i];
    EXPECT_THAT(step.top, ElementsAre(Pair(result.generation.tokens[i], 10.0F), Pair(0, -10.0F)));
    EXPECT_NEAR(step.log_sum_exp, std::log(std::exp(10) + 255 * std::exp(-10)), 1e-9);
  }
}

TEST(Generate, KeepsOneScoreOrAllIfAskedToAndNoneOtherwise) {
  EXPECT_THAT(Say("a", {.max_new_tokens = 1, .top_logits = 1}).generation.steps[0].top, SizeIs(1));
  EXPECT_THAT(Say("a", {.max_new_tokens = 1, .top_logits = 9999}).generation.steps[0].top,
              SizeIs(ByteTokenizer::kVocabSize));
  EXPECT_THAT(Say("a", {.max_new_tokens = 1}).generation.steps, IsEmpty());
}

TEST(Generate, ReportsTheNarrowestLeadOfABestScore) {
  const std::vector<std::vector<float>> script = {{0, 5, 1}, {3, 2.75, -1}, {0, 0.5, 9}};
  size_t step = 0;
  const Generation generation =
      Generate([&](std::span<const TokenId>) { return script[step++]; },
               {.prompt_ids = {0}, .max_new_tokens = 3, .max_context = 9}, nullptr, [](auto) {});
  EXPECT_THAT(generation.tokens, ElementsAre(1, 0, 2));
  EXPECT_EQ(generation.min_margin, 0.25F);
}

TEST(Generate, HasNoMarginWhereThereIsNoSecondToken) {
  const Generation generation =
      Generate([](std::span<const TokenId>) { return std::vector<float>{1}; },
               {.prompt_ids = {0}, .max_new_tokens = 2, .max_context = 9}, nullptr, [](auto) {});
  EXPECT_EQ(generation.min_margin, std::numeric_limits<float>::infinity());
}

// ---- Sampling and time -------------------------------------------------------------------------

TEST(Generate, DrawsEachTokenByTheSeedAndItsPlaceInTheAnswer) {
  const std::vector<float> logits(100, 0.0F);
  const auto generate = [&](const SamplingParams& sampling, std::vector<TokenId> prompt) {
    return Generate([&](std::span<const TokenId>) { return logits; },
                    {.prompt_ids = std::move(prompt),
                     .sampling = sampling,
                     .max_new_tokens = 20,
                     .max_context = 99},
                    nullptr, [](auto) {})
        .tokens;
  };
  const SamplingParams params = {.temperature = 1, .seed = 3};
  std::vector<TokenId> expected;
  for (uint64_t step = 0; step < 20; ++step) expected.push_back(Sample(logits, params, step));
  EXPECT_EQ(generate(params, {1}), expected);
  EXPECT_EQ(generate(params, {1, 2, 3}), expected);
  EXPECT_NE(generate({.temperature = 1, .seed = 4}, {1}), expected);
}

TEST(Generate, TimesTheFirstTokenApartFromTheOthers) {
  using std::chrono::milliseconds;
  const Generation generation = Generate(
      [](std::span<const TokenId> sequence) {
        std::this_thread::sleep_for(milliseconds(sequence.size() == 1 ? 60 : 10));
        return std::vector<float>{1, 0};
      },
      {.prompt_ids = {0}, .max_new_tokens = 4, .max_context = 9}, nullptr, [](auto) {});
  // A sleep may be longer than it should, not shorter.
  EXPECT_GE(generation.first_token_seconds, 0.06);
  EXPECT_GE(generation.decode_seconds, 0.03);
  EXPECT_DOUBLE_EQ(generation.seconds_per_token(), generation.decode_seconds / 3);
}

TEST(Generation, HasNoTimePerTokenWithOneTokenOrNone) {
  EXPECT_EQ(Generation().seconds_per_token(), 0);
  EXPECT_EQ((Generation{.tokens = {1}, .decode_seconds = 1e-6}).seconds_per_token(), 0);
}

// ---- Errors ------------------------------------------------------------------------------------

TEST(Generate, RefusesWhatItCannotDoBeforeItAsksTheModel) {
  const auto never = [](std::span<const TokenId>) -> std::vector<float> {
    ADD_FAILURE() << "the model was asked";
    return {0};
  };
  const ByteTokenizer tokenizer;
  const auto generate = [&](GenerationRequest request, const Tokenizer* with) {
    request.prompt_ids = {1};
    request.max_context = 9;
    Generate(never, request, with, [](auto) {});
  };
  EXPECT_THROW(generate({.stop_strings = {"x"}}, nullptr), InputError);
  EXPECT_THROW(generate({.stop_strings = {""}}, &tokenizer), InputError);
  EXPECT_THROW(generate({.sampling = {.temperature = -1}}, &tokenizer), InputError);
}

TEST(Generate, RefusesScoresThatAreNoNumbers) {
  const auto damaged = [](std::span<const TokenId>) {
    return std::vector<float>{0, std::numeric_limits<float>::quiet_NaN()};
  };
  EXPECT_THROW(Generate(damaged, {.prompt_ids = {0}, .max_context = 9}, nullptr, [](auto) {}),
               InputError);
}

TEST(FinishReason, HasANameOfItsOwn) {
  EXPECT_EQ(Name(FinishReason::kEndToken), "end_token");
  EXPECT_EQ(Name(FinishReason::kStopString), "stop_string");
  EXPECT_EQ(Name(FinishReason::kMaxTokens), "max_tokens");
  EXPECT_EQ(Name(FinishReason::kContextFull), "context_full");
  EXPECT_EQ(Name(FinishReason::kInterrupted), "interrupted");
}

}  // namespace
}  // namespace aios
