// The report that --json writes: its keys, its arithmetic, and what it does with numbers and paths
// that are none.
#include "common/engine/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/base/mapped_file.h"

namespace aios {
namespace {

using testing::HasSubstr;
using testing::UnorderedElementsAreArray;

Output OutputOf(size_t n_prompt, size_t n_tokens, double first_seconds, double decode_seconds) {
  return {.prompt_ids = std::vector<TokenId>(n_prompt, 5),
          .generation = {.tokens = std::vector<TokenId>(n_tokens, 6),
                         .first_token_seconds = first_seconds,
                         .decode_seconds = decode_seconds}};
}

// 2 prompts: 30 prompt tokens in 0.5 s, then 10 + 4 tokens after the first in 2 + 1.5 s.
Run TwoPrompts() {
  return {.name = "after",
          .backend = "reference",
          .dtype = "f32",
          .outputs = {OutputOf(10, 11, 0.2, 2.0), OutputOf(20, 5, 0.3, 1.5)},
          .bytes_per_token = 1000000000,
          .peak_bytes = 77};
}

Report ReportOf(Run run) {
  return {.lesson = "02_running_an_llm",
          .machine = {.cpu = "a \"CPU\"", .n_cores = 4, .simd = "avx2", .memory_bytes = 1 << 30},
          .n_threads = 3,
          .read_bandwidth = 16e9,
          .runs = {std::move(run)},
          .checks = {{.name = "same tokens", .ok = true, .detail = "5 of 5"}},
          .moved = {.metric = "tokens/s", .before = 2, .after = 5}};
}

Json Written(const Report& report) {
  static const Model model = Model::Load("tests/golden/tiny/llama_tied");
  const std::string path = testing::TempDir() + "report.json";
  WriteReport(report, model, path);
  return ParseJson(ReadTextFile(path), path);
}

std::vector<std::string> KeysOf(const Json& json) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  return keys;
}

void ExpectKeys(const Json& json, const std::vector<std::string>& keys) {
  EXPECT_THAT(KeysOf(json), UnorderedElementsAreArray(keys));
}

// ---- What is in it -----------------------------------------------------------------------------

TEST(Report, HasEveryKeyOfTheSchemaAndNoOther) {
  Report report = ReportOf(TwoPrompts());
  report.runs[0].outputs[0].generation.steps = {{.top = {{7, 1.5F}, {9, -2}}, .log_sum_exp = 3.25}};
  report.runs[0].outputs[0].generation.token_seconds = {0.5};
  EXPECT_FALSE(Written(report).contains("figures"));
  report.figures = {{"pages", 3}};
  const Json json = Written(report);
  ExpectKeys(json, {"schema", "lesson", "machine", "model", "runs", "checks", "figures", "moved"});
  EXPECT_EQ(json["figures"], Json({{"pages", 3.0}}));
  ExpectKeys(json["machine"], {"cpu", "cores", "simd", "memory_bytes", "threads", "read_gb_s"});
  ExpectKeys(json["model"], {"name", "architecture", "parameters", "bytes", "d_model", "n_layers",
                             "n_heads", "n_kv_heads", "head_dim", "d_ff", "vocab_size"});
  ExpectKeys(json["runs"][0],
             {"name", "backend", "dtype", "outputs", "ttft_ms", "tpot_ms", "prefill_tok_s",
              "decode_tok_s", "output_tok_s", "wall_seconds", "seqs_per_step", "bytes_per_token",
              "gb_s", "roofline_fraction", "peak_bytes"});
  ExpectKeys(json["runs"][0]["outputs"][0], {"prompt_ids", "tokens", "text", "finish_reason",
                                             "cached_tokens", "min_margin", "token_ms", "steps"});
  ExpectKeys(json["runs"][0]["outputs"][0]["steps"][0], {"top", "lse"});
  ExpectKeys(json["checks"][0], {"name", "ok", "detail"});
  ExpectKeys(json["moved"], {"metric", "before", "after", "ratio"});
}

TEST(Report, SaysWhatItWasGiven) {
  const Json json = Written(ReportOf(TwoPrompts()));
  EXPECT_EQ(json["schema"], 1);
  EXPECT_EQ(json["lesson"], "02_running_an_llm");
  EXPECT_EQ(json["machine"], Json({{"cpu", "a \"CPU\""},
                                   {"cores", 4},
                                   {"simd", "avx2"},
                                   {"memory_bytes", 1 << 30},
                                   {"threads", 3},
                                   {"read_gb_s", 16.0}}));
  EXPECT_EQ(json["model"]["name"], "llama_tied");
  EXPECT_EQ(json["model"]["architecture"], "llama");
  EXPECT_EQ(json["model"]["vocab_size"], 512);
  EXPECT_EQ(json["runs"][0]["name"], "after");
  EXPECT_EQ(json["runs"][0]["peak_bytes"], 77);
  EXPECT_EQ(json["checks"], Json::parse(R"([{"name": "same tokens", "ok": true,
                                             "detail": "5 of 5"}])"));
  EXPECT_EQ(json["moved"], Json::parse(R"({"metric": "tokens/s", "before": 2.0, "after": 5.0,
                                           "ratio": 2.5})"));
}

