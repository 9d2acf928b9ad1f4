// What lesson 00 predicts of a model on a device, before anything runs: the numbers, which
// print_predictions.cc, draw_roofline.cc and report.cc then show.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/profile/roofline.h"
#include "lessons/00_introduction/flags.h"

namespace aios::lessons {

// A model by its config and the bytes of its weights, which are not read.
struct Subject {
  ModelConfig config;
  ModelSize size;
  std::string format;  // "as stored", "BF16"
  int64_t prompt_tokens = 0;
  int64_t context = 0;
};
// Opens what the flags name. Throws InputError: no such model, shape or format, or more tokens than
// the model's context has.
Subject OpenSubject(const Flags& flags, const std::string& argv0);

// The devices that the flags ask for. `here`: those of this machine.
std::vector<DeviceLimits> ChooseDevices(const Flags& flags, std::vector<DeviceLimits> here);

// One decode step of a batch.
struct BatchPrediction {
  int64_t batch = 0;
  Cost cost;
  Prediction time;
  bool fits = false;

  double tokens_s() const { return static_cast<double>(batch) / time.seconds(); }
};

// What a lesson makes of one workload, for each token of the answer.
struct LessonPrediction {
  std::string lesson;       // "04 KV cache"
  std::string change;       // "one position a token"
  double weight_bytes = 0;  // of one token
  double bytes = 0;         // the same with the KV cache
  double flops = 0;
  double seconds = 0;
  std::string bound;  // "memory", "arithmetic", "memory and links"
};

// The workload of LessonPrediction: lesson 02's own run, "Why is the sky blue?" in its chat
// template and 64 tokens of answer.
inline constexpr int64_t kRunPrompt = 36;
inline constexpr int64_t kRunAnswer = 64;
inline constexpr int64_t kRunBatch = 32;  // of lesson 05
inline constexpr int kRunGpus = 8;        // of lesson 07

// Bytes that a GPU of a ring sends for a token where `n_gpus` share each layer: after attention and
// after the feed-forward layer they add up d_model sums, in bf16, and a ring sends each of these
// 2 (n - 1) / n times.
double AllReduceBytes(const ModelConfig& config, int n_gpus);

struct DevicePrediction {
  DeviceLimits device;
  DType kv = DType::kF32;  // of keys, values and activations: F32 on a CPU, BF16 on a GPU
  ModelSize weights;       // as the engine reads them there
  std::string format;
  Fit fit;
  Cost prefill_cost;
  Prediction prefill;
  std::vector<BatchPrediction> batches;  // 1 to 256
  double ridge_batch = 0;                // 0: never
  std::vector<LessonPrediction> lessons;
};
DevicePrediction PredictDevice(const Subject& subject, const DeviceLimits& device);

}  // namespace aios::lessons
