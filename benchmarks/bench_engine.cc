// The engine with many sequences: decoding together, and a workload, beside what memory gives.
//
//     bazel run //benchmarks:bench_engine -- [--model PATH | --random-weights SHAPE] [--backend B]
//         [--dtype T] [--deterministic] [--rounds N] [--json FILE]
//         [--decode 1,8,32 --prompt-tokens 512 --tokens 64]
//         [--workload FILE | --requests 256 ...] [--rate R] [--max-seqs N] [--chunk N] [--whole]
//
// --decode: N sequences with prompts of --prompt-tokens random tokens get --tokens more each. A
// step counts if all of them decode in it. The limit: all weights and all keys and values before
// the step's tokens, read at the speed that this machine's (or GPU's) memory was measured to give.
// On a CPU arithmetic is the limit: beside it stands the prefill of a prompt of 512 before each
// round, in tokens and in the arithmetic of the products with weights. A token that is decoded has
// scores, of a prompt's tokens only the last.
//
// --requests: a workload (common/sched/workload.h), by default prompts and answers of 100 to 1,024
// tokens, all there at the beginning, or --rate a second. Greedy, and answers are as long as the
// workload says. Only tokens that were asked for count.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "common/backend/backend.h"
#include "common/base/cli.h"
#include "common/base/error.h"
#include "common/base/json.h"
#include "common/engine/engine.h"
#include "common/mm/kv_flags.h"
#include "common/model/model.h"
#include "common/profile/gpu_probe.h"
#include "common/profile/probe.h"
#include "common/sched/simulation.h"
#include "common/sched/workload.h"

namespace aios {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double Median(const std::vector<double>& numbers) { return Percentile(numbers, 50); }

struct Flags {
  std::string model, random_weights, backend = "auto", dtype = "auto", workload, json;
  bool deterministic = false, whole = false, no_overlap = false;
  int threads = 0, rounds = 3;
  std::vector<int64_t> decode;
  int64_t prompt_tokens = 1024, tokens = 64;
  WorkloadShape shape = {
      .min_prompt = 100, .max_prompt = 1024, .min_output = 100, .max_output = 1024};
  int64_t max_seqs = 256, chunk = 2048, step_tokens = 0;
  KvFlags kv;
};

Flags ParseFlags(int argc, char** argv) {
  Flags flags;
  CLI::App app("The engine with many sequences.");
  app.add_option("--model", flags.model, "default: the model that Bazel fetched");
  app.add_option("--random-weights", flags.random_weights, "a shape, such as llama-8b");
  app.add_option("--backend", flags.backend, "auto, cpu or cuda");
  app.add_option("--dtype", flags.dtype, "auto, f32 or bf16");
  app.add_flag("--deterministic", flags.deterministic, "the same bits whatever is in the batch");
  app.add_flag("--no-overlap", flags.no_overlap, "wait for each step before the next is prepared");
  app.add_option("--threads", flags.threads, "of the CPU; default: one for each core");
  app.add_option("--rounds", flags.rounds, "default: 3")->check(CLI::Range(1, 100));
  app.add_option("--decode", flags.decode, "so many sequences decode together")->delimiter(',');
  app.add_option("--prompt-tokens", flags.prompt_tokens, "with --decode: of each prompt");
  app.add_option("--tokens", flags.tokens, "with --decode: of each answer");
  app.add_option("--workload", flags.workload, "a file");
  app.add_option("--requests", flags.shape.n_requests, "or so many that are drawn");
  app.add_option("--min-prompt", flags.shape.min_prompt);
  app.add_option("--max-prompt", flags.shape.max_prompt);
  app.add_option("--min-output", flags.shape.min_output);
  app.add_option("--max-output", flags.shape.max_output);
  app.add_option("--rate", flags.shape.requests_per_second, "requests a second; 0: all at once");
  app.add_option("--max-seqs", flags.max_seqs, "that are computed together");
  app.add_option("--chunk", flags.chunk, "prompt tokens of a step");
  app.add_option("--step-tokens", flags.step_tokens, "rows of a step; default: chunk + max-seqs");
  app.add_flag("--whole", flags.whole, "prompts are not cut");
  app.add_option("--json", flags.json, "also write the figures there");
  AddKvFlags(app, flags.kv);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    std::exit(app.exit(help));
  } catch (const CLI::ParseError& error) {
    throw InputError("{} (see --help)", error.what());
  }
  if (flags.model.empty() && flags.random_weights.empty()) {
    flags.model = DefaultModel(argv[0]).string();
  }
  return flags;
}

