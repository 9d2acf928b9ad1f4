#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "common/base/error.h"
#include "lessons/00_introduction/print.h"
#include "lessons/00_introduction/units.h"

namespace aios::lessons {
namespace {

const char* BoundOf(const Prediction& time) {
  return time.memory_bound() ? "memory" : "arithmetic";
}

void PrintFit(std::FILE* out, const Subject& subject, const DevicePrediction& p) {
  const Fit& fit = p.fit;
  fmt::print(out,
             "memory   {} x {} - {} weights - {} activations of a prompt of {} = ", kUsableMemory,
             Bytes(p.device.memory_bytes), Bytes(fit.weight_bytes), Bytes(fit.prefill_bytes),
             subject.prompt_tokens);
  if (!fit.weights_fit()) {
    fmt::print(out, "{}: it does not fit; what follows is as if it did\n", Bytes(fit.left_bytes));
    return;
  }
  fmt::print(out, "{} for sequences\n", Bytes(fit.left_bytes));
  fmt::print(out, "fits     {} tokens of context take {} a sequence: {} sequences at most\n",
             Grouped(subject.context), Bytes(fit.sequence_bytes), Grouped(fit.max_batch));
  fmt::print(out, "fits     one sequence alone could have {} tokens; the model was made for {}\n",
             Grouped(fit.max_context), Grouped(subject.config.max_context));
}

void PrintPrefill(std::FILE* out, const Subject& subject, const DevicePrediction& p) {
  fmt::print(out, "prefill  {} tokens: {} / {} = {}; {} / {} = {}\n", subject.prompt_tokens,
             Flops(p.prefill_cost.flops()), FlopsPerSecond(p.device.flop_s),
             Seconds(p.prefill.compute_seconds), Bytes(p.prefill_cost.bytes()),
             BytesPerSecond(p.device.read_bytes_s), Seconds(p.prefill.memory_seconds));
  fmt::print(out, "prefill  first token after {} at least, bound by {}\n",
             Seconds(p.prefill.seconds()), BoundOf(p.prefill));
}

void PrintBatches(std::FILE* out, const DevicePrediction& p) {
  const BatchPrediction& one = p.batches.front();
  fmt::print(out, "decode   one sequence: ({} weights + {} KV cache) / {} = {}; {} / {} = {}\n",
             Bytes(one.cost.weight_bytes), Bytes(one.cost.kv_bytes),
             BytesPerSecond(p.device.read_bytes_s), Seconds(one.time.memory_seconds),
             Flops(one.cost.flops()), FlopsPerSecond(p.device.flop_s),
             Seconds(one.time.compute_seconds));
  fmt::print(out, "\n  {:>5}{:>13}{:>14}{:>13}{:>13}{:>12}{:>16}  {}\n", "batch", "bytes a step",
             "FLOPs a step", "FLOPs/byte", "bound by", "a token in", "tokens/s in all", "");
  for (const BatchPrediction& b : p.batches) {
    fmt::print(out, "  {:>5}{:>13}{:>14}{:>13.1f}{:>13}{:>12}{:>16}  {}\n", b.batch,
               Bytes(b.cost.bytes()), Flops(b.cost.flops()), b.cost.intensity(), BoundOf(b.time),
               Seconds(b.time.seconds()), Speed(b.tokens_s()), b.fits ? "" : "does not fit");
  }
  if (p.ridge_batch == 0) {
    fmt::print(out,
               "\nridge    at no batch does arithmetic decide: reading a sequence's KV cache takes "
               "longer than computing its token\n");
  } else {
    fmt::print(out, "\nridge    from {} sequences on arithmetic decides\n",
               Grouped(std::llround(std::ceil(std::min(p.ridge_batch, 1e15)))));
  }
}

void PrintLinks(std::FILE* out, const ModelConfig& config, const DeviceLimits& device) {
  const double sent = AllReduceBytes(config, kRunGpus);
  fmt::print(
      out,
      "links    2 sums a layer x {} layers x {} x 2 bytes x 2 x {}/{} = {} / {} = {} a token\n",
      config.n_layers, config.d_model, kRunGpus - 1, kRunGpus, Bytes(sent),
      BytesPerSecond(device.link_bytes_s), Seconds(sent / device.link_bytes_s));
}

}  // namespace

void PrintDevice(std::FILE* out, const Subject& subject, const DevicePrediction& p) {
  const DeviceLimits& device = p.device;
  fmt::print(out, "\nOn {} ({})\n", Escaped(device.name),
             device.measured ? "as measured" : "as published, not measured");
  fmt::print(out, "limits   {} / {} = {:.1f} FLOPs a byte: the ridge\n",
             FlopsPerSecond(device.flop_s), BytesPerSecond(device.read_bytes_s), device.ridge());
  fmt::print(out, "weights  {} {}, {:.2f} bits each; keys and values in {}\n",
             Bytes(static_cast<double>(p.weights.n_bytes())), p.format, p.weights.bits_per_param(),
             Name(p.kv));
  PrintFit(out, subject, p);
  PrintPrefill(out, subject, p);
  PrintBatches(out, p);
}

void PrintLessons(std::FILE* out, const ModelConfig& config, const DevicePrediction& p) {
  fmt::print(out,
             "\nWhat each lesson changes: a prompt of {} tokens, an answer of {}; floors, for each "
             "token of the answer\n",
             kRunPrompt, kRunAnswer);
  fmt::print(out, "  {:<17}{:<56}{:>10}{:>12}{:>19}{:>10}{:>11}\n", "lesson", "what changes",
             "bytes", "FLOPs", "bound by", "time", "tokens/s");
  for (const LessonPrediction& l : p.lessons) {
    fmt::print(out, "  {:<17}{:<56}{:>10}{:>12}{:>19}{:>10}{:>11}\n", l.lesson, l.change,
               Bytes(l.bytes), Flops(l.flops), l.bound, Seconds(l.seconds), Speed(1 / l.seconds));
  }
  constexpr int64_t kLast = kRunPrompt + kRunAnswer - 1;
  fmt::print(
      out,
      "\nwithout  a cache, the tokens compute {} + {} + ... + {} positions, {:.1f} each; with it, "
      "1\n",
      kRunPrompt, kRunPrompt + 1, kLast, (kRunPrompt + kLast) / 2.0);
  if (p.device.is_gpu) {
    if (p.device.link_bytes_s > 0) PrintLinks(out, config, p.device);
    return;
  }
  const LessonPrediction& first = p.lessons.front();
  fmt::print(out,
             "ceiling  lesson 02 reads {} bytes of weights a token: {} / {} = {} tokens/s, if "
             "reading were all\n",
             Grouped(static_cast<int64_t>(first.weight_bytes)),
             BytesPerSecond(p.device.read_bytes_s), Bytes(first.weight_bytes),
             Speed(p.device.read_bytes_s / first.weight_bytes));
}

}  // namespace aios::lessons
