#include "common/mm/kv_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "common/backend/cpu_backend.h"
#include "common/base/error.h"
#include "tests/common/mm/mm_testing.h"

namespace aios {
namespace {

using testing::AllOf;
using testing::HasSubstr;

template <typename Work>
std::string ErrorOf(const Work& work) {
  try {
    work();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

// ---- Amounts of memory -------------------------------------------------------------------------

TEST(ParseBytes, ReadsWhatPeopleWrite) {
  const std::pair<std::string, int64_t> cases[] = {{"1500000", 1500000},
                                                   {"1", 1},
                                                   {"7B", 7},
                                                   {"512MB", 512'000'000},
                                                   {"1.5GB", 1'500'000'000},
                                                   {"1.001kB", 1001},
                                                   {"2GiB", int64_t{2} << 30},
                                                   {"0.5MiB", 1 << 19},
                                                   {"64KiB", 1 << 16},
                                                   {"1e3", 1000},
                                                   {"4000000000GB", 4'000'000'000'000'000'000}};
  for (const auto& [text, want] : cases) EXPECT_EQ(ParseBytes(text, "--kv-memory"), want) << text;
}

TEST(ParseBytes, RefusesEverythingElseInASentence) {
  const std::string hostile[] = {"",
                                 "-1",
                                 "1e400",
                                 "1e-400",
                                 "12XB",
                                 "nan",
                                 "inf",
                                 " 1",
                                 "1GB ",
                                 "1 GB",
                                 "0",
                                 "0GB",
                                 "0.5B",
                                 "0.1",
                                 "-0",
                                 "+1",
                                 "1e18GB",
                                 "GB",
                                 "0x10",
                                 "1,5GB",
                                 "1gb",
                                 "1e",
                                 "1MBMB",
                                 std::string("1\0", 2),
                                 "99999999999999999999",
                                 "1.5.5",
                                 "4611686018427387904"};
  for (const std::string& text : hostile) {
    EXPECT_THAT(ErrorOf([&] { ParseBytes(text, "--kv-memory"); }),
                AllOf(HasSubstr("--kv-memory: "), HasSubstr(Quoted(text)),
                      HasSubstr("is not an amount of memory"), HasSubstr("512MB or 2GiB")))
        << text;
  }
}

// ---- Plans -------------------------------------------------------------------------------------

// Keys and values of 2 layers, 2 heads and 4 numbers, as f32: 128 bytes a token.
constexpr int64_t kBytesPerToken = 2 * 2 * 2 * 4 * 4;
constexpr int64_t kMuch = int64_t{1} << 40;

class KvPlanTest : public testing::Test {
 protected:
  KvPlan Plan(const KvFlags& flags, int64_t free) {
    CheckKvFlags(config_, flags);
    return PlanKv(*backend_, config_, flags, free);
  }
  std::string Error(const KvFlags& flags, int64_t free = kMuch) {
    return ErrorOf([&] { Plan(flags, free); });
  }

  ModelConfig config_ = TinyConfig();  // a context of 512
  std::unique_ptr<Backend> backend_ = MakeCpuBackend(1);
};

TEST_F(KvPlanTest, IsForEightContextsWhereMemoryIsPlenty) {
  const KvPlan plan = Plan({}, kMuch);
  EXPECT_EQ(plan.page_size, 64);
  EXPECT_EQ(plan.context, 512);
  EXPECT_EQ(plan.bytes_per_page, 64 * kBytesPerToken);
  EXPECT_EQ(plan.n_pages, 8 * 8);
  EXPECT_EQ(plan.n_bytes(), 8 * 512 * kBytesPerToken);
  // A context that is not whole pages has a page for its rest.
  EXPECT_EQ(Plan({.context = 40}, kMuch).page_size, 40);
  EXPECT_EQ(Plan({.page_size = 100}, kMuch).n_pages, 8 * 6);
  EXPECT_EQ(Plan({.page_size = 512}, kMuch).n_pages, 8);
  EXPECT_EQ(Plan({.page_size = 16, .context = 40}, kMuch).n_pages, 8 * 3);
  EXPECT_EQ(Plan({.page_size = 16, .context = 40}, kMuch).context, 40);
}

TEST_F(KvPlanTest, TakesHalfOfWhatIsFreeWhereThatIsLess) {
  const int64_t free = 2 * 20 * 64 * kBytesPerToken + 1000;
  EXPECT_EQ(Plan({}, free).n_pages, 20);
  EXPECT_EQ(Plan({}, free).context, 512);
}

TEST_F(KvPlanTest, ShortensTheModelsContextToWhatFits) {
  const int64_t free = 2 * 3 * 64 * kBytesPerToken;
  EXPECT_EQ(Plan({}, free).n_pages, 3);
  EXPECT_EQ(Plan({}, free).context, 3 * 64);
  EXPECT_EQ(Plan({.memory = 5 * 64 * kBytesPerToken}, kMuch).context, 5 * 64);
}

TEST_F(KvPlanTest, TakesTheMemoryThatItIsGiven) {
  EXPECT_EQ(Plan({.memory = 100 * 64 * kBytesPerToken}, kMuch).n_pages, 100);
  // Exactly one page, and all that is free.
  const KvPlan one = Plan({.memory = 64 * kBytesPerToken}, 64 * kBytesPerToken);
  EXPECT_EQ(one.n_pages, 1);
  EXPECT_EQ(one.context, 64);
  // A context that fits exactly.
  const KvPlan exact =
      Plan({.memory = 10 * 16 * kBytesPerToken, .page_size = 16, .context = 160}, kMuch);
  EXPECT_EQ(exact.n_pages, 10);
  EXPECT_EQ(exact.context, 160);
}

TEST_F(KvPlanTest, SaysWhatDoesNotFit) {
  EXPECT_THAT(Error({.memory = 64 * kBytesPerToken - 1}),
              AllOf(HasSubstr("8191 bytes for keys and values are less than one page"),
                    HasSubstr("64 tokens take 8192 bytes"), HasSubstr("smaller --page-size")));
  EXPECT_THAT(Error({.memory = 127, .page_size = 1}),
              AllOf(HasSubstr("1 tokens take 128 bytes"), Not(HasSubstr("smaller --page-size"))));
  EXPECT_THAT(Error({}, 2 * 64 * kBytesPerToken - 1), HasSubstr("8191 bytes"));
  EXPECT_THAT(Error({}, -5), HasSubstr("0 bytes for keys and values"));
  EXPECT_THAT(Error({.memory = 2'500'000'000}, 1'250'000),
              AllOf(HasSubstr("--kv-memory 2.50 GB"), HasSubstr("1.2 MB are free on the CPU")));
  EXPECT_THAT(Error({.memory = 10 * 16 * kBytesPerToken, .page_size = 16, .context = 161}),
              AllOf(HasSubstr("--context 161"), HasSubstr("take 22528 bytes"),
                    HasSubstr("20480 bytes hold 160 tokens")));
}

TEST_F(KvPlanTest, RefusesPagesAndContextsThatCannotBe) {
  EXPECT_THAT(Error({.page_size = 0}), HasSubstr("--page-size 0"));
  EXPECT_THAT(Error({.page_size = -3}), HasSubstr("--page-size -3"));
  EXPECT_THAT(Error({.page_size = 513}),
              AllOf(HasSubstr("--page-size 513"), HasSubstr("context of 512 tokens")));
  EXPECT_THAT(Error({.page_size = 33, .context = 32}), HasSubstr("context of 32 tokens"));
  EXPECT_THAT(Error({.context = -1}), AllOf(HasSubstr("--context -1"), HasSubstr("1 to 512")));
  EXPECT_THAT(Error({.context = 513}),
              AllOf(HasSubstr("--context 513"), HasSubstr("Tiny"), HasSubstr("1 to 512 tokens")));
  EXPECT_EQ(Plan({.page_size = 512, .context = 512}, kMuch).n_pages, 8);
}

}  // namespace
}  // namespace aios