TEST(Report, ShowsEachOutputAndTheScoresOfItsSteps) {
  aios::Run run = TwoPrompts();
  run.outputs.resize(1);
  run.outputs[0] = {.prompt_ids = {1, 2},
                    .generation = {.tokens = {3, 4},
                                   .text = "é\n",
                                   .finish_reason = FinishReason::kStopString,
                                   .steps = {{.top = {{3, 1.5F}, {9, -2}}, .log_sum_exp = 3.25},
                                             {.top = {{4, 0.5F}}, .log_sum_exp = 0.75}},
                                   .min_margin = 0.125,
                                   .n_cached = 1,
                                   .token_seconds = {0.25, 0.0001}}};
  EXPECT_EQ(Written(ReportOf(run))["runs"][0]["outputs"], Json::parse(R"([{
      "prompt_ids": [1, 2], "tokens": [3, 4], "text": "é\n", "finish_reason": "stop_string",
      "min_margin": 0.125, "cached_tokens": 1, "token_ms": [250.0, 0.1],
      "steps": [{"top": [[3, 1.5], [9, -2.0]], "lse": 3.25}, {"top": [[4, 0.5]], "lse": 0.75}]
  }])"));
}

TEST(Report, HasNoStepsUnlessScoresWereAskedFor) {
  EXPECT_FALSE(Written(ReportOf(TwoPrompts()))["runs"][0]["outputs"][0].contains("steps"));
}

TEST(Report, MayHaveNoRunsAndNoChecks) {
  const Json json = Written(Report());
  EXPECT_EQ(json["runs"], Json::array());
  EXPECT_EQ(json["checks"], Json::array());
}

// ---- Arithmetic --------------------------------------------------------------------------------

TEST(Run, AddsUpItsPrompts) {
  const aios::Run run = TwoPrompts();
  EXPECT_DOUBLE_EQ(run.prefill_tok_s(), 30 / 0.5);
  EXPECT_DOUBLE_EQ(run.decode_tok_s(), 14 / 3.5);  // first tokens are prefill's
  EXPECT_DOUBLE_EQ(run.tpot_ms(), 250);
  EXPECT_DOUBLE_EQ(run.bytes_per_second(), 4e9);
}

TEST(Run, ThroughputIsOfAllAnswersByTheClockOnTheWall) {
  aios::Run run = TwoPrompts();
  EXPECT_EQ(run.output_tok_s(), 0);  // not measured
  run.wall_seconds = 0.5;
  size_t n_tokens = 0;
  for (const Output& output : run.outputs) n_tokens += output.generation.tokens.size();
  EXPECT_EQ(n_tokens, 16);
  EXPECT_DOUBLE_EQ(run.output_tok_s(), 32);
  EXPECT_DOUBLE_EQ(run.decode_tok_s(), 4);  // of an answer, as before
  EXPECT_DOUBLE_EQ(Written(ReportOf(run))["runs"][0]["output_tok_s"].get<double>(), 32);
}

TEST(Run, PromptsThatWaitedTogetherAreNotCountedTwice) {
  aios::Run run = TwoPrompts();
  run.prefill_seconds = 0.3;
  EXPECT_DOUBLE_EQ(run.prefill_tok_s(), 30 / 0.3);
}

