#include "lessons/00_introduction/predict.h"

#include <algorithm>
#include <cctype>

#include "common/base/cli.h"
#include "common/base/error.h"
#include "common/model/model.h"
#include "common/model/shapes.h"
#include "common/profile/published.h"

namespace aios::lessons {
namespace {

constexpr const char* kAsStored = "as stored";

DType FormatNamed(const std::string& name) {
  std::string upper;
  for (const char c : name) upper += static_cast<char>(std::toupper(static_cast<uint8_t>(c)));
  std::vector<std::string_view> names;
  for (int i = 0; i < kernels::kNumFormats; ++i) {
    const auto format = static_cast<DType>(i);
    if (Name(format) == upper) return format;
    names.push_back(Name(format));
  }
  throw InputError("there is no weight format {}; there are {}", Quoted(name),
                   fmt::join(names, ", "));
}

LessonPrediction Lesson(std::string lesson, std::string change, const Cost& cost, double n_tokens,
                        const DeviceLimits& device) {
  const Prediction time = Predict(cost, device);
  return {.lesson = std::move(lesson),
          .change = std::move(change),
          .weight_bytes = cost.weight_bytes / n_tokens,
          .bytes = cost.bytes() / n_tokens,
          .flops = cost.flops() / n_tokens,
          .seconds = time.seconds() / n_tokens,
          .bound = time.memory_bound() ? "memory" : "arithmetic"};
}

// Tensor parallelism: each GPU has its part of every matrix and of the KV cache; nothing else can
// go on while they add up what each has.
LessonPrediction Parallel(const ModelConfig& config, const Cost& one, const DeviceLimits& device) {
  constexpr double kN = kRunGpus;
  const Cost part = {.weight_bytes = one.weight_bytes / kN,
                     .kv_bytes = one.kv_bytes / kN,
                     .matrix_flops = one.matrix_flops / kN,
                     .attention_flops = one.attention_flops / kN};
  LessonPrediction result =
      Lesson("07 parallelism", fmt::format("{} of them, each its part of every matrix", kRunGpus),
             part, 1, device);
  result.seconds += AllReduceBytes(config, kRunGpus) / device.link_bytes_s;
  result.bound += " + links";
  return result;
}

std::vector<LessonPrediction> PredictLessons(const ModelConfig& config, const DevicePrediction& p) {
  const DeviceLimits& device = p.device;
  std::vector<LessonPrediction> lessons;
  if (!device.is_gpu) {
    const ModelSize f32 = SizeOf(config, DType::kF32);
    lessons.push_back(
        Lesson("02 running", "the reference: weights in F32, the past again each time",
               RecomputeCost(config, f32, DType::kF32, kRunPrompt, kRunAnswer), 1, device));
  }
  lessons.push_back(Lesson("03 kernels", fmt::format("weights {}, the past again", p.format),
                           RecomputeCost(config, p.weights, p.kv, kRunPrompt, kRunAnswer), 1,
                           device));
  const Cost cached = DecodeCost(config, p.weights, p.kv, kRunPrompt, kRunAnswer, 1);
  lessons.push_back(
      Lesson("04 KV cache", "the past is kept: one position a token", cached, 1, device));
  lessons.push_back(Lesson("05 batching", fmt::format("{} sequences share each weight", kRunBatch),
                           DecodeCost(config, p.weights, p.kv, kRunPrompt, kRunAnswer, kRunBatch),
                           kRunBatch, device));
  constexpr int64_t kBlock = kernels::kBlock32;
  if (config.d_model % kBlock + config.q_dim() % kBlock + config.d_ff % kBlock == 0) {
    const ModelSize q4 = SizeOf(config, DType::kQ4_0);
    lessons.push_back(Lesson("06 quantization", "weights in Q4_0, 4.5 bits; one sequence",
                             DecodeCost(config, q4, p.kv, kRunPrompt, kRunAnswer, 1), 1, device));
  }
  if (device.is_gpu && device.link_bytes_s > 0) {
    lessons.push_back(Parallel(config, cached, device));
  }
  return lessons;
}

}  // namespace

double AllReduceBytes(const ModelConfig& config, int n_gpus) {
  constexpr double kBf16 = 2;
  const double sums = 2 * static_cast<double>(config.n_layers * config.d_model) * kBf16;
  return sums * 2 * (n_gpus - 1) / n_gpus;
}

Subject OpenSubject(const Flags& flags, const std::string& argv0) {
  Subject subject;
  ModelConfig& config = subject.config;
  if (!flags.shape.empty()) {
    config = ShapeNamed(flags.shape);
    subject.size = SizeOf(config, DType::kBF16);
    subject.format = "in BF16";
  } else {
    // Maps the file, reads its header, and checks the tensors' shapes: no weight is touched.
    const Model model =
        Model::Load(flags.model.empty() ? DefaultModel(argv0) : std::filesystem::path(flags.model));
    config = model.config();
    subject.size = SizeOf(config, model.weights());
    subject.format = kAsStored;
  }
  if (!flags.weights.empty()) {
    const DType format = FormatNamed(flags.weights);
    subject.size = SizeOf(config, format);
    subject.format = fmt::format("in {}", Name(format));
  }

  constexpr int64_t kContext = 2048;
  constexpr int64_t kPrompt = 512;
  subject.context = flags.context > 0 ? flags.context : std::min(kContext, config.max_context);
  subject.prompt_tokens =
      flags.prompt_tokens > 0 ? flags.prompt_tokens : std::min(kPrompt, config.max_context);
  for (const auto& [flag, n] : {std::pair("--context", subject.context),
                                std::pair("--prompt-tokens", subject.prompt_tokens)}) {
    if (n > config.max_context) {
      throw InputError("{} {}: {} was made for at most {} tokens", flag, n, Escaped(config.name),
                       config.max_context);
    }
  }
  return subject;
}

std::vector<DeviceLimits> ChooseDevices(const Flags& flags, std::vector<DeviceLimits> here) {
  if (!flags.machine.empty()) return {LimitsOf(MachineNamed(flags.machine))};
  if (flags.on != "both") {
    const bool want_gpu = flags.on == "gpu";
    std::erase_if(here, [&](const DeviceLimits& device) { return device.is_gpu != want_gpu; });
  }
  if (here.empty()) {
    throw InputError(
        "--on gpu: there is no GPU here that can be used; --machine h200 predicts for one that is "
        "not here");
  }
  return here;
}

DevicePrediction PredictDevice(const Subject& subject, const DeviceLimits& device) {
  const ModelConfig& config = subject.config;
  DevicePrediction p = {.device = device,
                        .kv = device.is_gpu ? DType::kBF16 : DType::kF32,
                        .weights = subject.size,
                        .format = subject.format,
                        .fit = {},
                        .prefill_cost = {},
                        .prefill = {},
                        .batches = {},
                        .lessons = {}};
  if (device.is_gpu && subject.format == kAsStored) {
    // The engine unpacks a file's blocks when it copies them to a GPU, until lesson 06.
    p.weights = SizeOf(config, DType::kBF16);
    p.format = "in BF16";
  }
  p.fit = FitOf(config, p.weights, p.kv, subject.context, subject.prompt_tokens, device);
  p.prefill_cost = CostOf(config, p.weights, p.kv, {.n_new = subject.prompt_tokens});
  p.prefill = Predict(p.prefill_cost, device);
  for (int64_t batch = 1; batch <= 256; batch *= 2) {
    // The new token is the last of the context.
    const Cost cost = CostOf(config, p.weights, p.kv,
                             {.n_sequences = batch, .n_new = 1, .n_past = subject.context - 1});
    p.batches.push_back({.batch = batch,
                         .cost = cost,
                         .time = Predict(cost, device),
                         .fits = p.fit.weights_fit() && batch <= p.fit.max_batch});
  }
  p.ridge_batch = RidgeBatch(config, p.weights, p.kv, subject.context - 1, device);
  p.lessons = PredictLessons(config, p);
  return p;
}

}  // namespace aios::lessons
