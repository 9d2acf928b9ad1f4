#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/ladder/gemm_cpu/ladder.h"
#include "kernels/ladder/gemm_cpu/peak.h"
#include "tests/kernels/cpu/ops_testing.h"

namespace aios::ladder::gemm_cpu {
namespace {

using kernels::cpu::ForEachTarget;
using kernels::cpu::Normal;

TEST(GemmCpuTest, FiveLevelsInOrder) {
  ASSERT_EQ(Levels().size(), 5);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Levels()[i].number, i + 1);
}

TEST(GemmCpuTest, EveryLevelEqualsDoublePrecision) {
  for (const Level& level : Levels()) {
    ForEachTarget([&] { EXPECT_NO_THROW(CheckShapes(std::string(level.name), level.run)); });
  }
}

// An engine relies on it: what else is in the batch, and how many threads there are, changes no
// bit of a row.
TEST(GemmCpuTest, RowsAndThreadsDoNotChangeBits) {
  constexpr int64_t kM = 29, kN = 75, kK = 300;
  const auto x = Normal(kM * kK, 1);
  const auto w = Normal(kN * kK, 2);
  for (const Level& level : Levels()) {
    SCOPED_TRACE(level.name);
    ForEachTarget([&] {
      std::vector<float> all(kM * kN), row(kN);
      GemmArgs args = {
          .m = kM, .n = kN, .k = kK, .x = x.data(), .w = w.data(), .y = all.data(), .n_threads = 3};
      level.run(args);
      args.m = 1;
      args.y = row.data();
      for (int64_t i = 0; i < kM; ++i) {
        args.x = x.data() + i * kK;
        args.n_threads = static_cast<int>(1 + i % 4);
        level.run(args);
        EXPECT_EQ(row, std::vector<float>(all.begin() + i * kN, all.begin() + (i + 1) * kN)) << i;
      }
    });
  }
}

// ---- What the check must see
// ---------------------------------------------------------------------

void Correct(const GemmArgs& args) { Levels()[0].run(args); }

TEST(GemmCpuTest, TheCheckSeesMistakes) {
  const GemmArgs shape = {.m = 9, .n = 11, .k = 200};
  EXPECT_NO_THROW(Check("correct", Correct, shape));
  const auto expect_caught = [&](const char* mistake, void (*run)(const GemmArgs&)) {
    EXPECT_THROW(Check(mistake, run, shape), std::runtime_error) << mistake;
    EXPECT_THROW(CheckShapes(mistake, run), std::runtime_error) << mistake;
  };
  expect_caught("nothing", [](const GemmArgs&) {});
  expect_caught("zeros", [](const GemmArgs& args) { std::fill_n(args.y, args.m * args.n, 0.0F); });
  expect_caught("the last row is missing", [](const GemmArgs& args) {
    GemmArgs fewer = args;
    if (fewer.m > 1) --fewer.m;
    Correct(fewer);
  });
  expect_caught("one product is missing", [](const GemmArgs& args) {
    Correct(args);
    if (args.k > 1)
      args.y[args.m * args.n - 1] -= args.x[args.m * args.k - 1] * args.w[args.n * args.k - 1];
  });
  expect_caught("one too far", [](const GemmArgs& args) {
    Correct(args);
    args.y[args.m * args.n] = 0;
  });
  expect_caught("adds zero, too far", [](const GemmArgs& args) {
    Correct(args);
    args.y[args.m * args.n + 100] += 0;
  });
  expect_caught("infinite", [](const GemmArgs& args) {
    Correct(args);
    if (args.m * args.n > 0) args.y[0] = INFINITY;
  });
}

// ---- The table
// -----------------------------------------------------------------------------------

TEST(GemmCpuTest, TheTable) {
  Options options = {.m = 33, .n = 40, .k = 50, .n_threads = 2, .repeats = 3, .seconds = 0};
  options.peer = {"another", Correct};
  const Table table = RunLadder(options);
  ASSERT_EQ(table.rows.size(), 6);
  EXPECT_GT(table.core_gflop_s, 0);
  for (size_t i = 0; i < 6; ++i) {
    const Row& row = table.rows[i];
    EXPECT_EQ(row.level, i == 5 ? 0 : static_cast<int>(i) + 1);
    EXPECT_GT(row.seconds, 0);
    EXPECT_NEAR(row.gflop_s, 2.0 * 33 * 40 * 50 / row.seconds / 1e9, 1e-9 * row.gflop_s);
    EXPECT_DOUBLE_EQ(row.of_peak, row.gflop_s / table.peak_gflop_s);
    EXPECT_DOUBLE_EQ(row.times_level_above, i == 0 ? 1 : row.gflop_s / table.rows[i - 1].gflop_s);
  }
  std::ostringstream json, text;
  WriteJson(table, json);
  const auto parsed = nlohmann::json::parse(json.str());
  EXPECT_EQ(parsed["n"], 40);
  EXPECT_EQ(parsed["n_threads"], 2);
  ASSERT_EQ(parsed["rows"].size(), 6);
  EXPECT_EQ(parsed["rows"][5]["name"], "another");
  EXPECT_NEAR(parsed["rows"][3]["gflop_s"], table.rows[3].gflop_s, 1e-4 * table.rows[3].gflop_s);
  Print(table, text);
  EXPECT_NE(text.str().find("33 x 40 x 50"), std::string::npos);
  EXPECT_NE(text.str().find("another"), std::string::npos);
}

TEST(GemmCpuTest, AWrongPeerAndWrongSizesAreRefused) {
  Options options = {.m = 8, .n = 8, .k = 8, .repeats = 1, .seconds = 0};
  options.peer = {"does nothing", [](const GemmArgs&) {}};
  EXPECT_THROW(RunLadder(options), std::runtime_error);
  EXPECT_THROW(RunLadder({.m = 0}), std::invalid_argument);
  EXPECT_THROW(RunLadder({.k = -1}), std::invalid_argument);
}

// No CPU of today does less than 0.1 or more than 500 GFLOP/s with one core.
TEST(GemmCpuTest, ThePeakIsPlausible) {
  const double one = MeasurePeak(1), two = MeasurePeak(2);
  EXPECT_GT(one, 0.1e9);
  EXPECT_LT(one, 500e9);
  EXPECT_GT(two, 0.5 * one);  // other programs may have a core
  EXPECT_LT(two, 2.5 * one);
}

}  // namespace
}  // namespace aios::ladder::gemm_cpu