TEST(Run, TakesTheMedianOfTheFirstTokens) {
  aios::Run run = {.name = "after", .backend = "", .dtype = ""};
  EXPECT_EQ(run.ttft_ms(), 0);
  run.outputs = {OutputOf(1, 1, 0.9, 0), OutputOf(1, 1, 0.1, 0), OutputOf(1, 1, 0.2, 0)};
  EXPECT_DOUBLE_EQ(run.ttft_ms(), 200);
}

TEST(Run, OfOneTokenHasNoRate) {
  aios::Run run = TwoPrompts();
  run.outputs = {OutputOf(10, 1, 0.2, 1e-7)};
  EXPECT_EQ(run.decode_tok_s(), 0);
  EXPECT_EQ(run.tpot_ms(), 0);
  EXPECT_EQ(run.bytes_per_second(), 0);
  EXPECT_DOUBLE_EQ(run.prefill_tok_s(), 50);
}

TEST(Report, HasNumbersThatFollowFromEachOther) {
  const Json run = Written(ReportOf(TwoPrompts()))["runs"][0];
  EXPECT_DOUBLE_EQ(run["tpot_ms"].get<double>() * run["decode_tok_s"].get<double>(), 1000);
  EXPECT_DOUBLE_EQ(run["gb_s"].get<double>(),
                   run["bytes_per_token"].get<double>() * run["decode_tok_s"].get<double>() * 1e-9);
  EXPECT_DOUBLE_EQ(run["roofline_fraction"].get<double>(), run["gb_s"].get<double>() / 16);
}

TEST(Report, ARunOnAGpuIsMeasuredByTheGpusMemory) {
  Report report = ReportOf(TwoPrompts());
  report.runs[0].gpu_read_bandwidth = 4e12;
  const Json run = Written(report)["runs"][0];
  EXPECT_DOUBLE_EQ(run["roofline_fraction"].get<double>(), run["gb_s"].get<double>() / 4000);
}

TEST(Report, IsRightOnlyIfAllChecksAre) {
  Report report;
  EXPECT_TRUE(report.AllChecksOk());
  report.checks = {{.name = "a", .ok = true, .detail = ""}};
  EXPECT_TRUE(report.AllChecksOk());
  report.checks.push_back({.name = "b", .ok = false, .detail = ""});
  EXPECT_FALSE(report.AllChecksOk());
}

TEST(Report, WritesNullForWhatIsNotANumber) {
  Report report = ReportOf(TwoPrompts());
  report.runs[0].outputs[0].generation.min_margin = std::numeric_limits<float>::infinity();
  report.read_bandwidth = 0;  // never measured: the fraction is infinite
  report.moved = {.metric = "nothing", .before = 0, .after = 0};
  const Json json = Written(report);
  EXPECT_TRUE(json["runs"][0]["outputs"][0]["min_margin"].is_null());
  EXPECT_TRUE(json["runs"][0]["roofline_fraction"].is_null());
  EXPECT_TRUE(json["moved"]["ratio"].is_null());
}

// ---- Where it is written -----------------------------------------------------------------------

TEST(WriteReport, ReplacesAnOlderReport) {
  Report report = ReportOf(TwoPrompts());
  report.lesson = std::string(10000, 'x');
  Written(report);
  report.lesson = "short";
  EXPECT_EQ(Written(report)["lesson"], "short");
}

TEST(WriteReport, ToAPathThatCannotBeWrittenIsAnErrorThatNamesIt) {
  const Model model = Model::Load("tests/golden/tiny/llama_tied");
  // /dev/full can be opened, and fails when it is written.
  const std::string folder = testing::TempDir();
  for (const std::string& path :
       {folder, folder + "no/such/folder.json", std::string("/dev/full")}) {
    try {
      WriteReport(ReportOf(TwoPrompts()), model, path);
      ADD_FAILURE() << "wrote " << path;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr("--json '"));
      EXPECT_THAT(error.what(), HasSubstr("cannot write"));
    }
  }
}

}  // namespace
}  // namespace aios
