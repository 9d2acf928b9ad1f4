#include "common/engine/report.h"

#include <algorithm>
#include <cmath>

#include "common/base/json.h"
#include "common/base/utf8.h"
#include "common/base/write_file.h"

namespace aios {
namespace {

// JSON has no infinity and no NaN.
Json Number(double x) { return std::isfinite(x) ? Json(x) : Json(nullptr); }

Json ToJson(const Output& output) {
  const Generation& generation = output.generation;
  Json json = {{"prompt_ids", output.prompt_ids},
               {"tokens", generation.tokens},
               {"text", generation.text},
               {"finish_reason", Name(generation.finish_reason)},
               {"cached_tokens", generation.n_cached},
               {"min_margin", Number(generation.min_margin)}};
  for (const double seconds : generation.token_seconds) {
    json["token_ms"].push_back(std::round(seconds * 1e6) * 1e-3);
  }
  for (const StepScores& step : generation.steps) {
    json["steps"].push_back({{"top", step.top}, {"lse", step.log_sum_exp}});
  }
  return json;
}

Json ToJson(const Run& run, const Report& report) {
  Json json = {{"name", run.name},
               {"backend", run.backend},
               {"dtype", run.dtype},
               {"ttft_ms", Number(run.ttft_ms())},
               {"tpot_ms", Number(run.tpot_ms())},
               {"prefill_tok_s", Number(run.prefill_tok_s())},
               {"decode_tok_s", Number(run.decode_tok_s())},
               {"output_tok_s", Number(run.output_tok_s())},
               {"wall_seconds", Number(run.wall_seconds)},
               {"seqs_per_step", Number(run.seqs_per_step)},
               {"bytes_per_token", run.bytes_per_token},
               {"gb_s", Number(run.bytes_per_second() * 1e-9)},
               {"roofline_fraction", Number(report.RooflineFraction(run))},
               {"peak_bytes", run.peak_bytes},
               {"outputs", Json::array()}};
  for (const Output& output : run.outputs) json["outputs"].push_back(ToJson(output));
  return json;
}

Json ToJson(const Model& model) {
  const ModelConfig& c = model.config();
  return {{"name", ReplaceInvalidUtf8(c.name)},
          {"architecture", c.architecture},
          {"parameters", model.n_params()},
          {"bytes", model.n_bytes()},
          {"d_model", c.d_model},
          {"n_layers", c.n_layers},
          {"n_heads", c.n_heads},
          {"n_kv_heads", c.n_kv_heads},
          {"head_dim", c.head_dim},
          {"d_ff", c.d_ff},
          {"vocab_size", c.vocab_size}};
}

}  // namespace

double Run::ttft_ms() const {
  std::vector<double> seconds;
  for (const Output& output : outputs) seconds.push_back(output.generation.first_token_seconds);
  if (seconds.empty()) return 0;
  const auto middle = seconds.begin() + static_cast<int64_t>(seconds.size() / 2);
  std::nth_element(seconds.begin(), middle, seconds.end());
  return *middle * 1e3;
}

double Run::tpot_ms() const {
  const double rate = decode_tok_s();
  return rate == 0 ? 0 : 1e3 / rate;
}

double Run::prefill_tok_s() const {
  double tokens = 0;
  double seconds = 0;
  for (const Output& output : outputs) {
    tokens += static_cast<double>(output.prompt_ids.size());
    seconds += output.generation.first_token_seconds;
  }
  if (prefill_seconds > 0) seconds = prefill_seconds;
  return seconds == 0 ? 0 : tokens / seconds;
}

double Run::decode_tok_s() const {
  double tokens = 0;
  double seconds = 0;
  for (const Output& output : outputs) {
    if (output.generation.tokens.size() < 2) continue;
    tokens += static_cast<double>(output.generation.tokens.size() - 1);
    seconds += output.generation.decode_seconds;
  }
  return seconds == 0 ? 0 : tokens / seconds;
}

double Run::output_tok_s() const {
  size_t n_tokens = 0;
  for (const Output& output : outputs) n_tokens += output.generation.tokens.size();
  return wall_seconds == 0 ? 0 : static_cast<double>(n_tokens) / wall_seconds;
}

bool Report::AllChecksOk() const {
  return std::ranges::all_of(checks, [](const Check& check) { return check.ok; });
}

void WriteReport(const Report& report, const Model& model, const std::string& path) {
  const MachineInfo& machine = report.machine;
  Json json = {{"schema", 1},
               {"lesson", report.lesson},
               {"machine",
                {{"cpu", machine.cpu},
                 {"cores", machine.n_cores},
                 {"simd", machine.simd},
                 {"memory_bytes", machine.memory_bytes},
                 {"threads", report.n_threads},
                 {"read_gb_s", Number(report.read_bandwidth * 1e-9)}}},
               {"model", ToJson(model)},
               {"runs", Json::array()},
               {"checks", Json::array()},
               {"moved",
                {{"metric", report.moved.metric},
                 {"before", Number(report.moved.before)},
                 {"after", Number(report.moved.after)},
                 {"ratio", Number(report.moved.after / report.moved.before)}}}};
  for (const Run& run : report.runs) json["runs"].push_back(ToJson(run, report));
  for (const Check& check : report.checks) {
    json["checks"].push_back({{"name", check.name}, {"ok", check.ok}, {"detail", check.detail}});
  }
  for (const auto& [name, number] : report.figures) json["figures"][name] = Number(number);
  WriteFile("--json", path, json.dump(1) + "\n");
}

}  // namespace aios
