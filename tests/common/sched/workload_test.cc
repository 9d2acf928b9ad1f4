// Workloads: the same everywhere, of the shape that was asked for, and read back from JSON.
#include "common/sched/workload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/base/error.h"

namespace aios {
namespace {

using testing::HasSubstr;

constexpr WorkloadShape kShape = {.n_requests = 10'000,
                                  .requests_per_second = 4,
                                  .min_prompt = 100,
                                  .max_prompt = 1024,
                                  .min_output = 10,
                                  .max_output = 20,
                                  .n_users = 3,
                                  .n_priorities = 2};

TEST(DrawWorkload, HasTheShape) {
  const Workload workload = DrawWorkload(kShape, 1);
  ASSERT_EQ(workload.size(), 10'000);
  std::map<std::string, int> users;
  std::map<int, int> priorities;
  std::set<int64_t> outputs;
  double sum = 0;
  int64_t least = 1024;
  int64_t most = 100;
  for (const WorkloadRequest& r : workload) {
    sum += static_cast<double>(r.n_prompt);
    least = std::min(least, r.n_prompt);
    most = std::max(most, r.n_prompt);
    outputs.insert(r.n_output);
    ++users[r.user];
    ++priorities[r.priority];
  }
  EXPECT_NEAR(sum / 10'000, 562, 10);  // the mean's standard deviation is 267 / 100
  EXPECT_GE(least, 100);
  EXPECT_LE(least, 102);
  EXPECT_GE(most, 1022);
  EXPECT_LE(most, 1024);
  EXPECT_EQ(outputs.size(), 11);
  EXPECT_EQ(users.size(), 3);
  for (const auto& [user, n] : users) EXPECT_NEAR(n, 3333, 200) << user;
  EXPECT_EQ(priorities.size(), 2);
}

// Gaps of a Poisson process: the mean is 1 / rate, a part exp(-x) of them is longer than x / rate,
// and so is a part of those that are longer than another x (it has no memory).
TEST(DrawWorkload, ComesAsAPoissonProcessDoes) {
  const Workload workload = DrawWorkload(kShape, 2);
  std::vector<double> gaps;
  double before = 0;
  for (const WorkloadRequest& r : workload) {
    ASSERT_GE(r.arrival, before);
    gaps.push_back((r.arrival - before) * 4);
    before = r.arrival;
  }
  EXPECT_NEAR(before * 4 / 10'000, 1, 0.04);
  for (const double x : {0.1, 0.5, 1.0, 2.0, 3.0, 4.0}) {
    const auto n = std::ranges::count_if(gaps, [&](double gap) { return gap > x; });
    const double p = std::exp(-x);
    EXPECT_NEAR(static_cast<double>(n), 1e4 * p, 4 * std::sqrt(1e4 * p * (1 - p))) << x;
  }
}

// As a few lines of Python draw them that follow the papers.
TEST(DrawWorkload, IsTheSameEverywhere) {
  const Workload workload = DrawWorkload({.n_requests = 3,
                                          .requests_per_second = 1,
                                          .min_prompt = 1,
                                          .max_prompt = 1000,
                                          .min_output = 1,
                                          .max_output = 1000},
                                         1);
  std::string text;
  for (const WorkloadRequest& r : workload) {
    text += fmt::format("{} {} {:a}\n", r.n_prompt, r.n_output, r.arrival);
  }
  EXPECT_EQ(text,
            "981 91 0x1.13cba96c8fb1cp-2\n"
            "278 927 0x1.17d57b8cf6462p-2\n"
            "266 928 0x1.22e2ee6700f5cp-1\n");
}

TEST(DrawWorkload, ChangesOnlyArrivalsWithTheRate) {
  WorkloadShape shape = kShape;
  const Workload slow = DrawWorkload(shape, 1);
  shape.requests_per_second = 0;
  Workload at_once = DrawWorkload(shape, 1);
  EXPECT_EQ(at_once.back().arrival, 0);
  for (size_t i = 0; i < slow.size(); ++i) at_once[i].arrival = slow[i].arrival;
  EXPECT_EQ(at_once, slow);
  EXPECT_NE(DrawWorkload(kShape, 3), slow);
}

TEST(PromptOf, BeginsAsItsGroupDoes) {
  const WorkloadRequest a = {.n_prompt = 50, .prefix_group = 1, .n_shared = 30};
  const WorkloadRequest b = {.n_prompt = 40, .prefix_group = 1, .n_shared = 20};
  const WorkloadRequest c = {.n_prompt = 50, .prefix_group = 2, .n_shared = 30};
  const auto of_a = PromptOf(a, 0, 1000, 7);
  const auto of_b = PromptOf(b, 1, 1000, 7);
  const auto of_c = PromptOf(c, 0, 1000, 7);
  const auto n_alike = [](const auto& x, const auto& y) {
    return std::mismatch(x.begin(), x.end(), y.begin(), y.end()).first - x.begin();
  };
  ASSERT_EQ(of_a.size(), 50);
  ASSERT_EQ(of_b.size(), 40);
  EXPECT_EQ(n_alike(of_a, of_b), 20);
  EXPECT_EQ(n_alike(of_a, of_c), 0);
  EXPECT_EQ(of_a, PromptOf(a, 0, 1000, 7));
  EXPECT_EQ(n_alike(of_a, PromptOf(a, 5, 1000, 7)), 30);
  EXPECT_EQ(n_alike(of_a, PromptOf(a, 0, 1000, 8)), 0);
  for (const int32_t token : PromptOf({.n_prompt = 1000}, 3, 5, 7)) {
    EXPECT_GE(token, 0);
    EXPECT_LT(token, 5);
  }
  std::set<int32_t> tokens;
  for (const int32_t token : PromptOf({.n_prompt = 1000}, 3, 5, 7)) tokens.insert(token);
  EXPECT_EQ(tokens.size(), 5);
}

TEST(ReadWorkload, ReadsWhatToJsonWrites) {
  Workload workload = DrawWorkload(kShape, 4);
  workload[3].prefix_group = 2;
  workload[3].n_shared = 10;
  workload[4].user = "with \"quotes\" and ü";
  workload[5].user = "";
  workload[6].priority = -5;
  EXPECT_EQ(ParseWorkload(ToJson(workload), "text"), workload);
  const auto path = std::filesystem::path(testing::TempDir()) / "workload.json";
  std::ofstream(path) << ToJson(workload);
  EXPECT_EQ(ReadWorkload(path), workload);
  EXPECT_EQ(ParseWorkload("[]", "text"), Workload());
  EXPECT_EQ(ToJson({}), "[\n]\n");
  EXPECT_EQ(ToJson({{.arrival = 0.5, .n_prompt = 3, .n_output = 4}}),
            "[\n {\"arrival\":0.5,\"output_tokens\":4,\"prompt_tokens\":3}\n]\n");
}

std::string ErrorOf(const std::string& text) {
  try {
    ParseWorkload(text, "w.json");
    return "";
  } catch (const InputError& e) {
    return e.what();
  }
}

TEST(ReadWorkload, SaysWhatIsWrongAndWhere) {
  const std::string good = R"({"arrival": 1, "prompt_tokens": 5, "output_tokens": 5)";
  EXPECT_EQ(ErrorOf("[" + good + "}]"), "");
  EXPECT_EQ(ErrorOf("{}"), "w.json: must be a JSON array of requests");
  EXPECT_EQ(ErrorOf("[1"), "w.json: not valid JSON at byte 3");
  EXPECT_EQ(ErrorOf("[1]"), "w.json: request 0: must be a JSON object");
  EXPECT_EQ(ErrorOf("[" + good + R"(, "prompt": 1}])"),
            "w.json: request 0: the key 'prompt' is not known");
  EXPECT_EQ(ErrorOf("[" + good + "}, {}]"), "w.json: request 1: 'arrival' is missing");
  EXPECT_EQ(ErrorOf("[" + good + R"(}, {"arrival": 0.5, "prompt_tokens": 1, "output_tokens": 1}])"),
            "w.json: request 1: arrives at 0.5, before the one above it, at 1; sort them");
  EXPECT_EQ(ErrorOf(R"([{"arrival": -1, "prompt_tokens": 1, "output_tokens": 1}])"),
            "w.json: request 0: 'arrival' is -1; it must be 0 seconds or more");
  EXPECT_EQ(ErrorOf(R"([{"arrival": 1, "prompt_tokens": 0, "output_tokens": 1}])"),
            "w.json: request 0: 'prompt_tokens' is 0; it must be 1 to 1048576");
  EXPECT_EQ(ErrorOf(R"([{"arrival": 1, "prompt_tokens": 9, "output_tokens": 1048577}])"),
            "w.json: request 0: 'output_tokens' is 1048577; it must be 1 to 1048576");
  EXPECT_EQ(ErrorOf(R"([{"arrival": 1, "prompt_tokens": 1.5, "output_tokens": 1}])"),
            "w.json: request 0: 'prompt_tokens' must be an integer");
  EXPECT_EQ(ErrorOf("[" + good + R"(, "priority": 3000000000}])"),
            "w.json: request 0: 'priority' is 3000000000; it must be -2147483648 to 2147483647");
  EXPECT_EQ(ErrorOf("[" + good + R"(, "prefix_group": 1, "shared_tokens": 6}])"),
            "w.json: request 0: 'shared_tokens' is 6; it must be 0 to 5");
  for (const char* half : {R"(, "prefix_group": 1}])", R"(, "shared_tokens": 1}])"}) {
    EXPECT_EQ(ErrorOf("[" + good + half),
              "w.json: request 0: of 'prefix_group' and 'shared_tokens', both or none must be "
              "above 0");
  }
  EXPECT_THAT(ErrorOf("[" + good + R"(, "user": 5}])"), HasSubstr("'user'"));
  EXPECT_THAT(ErrorOf("[" + good + R"(, "arrival": 1}])"), HasSubstr("stands twice"));
  std::string many = "[1";
  for (int i = 0; i < 100'000; ++i) many += ",1";
  EXPECT_EQ(ErrorOf(many + "]"), "w.json: has 100001 requests; 100000 are the most that are taken");
  EXPECT_THROW(ReadWorkload("/nowhere.json"), InputError);
}

}  // namespace
}  // namespace aios
