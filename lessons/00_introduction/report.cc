#include "lessons/00_introduction/report.h"

#include "common/base/utf8.h"

namespace aios::lessons {
namespace {

Json ToJson(const Cost& cost, const Prediction& time) {
  return {{"weight_bytes", cost.weight_bytes},
          {"kv_bytes", cost.kv_bytes},
          {"flops", cost.flops()},
          {"flops_per_byte", cost.intensity()},
          {"memory_seconds", time.memory_seconds},
          {"compute_seconds", time.compute_seconds},
          {"seconds", time.seconds()},
          {"bound_by", time.memory_bound() ? "memory" : "arithmetic"}};
}

Json ToJson(const Subject& subject) {
  const ModelConfig& c = subject.config;
  Json json = {{"name", ReplaceInvalidUtf8(c.name)},
               {"architecture", c.architecture},
               {"parameters", subject.size.n_params()},
               {"bytes", subject.size.n_bytes()},
               {"format", subject.format},
               {"d_model", c.d_model},
               {"n_layers", c.n_layers},
               {"n_heads", c.n_heads},
               {"n_kv_heads", c.n_kv_heads},
               {"head_dim", c.head_dim},
               {"d_ff", c.d_ff},
               {"vocab_size", c.vocab_size},
               {"max_context", c.max_context},
               {"context", subject.context},
               {"prompt_tokens", subject.prompt_tokens}};
  for (int i = 0; i < kNumComponents; ++i) {
    const auto component = static_cast<Component>(i);
    json["components"][std::string(Name(component))] = {
        {"parameters", subject.size[component].n_params},
        {"bytes", subject.size[component].n_bytes}};
  }
  return json;
}

Json ToJson(const Subject& subject, const DevicePrediction& p) {
  Json json = {{"name", ReplaceInvalidUtf8(p.device.name)},
               {"kind", p.device.is_gpu ? "gpu" : "cpu"},
               {"measured", p.device.measured},
               {"read_bytes_s", p.device.read_bytes_s},
               {"flop_s", p.device.flop_s},
               {"memory_bytes", p.device.memory_bytes},
               {"link_bytes_s", p.device.link_bytes_s},
               {"ridge_flops_per_byte", p.device.ridge()},
               {"weight_bytes", p.weights.n_bytes()},
               {"kv_dtype", Name(p.kv)},
               {"kv_bytes_per_token", KvBytesPerToken(subject.config, p.kv)},
               {"fit",
                {{"weights_fit", p.fit.weights_fit()},
                 {"left_bytes", p.fit.left_bytes},
                 {"max_batch", p.fit.max_batch},
                 {"max_context", p.fit.max_context}}},
               {"prefill", ToJson(p.prefill_cost, p.prefill)},
               {"ridge_batch", p.ridge_batch},
               {"decode", Json::array()},
               {"lessons", Json::array()}};
  for (const BatchPrediction& b : p.batches) {
    Json row = ToJson(b.cost, b.time);
    row["batch"] = b.batch;
    row["tokens_s"] = b.tokens_s();
    row["fits"] = b.fits;
    json["decode"].push_back(std::move(row));
  }
  for (const LessonPrediction& l : p.lessons) {
    json["lessons"].push_back({{"lesson", l.lesson},
                               {"weight_bytes_per_token", l.weight_bytes},
                               {"bytes_per_token", l.bytes},
                               {"flops_per_token", l.flops},
                               {"seconds_per_token", l.seconds},
                               {"tokens_s", 1 / l.seconds},
                               {"ceiling_tokens_s", p.device.read_bytes_s / l.weight_bytes},
                               {"bound_by", l.bound}});
  }
  return json;
}

}  // namespace

Json ReportOf(const std::optional<MachineProfile>& profile, const Subject& subject,
              const std::vector<DevicePrediction>& predictions) {
  Json json = {{"schema", 1},
               {"lesson", "00_introduction"},
               {"machine", profile.has_value() ? aios::ToJson(*profile) : Json()},
               {"model", ToJson(subject)},
               {"devices", Json::array()}};
  for (const DevicePrediction& p : predictions) json["devices"].push_back(ToJson(subject, p));
  return json;
}

}  // namespace aios::lessons
