// A decode step of many sequences on a GPU, whole: 1 to 256 sequences of 1,024 keys, as the engine
// gives it to the device (graphs, sampling on the device, a step given before the one before is
// done). The limit: the weights and the sequences' keys and values, read once at the read stream of
// this GPU, measured in the same run.
//
// "step": the time from one step's tokens to the next's. "host": what the host takes to give a step
// to the device, which must be less. Then the same with --deterministic.
//
//   bazel run -c opt //benchmarks:bench_batched_decode -- [--json FILE] [--quick]
//       [--shape NAME ...] [--batch N ...] [--context N] [--dtype bf16|f32]
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "common/backend/backend.h"
#include "common/base/cli.h"
#include "common/base/error.h"
#include "common/mm/kv_storage.h"
#include "common/model/model.h"
#include "common/model/transformer.h"
#include "kernels/ladder/harness.h"

namespace aios {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kPageSize = KvStorage::kDefaultPageSize;
constexpr int32_t kPrefillRows = 256;
constexpr int kSteps = 20;  // of a repeat
constexpr int kRepeats = 7;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double Median(std::vector<double> numbers) {
  const auto middle = numbers.begin() + static_cast<std::ptrdiff_t>(numbers.size() / 2);
  std::nth_element(numbers.begin(), middle, numbers.end());
  return *middle;
}

struct StepTime {
  double step = 0;
  double host = 0;
};

// Sequences of `context` keys, each with pages of its own.
class Sequences {
 public:
  Sequences(Backend& backend, const Model& model, int32_t max_seqs, int32_t context)
      : backend_(backend),
        context_(context),
        n_pages_(static_cast<int32_t>(PagesFor(context, kPageSize))),
        vocab_size_(model.config().vocab_size),
        transformer_(backend, model.config(), model.weights(),
                     {.n_tokens = std::max(max_seqs, kPrefillRows),
                      .n_seqs = max_seqs,
                      .n_logit_rows = max_seqs,
                      .max_pages = n_pages_},
                     kPageSize),
        kv_(backend, model.config(), int64_t{max_seqs} * n_pages_, kPageSize),
        pages_(static_cast<size_t>(max_seqs) * n_pages_) {
    std::iota(pages_.begin(), pages_.end(), 0);
    std::shuffle(pages_.begin(), pages_.end(), std::mt19937(1));
    // One is computed, the others are copies of it: what is read does not depend on the numbers.
    std::mt19937 random(2);
    for (int32_t begin = 0; begin < context; begin += kPrefillRows) {
      const int32_t n = std::min(kPrefillRows, context - begin);
      Batch batch = {.seq_offsets = {0, n},
                     .kv_lengths = {begin + n},
                     .page_table = {pages_.begin(), pages_.begin() + n_pages_},
                     .max_pages = n_pages_};
      for (int32_t i = 0; i < n; ++i) {
        batch.tokens.push_back(static_cast<int32_t>(random() % vocab_size_));
        batch.positions.push_back(begin + i);
      }
      transformer_.Forward(batch, kv_.layers());
    }
    for (const KvPages& layer : kv_.layers()) {
      for (const MutableTensor& pages : {layer.k, layer.v}) {
        for (size_t i = n_pages_; i < pages_.size(); ++i) {
          backend_.Copy(PageOf(pages, pages_[i % n_pages_]), PageOf(pages, pages_[i]));
        }
      }
    }
    backend_.Synchronize();
  }

  StepTime Time(int32_t n_seqs) {
    Batch batch = {.max_pages = n_pages_};
    for (int32_t s = 0; s < n_seqs; ++s) {
      batch.tokens.push_back(static_cast<int32_t>((s * 7919 + 1) % vocab_size_));
      batch.positions.push_back(context_ - 1);
      batch.seq_offsets.push_back(s + 1);
      batch.kv_lengths.push_back(context_);
      batch.logit_rows.push_back(s);
      batch.sampling.push_back({});
    }
    batch.page_table.assign(pages_.begin(), pages_.begin() + int64_t{n_seqs} * n_pages_);
    std::vector<Sampled> sampled(n_seqs);
    std::vector<double> step, host;
    for (int repeat = -1; repeat < kRepeats; ++repeat) {  // the first loads and records
      double giving = 0;
      const auto give = [&] {
        const Clock::time_point start = Clock::now();
        transformer_.Forward(batch, kv_.layers());
        giving += SecondsSince(start);
      };
      give();
      backend_.TakeSampled(sampled);
      if (sampled.front().token == Sampled::kNoToken) throw InputError("the logits are damaged");
      give();
      backend_.Synchronize();
      backend_.TakeSampled(sampled);
      give();
      giving = 0;
      const Clock::time_point start = Clock::now();
      for (int i = 0; i < kSteps; ++i) {
        give();
        backend_.TakeSampled(sampled);
      }
      // From one step's end to that of the kSteps-th after it: the last is still under way, as one
      // was when the clock was read first.
      step.push_back(SecondsSince(start) / kSteps);
      host.push_back(giving / kSteps);
      backend_.TakeSampled(sampled);
    }
    step.erase(step.begin());
    host.erase(host.begin());
    return {.step = Median(step), .host = Median(host)};
  }

