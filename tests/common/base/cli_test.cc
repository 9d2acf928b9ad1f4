// The flags that all lessons share, and what a program's end looks like.
#include "common/base/cli.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "common/base/error.h"

namespace aios {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

LessonFlags Parse(std::vector<std::string> args) {
  std::string program = "lesson";
  std::vector<char*> argv = {program.data()};
  for (std::string& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);
  return ParseLessonFlags(static_cast<int>(argv.size()) - 1, argv.data(), "About.");
}

std::string ErrorOf(const std::vector<std::string>& args) {
  try {
    Parse(args);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

// ---- What parses -------------------------------------------------------------------------------

TEST(LessonFlags, HaveTheDefaultsThatTheHelpSays) {
  const LessonFlags flags = Parse({});
  EXPECT_EQ(flags.model, "");
  EXPECT_EQ(flags.random_weights, "");
  EXPECT_EQ(flags.backend, "auto");
  EXPECT_EQ(flags.dtype, "auto");
  EXPECT_EQ(flags.threads, 0);
  EXPECT_THAT(flags.prompts, IsEmpty());
  EXPECT_EQ(flags.prompts_file, "");
  EXPECT_THAT(flags.prompt_ids, IsEmpty());
  EXPECT_FALSE(flags.raw);
  EXPECT_EQ(flags.max_new_tokens, 64);
  EXPECT_FALSE(flags.ignore_eos);
  EXPECT_THAT(flags.stop, IsEmpty());
  EXPECT_EQ(flags.temperature, 0);
  EXPECT_EQ(flags.top_k, 0);
  EXPECT_EQ(flags.top_p, 1);
  EXPECT_EQ(flags.min_p, 0);
  EXPECT_EQ(flags.seed, 0);
  EXPECT_EQ(flags.top_logits, 0);
  EXPECT_EQ(flags.json, "");
}

TEST(LessonFlags, AreAllRead) {
  const LessonFlags flags = Parse({"--model",
                                   "m.gguf",
                                   "--backend",
                                   "cpu",
                                   "--dtype",
                                   "f32",
                                   "--threads",
                                   "3",
                                   "--raw",
                                   "--prompts",
                                   "p.json",
                                   "--max-new-tokens",
                                   "5",
                                   "--ignore-eos",
                                   "--temperature",
                                   "0.5",
                                   "--top-k",
                                   "40",
                                   "--top-p",
                                   "0.9",
                                   "--min-p",
                                   "0.05",
                                   "--seed",
                                   "18446744073709551615",
                                   "--top-logits",
                                   "2",
                                   "--json",
                                   "-"});
  EXPECT_EQ(flags.model, "m.gguf");
  EXPECT_EQ(flags.backend, "cpu");
  EXPECT_EQ(flags.dtype, "f32");
  EXPECT_EQ(flags.threads, 3);
  EXPECT_TRUE(flags.raw);
  EXPECT_EQ(flags.prompts_file, "p.json");
  EXPECT_EQ(flags.max_new_tokens, 5);
  EXPECT_TRUE(flags.ignore_eos);
  EXPECT_EQ(flags.temperature, 0.5F);
  EXPECT_EQ(flags.top_k, 40);
  EXPECT_EQ(flags.top_p, 0.9F);
  EXPECT_EQ(flags.min_p, 0.05F);
  EXPECT_EQ(flags.seed, UINT64_MAX);
  EXPECT_EQ(flags.top_logits, 2);
  EXPECT_EQ(flags.json, "-");
  EXPECT_EQ(Parse({"--random-weights", "llama-8b"}).random_weights, "llama-8b");
}

TEST(LessonFlags, TakeTextsAsTheyAre) {
  // Commas, spaces, empty texts, what looks like a flag: a prompt is a prompt.
  EXPECT_THAT(Parse({"--prompt", "one, two", "--prompt", "", "--prompt=--json"}).prompts,
              ElementsAre("one, two", "", "--json"));
  EXPECT_THAT(Parse({"--prompt", "[1,2]", "--prompt", "\xff"}).prompts,
              ElementsAre("[1,2]", "\xff"));
  EXPECT_THAT(Parse({"--stop", "\n\n", "--stop", "END, too"}).stop,
              ElementsAre("\n\n", "END, too"));
}

TEST(LessonFlags, TakeIdsWithCommas) {
  EXPECT_THAT(Parse({"--prompt-ids", "1,2,3"}).prompt_ids, ElementsAre(1, 2, 3));
  EXPECT_THAT(Parse({"--prompt-ids", "7"}).prompt_ids, ElementsAre(7));
  EXPECT_THAT(Parse({"--prompt-ids=-1,2147483647"}).prompt_ids, ElementsAre(-1, 2147483647));
}

TEST(LessonFlags, ChatIsTheOppositeOfRaw) {
  EXPECT_FALSE(Parse({"--chat"}).raw);
  EXPECT_TRUE(Parse({"--raw"}).raw);
}

// ---- What does not -----------------------------------------------------------------------------

TEST(LessonFlags, ThatDoNotExistAreErrorsThatNameThem) {
  EXPECT_THAT(ErrorOf({"--nonsense"}), AllOf(HasSubstr("--nonsense"), HasSubstr("--help")));
  EXPECT_THAT(ErrorOf({"stray"}), HasSubstr("stray"));
  EXPECT_EQ(ErrorOf({"--promt", "Why is the sky blue?"}),
            "'--promt' is no flag of this program (see --help)");
}

TEST(LessonFlags, ThatDoNotParseAreErrorsThatNameThem) {
  const std::vector<std::vector<std::string>> bad = {{"--threads", "0"},
                                                     {"--threads", "1025"},
                                                     {"--threads", "-1"},
                                                     {"--threads", "two"},
                                                     {"--max-new-tokens", "0"},
                                                     {"--max-new-tokens", "-5"},
                                                     {"--max-new-tokens", "1.5"},
                                                     {"--max-new-tokens", "99999999999999999999"},
                                                     {"--temperature", "hot"},
                                                     {"--temperature", ""},
                                                     {"--top-p", ""},
                                                     {"--min-p", ""},
                                                     {"--top-k", ""},
                                                     {"--top-k", "9999999999"},
                                                     {"--top-k", "x"},
                                                     {"--top-p", "half"},
                                                     {"--min-p", "1,0"},
                                                     {"--seed", "-1"},
                                                     {"--seed", "1.5"},
                                                     {"--seed", "18446744073709551616"},
                                                     {"--seed", ""},
                                                     {"--top-logits", "-1"},
                                                     {"--backend", "tpu"},
                                                     {"--dtype", "f64"},
                                                     {"--prompt-ids", "1,x"},
                                                     {"--prompt-ids", "2147483648"},
                                                     {"--prompt-ids", "99999999999999999999"},
                                                     {"--prompt-ids", "1.5"},
                                                     {"--prompt-ids", ""},
                                                     {"--prompt-ids", ","},
                                                     {"--model", ""},
                                                     {"--random-weights", ""},
                                                     {"--prompts", ""},
                                                     {"--json", ""},
                                                     {"--model"},
                                                     {"--prompt"},
                                                     {"--json"}};
  for (const std::vector<std::string>& args : bad) {
    EXPECT_THAT(ErrorOf(args), HasSubstr(args[0])) << testing::PrintToString(args);
  }
}

TEST(LessonFlags, OfTwoModelsAreAnError) {
  EXPECT_THAT(ErrorOf({"--model", "m", "--random-weights", "llama-8b"}),
              AllOf(HasSubstr("--model"), HasSubstr("--random-weights")));
}

TEST(LessonFlags, HelpIsPrintedAndIsNoError) {
  EXPECT_EXIT(Parse({"--help"}), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(Parse({"--nonsense", "-h"}), testing::ExitedWithCode(0), "");
}

// ---- RunMain -----------------------------------------------------------------------------------

// What a body that throws prints, and how it exits.
void Exit(const std::function<int()>& body) { std::exit(RunMain(body)); }

TEST(RunMain, ExitsWithWhatTheBodyReturns) {
  EXPECT_EQ(RunMain([] { return 0; }), 0);
  EXPECT_EQ(RunMain([] { return 7; }), 7);
}

TEST(RunMain, TurnsErrorsIntoSentences) {
  EXPECT_EXIT(Exit([]() -> int { throw InputError("x: no such {}", "file"); }),
              testing::ExitedWithCode(2), "^error: x: no such file\n$");
  EXPECT_EXIT(Exit([]() -> int { throw UnsupportedError("no"); }), testing::ExitedWithCode(2),
              "^error: no\n$");
  EXPECT_EXIT(Exit([]() -> int { throw std::bad_alloc(); }), testing::ExitedWithCode(1),
              "^error: out of memory\n$");
  EXPECT_EXIT(Exit([]() -> int { throw std::logic_error("oops"); }), testing::ExitedWithCode(1),
              "^internal error: oops\n$");
}

// A name from a flag or a file can hold anything; a terminal must not obey it.
TEST(RunMain, KeepsASentenceOnOneLine) {
  EXPECT_EXIT(Exit([]() -> int { throw InputError("a\nb\x1b[31m\xff"); }),
              testing::ExitedWithCode(2), "^error: a.x0ab.x1b.31m.xff\n$");
}

TEST(RunMain, GoesBackToTheFolderOfTheShell) {
  EXPECT_EXIT(
      {
        ::setenv("BUILD_WORKING_DIRECTORY", "/", 1);
        Exit([] { return std::filesystem::current_path() == "/" ? 3 : 4; });
      },
      testing::ExitedWithCode(3), "");
}

TEST(Runfile, ThatIsNotThereIsAnErrorThatNamesIt) {
  try {
    Runfile("lesson", "smollm2/nothing.gguf");
    FAIL() << "found";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("smollm2/nothing.gguf"));
  }
}

TEST(InterruptFlag, IsRaisedByTheFirstCtrlCAndTheSecondEndsTheProgram) {
  EXPECT_EXIT(
      {
        const std::atomic<bool>& flag = InterruptFlag();
        if (flag) std::exit(1);
        std::raise(SIGINT);
        if (!flag) std::exit(2);
        std::raise(SIGINT);
        std::exit(3);
      },
      testing::KilledBySignal(SIGINT), "");
}

}  // namespace
}  // namespace aios