// Bytes/s that the memory of this backend gives.
double ReadBandwidth(const Backend& backend, int threads) {
  if (backend.device() == Device::kCpu) {
    return MeasureReadBandwidth(threads > 0 ? threads : ProbeMachine().n_cores);
  }
  return MeasureGpuReadBandwidth(0);
}

class Bench {
 public:
  Bench(const Flags& flags, Backend& backend, const Model& model)
      : flags_(flags), backend_(backend), model_(model) {}

  std::unique_ptr<Engine> MakeEngine(int64_t max_seqs) const {
    const int64_t step_tokens =
        flags_.whole ? std::max(flags_.kv.context, int64_t{4096}) : flags_.chunk + max_seqs;
    return std::make_unique<Engine>(
        backend_, model_,
        EngineOptions{.kv = flags_.kv,
                      .share_prefixes = false,
                      .scheduler = {.max_seqs = max_seqs,
                                    .max_step_tokens =
                                        flags_.step_tokens > 0 ? flags_.step_tokens : step_tokens,
                                    .chunked_prefill = !flags_.whole,
                                    .prefill_chunk = flags_.chunk,
                                    .max_waiting = 100'000},
                      .overlap = flags_.no_overlap ? std::optional(false) : std::nullopt});
  }

  EngineRequest RequestOf(const WorkloadRequest& asked, int64_t index, uint64_t seed) const {
    return {.id = static_cast<SequenceId>(index),
            .generation = {.prompt_ids = PromptOf(asked, index, model_.config().vocab_size, seed),
                           .max_new_tokens = static_cast<int>(asked.n_output),
                           .max_context = model_.config().max_context}};
  }

  // Multiplications and additions with the weights, for n tokens and the scores of some.
  double Arithmetic(int64_t n_tokens, int64_t n_scores) const {
    const ModelConfig& config = model_.config();
    const int64_t table = config.vocab_size * config.d_model;
    const int64_t layers = model_.n_params() - (config.tied_embeddings ? 1 : 2) * table;
    return 2.0 * static_cast<double>(n_tokens * layers + n_scores * table);
  }

  // Beside what the CPU does with a prompt: before each round, for such machines are shared, and
  // are faster at one time than at another.
  Json DecodeAndPrefill(int64_t n_seqs, double bandwidth) const {
    const auto engine = MakeEngine(1);
    std::vector<double> prefills;
    Json json = Decode(n_seqs, bandwidth, [&](int64_t round) {
      engine->Submit(RequestOf({.n_prompt = 512, .n_output = 1}, round, 7));
      const auto start = Clock::now();
      while (engine->Step()) {
      }
      if (round > 0) prefills.push_back(512 / SecondsSince(start));
    });
    std::vector<double> tokens;
    for (size_t i = 0; i < prefills.size(); ++i) {
      tokens.push_back(json["tokens_per_s_of_rounds"][i].get<double>() / prefills[i]);
    }
    const double in_arithmetic = Arithmetic(512, 512) / Arithmetic(512, 1);
    json["prefill_512_tokens_per_s"] = Median(prefills);
    json["of_prefill_tokens"] = Median(tokens);
    json["of_prefill_tokens_of_rounds"] = tokens;
    json["of_prefill_arithmetic"] = Median(tokens) * in_arithmetic;
    fmt::print("  {:.0f}% of the prefill of 512 ({:.1f} tokens/s), {:.0f}% in arithmetic\n",
               Median(tokens) * 100, Median(prefills), Median(tokens) * in_arithmetic * 100);
    return json;
  }

  template <typename BeforeRound>
  Json Decode(int64_t n_seqs, double bandwidth, const BeforeRound& before_round) const {
    const auto engine = MakeEngine(n_seqs);
    std::vector<double> rates;
    std::vector<double> fractions;
    double host = 0;
    for (int64_t round = 0; round <= flags_.rounds; ++round) {
      before_round(round);
      for (int64_t i = 0; i < n_seqs; ++i) {
        engine->Submit(RequestOf({.n_prompt = flags_.prompt_tokens, .n_output = flags_.tokens},
                                 round * n_seqs + i, 7));
      }
      // From the first step in which all decode to the last.
      int64_t n_steps = -1;
      double bytes = 0;
      double schedule = 0;
      Clock::time_point start, end;
      while (engine->Step()) {
        const StepStats& step = engine->last_step();
        if (step.n_seqs != n_seqs || step.n_rows != n_seqs) continue;
        if (++n_steps == 0) {
          start = Clock::now();
          continue;
        }
        end = Clock::now();
        bytes += static_cast<double>(engine->bytes_per_token() +
                                     n_seqs * (flags_.prompt_tokens + n_steps) *
                                         engine->cache().bytes_per_token());
        schedule += step.schedule_seconds;
      }
      if (n_steps < 1) throw InputError("--decode {}: no step had all of them", n_seqs);
      if (round == 0) continue;
      const double seconds = std::chrono::duration<double>(end - start).count();
      rates.push_back(static_cast<double>(n_steps * n_seqs) / seconds);
      fractions.push_back(bytes / bandwidth / seconds);
      host = schedule / seconds;
    }
    const double rate = Median(rates);
    fmt::print(
        "decode of {:>3} at {}: {:>9.1f} tokens/s, {:>7.3f} ms a step, {:>5.1f}% of the "
        "limit (rounds {:.1f} to {:.1f}%), host {:.1f}%\n",
        n_seqs, flags_.prompt_tokens, rate, static_cast<double>(n_seqs) / rate * 1e3,
        Median(fractions) * 100, Percentile(fractions, 0) * 100, Percentile(fractions, 100) * 100,
        host * 100);
    return {{"sequences", n_seqs},
            {"prompt_tokens", flags_.prompt_tokens},
            {"tokens_per_s", rate},
            {"tokens_per_s_of_rounds", rates},
            {"step_ms", static_cast<double>(n_seqs) / rate * 1e3},
            {"limit_fraction", Median(fractions)},
            {"limit_fraction_of_rounds", fractions},
            {"host_share", host}};
  }

  Json Serve(const Workload& workload) const {
    const auto engine = MakeEngine(flags_.max_seqs);
    Json rounds = Json::array();
    std::vector<double> rates;
    for (int round = 0; round <= flags_.rounds; ++round) {
      rounds.push_back(ServeOnce(*engine, workload, round));
      // The first one loads kernels and records graphs.
      if (round == 0) rounds.clear();
    }
    for (const Json& of : rounds) rates.push_back(of["output_tokens_per_s"].get<double>());
    fmt::print("median {:.0f} output tokens/s\n", Median(rates));
    return {{"requests", workload.size()},
            {"max_seqs", flags_.max_seqs},
            {"chunk", flags_.whole ? 0 : flags_.chunk},
            {"pages", engine->cache().n_pages()},
            {"output_tokens_per_s", Median(rates)},
            {"rounds", rounds}};
  }

 private:
  struct Times {
    double submitted = 0;
    std::vector<double> tokens;
  };

  Json ServeOnce(Engine& engine, const Workload& workload, int round) const {
    std::vector<Times> times(workload.size());
    std::vector<EngineRequest> requests;
    int64_t n_wanted = 0;
    const auto start = Clock::now();
    for (size_t i = 0; i < workload.size(); ++i) {
      requests.push_back(RequestOf(workload[i], static_cast<int64_t>(i), 11));
      requests.back().id += static_cast<SequenceId>(round) << 32;
      requests.back().on_token = [&, i](TokenId) {
        times[i].tokens.push_back(SecondsSince(start));
      };
      times[i].tokens.reserve(workload[i].n_output);
      n_wanted += workload[i].n_output;
    }
    int64_t n_preempted = 0;
    engine.Observe([&](const SchedulerEvent& event) {
      n_preempted += event.kind == SchedulerEvent::Kind::kPreempted ? 1 : 0;
    });
    StepStats stats;
    const double begin = SecondsSince(start);
    size_t n_submitted = 0;
    bool more = true;
    while (more || n_submitted < workload.size()) {
      const double now = SecondsSince(start) - begin;
      while (n_submitted < workload.size() && workload[n_submitted].arrival <= now) {
        times[n_submitted].submitted = begin + now;
        engine.Submit(std::move(requests[n_submitted++]));
      }
      more = engine.Step();
      stats += engine.last_step();
      if (!more && n_submitted < workload.size()) std::this_thread::yield();
    }
    const double seconds = SecondsSince(start) - begin;

    std::vector<double> first, gaps;
    int64_t n_tokens = 0;
    for (const Times& of : times) {
      n_tokens += static_cast<int64_t>(of.tokens.size());
      first.push_back(of.tokens.front() - of.submitted);
      for (size_t i = 1; i < of.tokens.size(); ++i) gaps.push_back(of.tokens[i] - of.tokens[i - 1]);
    }
    if (n_tokens != n_wanted) throw InputError("{} tokens came, of {}", n_tokens, n_wanted);
    Json json = {{"output_tokens_per_s", static_cast<double>(n_tokens) / seconds},
                 {"seconds", seconds},
                 {"output_tokens", n_tokens},
                 {"steps", stats.n_steps},
                 {"rows", stats.n_rows},
                 {"host_share", stats.schedule_seconds / seconds},
                 {"enqueue_share", stats.forward_seconds / seconds},
                 {"wait_share", stats.wait_seconds / seconds},
                 {"preemptions", n_preempted},
                 {"first_token_ms",
                  {{"p50", Median(first) * 1e3},
                   {"p95", Percentile(first, 95) * 1e3},
                   {"p99", Percentile(first, 99) * 1e3}}},
                 {"gap_ms",
                  {{"p50", Median(gaps) * 1e3},
                   {"p95", Percentile(gaps, 95) * 1e3},
                   {"p99", Percentile(gaps, 99) * 1e3}}}};
    fmt::print(
        "{} requests: {:.0f} output tokens/s in {:.2f} s, {} steps, {:.0f} rows each; host "
        "{:.1f}%, enqueue {:.1f}%, wait {:.1f}%; {} preemptions; first token p50 {:.0f} p99 "
        "{:.0f} ms; gap p50 {:.2f} p95 {:.2f} p99 {:.2f} ms\n",
        workload.size(), static_cast<double>(n_tokens) / seconds, seconds, stats.n_steps,
        static_cast<double>(stats.n_rows) / static_cast<double>(stats.n_steps),
        stats.schedule_seconds / seconds * 100, stats.forward_seconds / seconds * 100,
        stats.wait_seconds / seconds * 100, n_preempted, Median(first) * 1e3,
        Percentile(first, 99) * 1e3, Median(gaps) * 1e3, Percentile(gaps, 95) * 1e3,
        Percentile(gaps, 99) * 1e3);
    return json;
  }

  const Flags& flags_;
  Backend& backend_;
  const Model& model_;
};

int Main(int argc, char** argv) {
  const Flags flags = ParseFlags(argc, argv);
  const Model model =
      flags.random_weights.empty() ? Model::Load(flags.model) : Model::Random(flags.random_weights);
  const auto backend = MakeBackend({.backend = flags.backend,
                                    .dtype = flags.dtype,
                                    .n_threads = flags.threads,
                                    .deterministic = flags.deterministic});
  const double bandwidth = ReadBandwidth(*backend, flags.threads);
  fmt::print("{}, {}; memory read {:.1f} GB/s\n", model.config().name, backend->description(),
             bandwidth * 1e-9);
  const Bench bench(flags, *backend, model);
  Json json = {{"model", model.config().name},
               {"backend", backend->description()},
               {"dtype", Name(backend->activation_dtype())},
               {"deterministic", flags.deterministic},
               {"overlap", !flags.no_overlap},
               {"read_gb_s", bandwidth * 1e-9}};
  if (!flags.decode.empty()) {
    for (const int64_t n_seqs : flags.decode) {
      json["decode"].push_back(backend->device() == Device::kCpu
                                   ? bench.DecodeAndPrefill(n_seqs, bandwidth)
                                   : bench.Decode(n_seqs, bandwidth, [](int64_t) {}));
    }
  }
  if (!flags.workload.empty()) json["workload"] = bench.Serve(ReadWorkload(flags.workload));
  if (flags.shape.n_requests > 0) json["workload"] = bench.Serve(DrawWorkload(flags.shape, 0));
  if (!flags.json.empty()) std::ofstream(flags.json) << json.dump(1) << "\n";
  return 0;
}

}  // namespace
}  // namespace aios

int main(int argc, char** argv) {
  return aios::RunMain([&] { return aios::Main(argc, argv); });
}