  int64_t bytes_of_weights() const { return transformer_.bytes_per_token(); }

 private:
  static MutableTensor PageOf(const MutableTensor& pages, int32_t page) {
    const Shape shape = {1, pages.shape()[1], pages.shape()[2], pages.shape()[3]};
    return {pages.As<std::byte>() + page * BytesOf(pages.dtype(), shape.n_elements()),
            pages.dtype(), shape, pages.device()};
  }

  Backend& backend_;
  int32_t context_;
  int32_t n_pages_;
  int64_t vocab_size_;
  Transformer transformer_;
  KvStorage kv_;
  std::vector<int32_t> pages_;  // [max_seqs, n_pages_]
};

struct Options {
  std::vector<std::string> shapes = {"qwen3-0.6b", "llama-1b", "llama-8b"};
  std::vector<int32_t> batches = {1, 8, 16, 32, 64, 128, 256};
  int32_t context = 1024;
  std::string dtype = "bf16";
  std::string json;
  bool quick = false;
};

void Main(Options options) {
  if (!WhyNoCuda(0).empty()) throw InputError("{}", WhyNoCuda(0));
  if (options.quick) {
    options.shapes = {"qwen3-0.6b"};
    options.batches = {1, 32};
  }
  const ladder::Limits limits = ladder::MeasureLimits(/*with_gemm=*/false);
  std::printf("%s: read %.2f TB/s\n", limits.device.c_str(), limits.read_bytes_s * 1e-12);
  std::vector<ladder::Row> rows;
  for (const std::string& shape : options.shapes) {
    const Model model = Model::Random(shape);
    for (const bool deterministic : {false, true}) {
      const auto backend =
          MakeBackend({.backend = "cuda", .dtype = options.dtype, .deterministic = deterministic});
      Sequences sequences(*backend, model, std::ranges::max(options.batches), options.context);
      const int64_t bytes_of_key =
          KvStorage::BytesPerPage(*backend, model.config(), kPageSize) / kPageSize;
      for (const int32_t n : options.batches) {
        const StepTime time = sequences.Time(n);
        const auto bytes = static_cast<double>(sequences.bytes_of_weights() +
                                               int64_t{n} * options.context * bytes_of_key);
        const std::string what =
            shape + ", " + std::to_string(n) + " x " + std::to_string(options.context);
        const char* name = deterministic ? "deterministic" : "default";
        std::printf("%s, %s: step %.3f ms, %.0f tok/s, limit %.3f ms (%.1f%%), host %.3f ms\n",
                    what.c_str(), name, time.step * 1e3, n / time.step,
                    bytes / limits.read_bytes_s * 1e3,
                    bytes / limits.read_bytes_s / time.step * 100, time.host * 1e3);
        std::fflush(stdout);
        const auto add = [&](const char* op, double seconds, double of_bytes) {
          rows.push_back({.op = op,
                          .level = deterministic ? 2 : 1,
                          .name = name,
                          .shape = what,
                          .seconds = seconds,
                          .bytes = of_bytes,
                          .limit = limits.read_bytes_s,
                          .memory_bound = true});
        };
        add("batched_decode", time.step, bytes);
        add("batched_decode_host", time.host, 0);
      }
    }
  }
  if (!options.json.empty()) WriteJson(options.json, limits, rows);
}

}  // namespace
}  // namespace aios

int main(int argc, char** argv) {
  aios::Options options;
  CLI::App app("A decode step of many sequences on a GPU, beside the limit.");
  app.add_option("--shape", options.shapes, "models, with random weights");
  app.add_option("--batch", options.batches, "sequences")->check(CLI::Range(1, 1024));
  app.add_option("--context", options.context, "keys of each")->check(CLI::Range(1, 65536));
  app.add_option("--dtype", options.dtype)->check(CLI::IsMember({"bf16", "f32"}));
  app.add_option("--json", options.json, "where the report goes");
  app.add_flag("--quick", options.quick, "one small model");
  CLI11_PARSE(app, argc, argv);
  try {
    aios::Main(options);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return 2;
  }
}
