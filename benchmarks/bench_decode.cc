// The engine on the CPU: prefill, decode with a KV cache, and startup, beside what the memory
// gives.
//
//     bazel run //benchmarks:bench_decode -- [--threads N] [--rounds N] [--model PATH] [--json
//     FILE]
//
// Prefill: a batch of 512 tokens from an empty cache, of which only the last one's logits are
// wanted. Decode: tokens one by one after a prompt of 36 and of 512, each chosen (greedy) and fed
// back. A round is each of these once; figures are the median of the rounds (of a decode: of all
// its steps), and the best. Startup: from the start of a fresh process to its first token of an
// answer to 36 tokens, the model's file in the page cache. Profile: where the time of a step goes.
//
// llama.cpp does the same in benchmarks/llama_cpp_peer.py.
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <fstream>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "benchmarks/timed_backend.h"
#include "common/backend/cpu_backend.h"
#include "common/base/cli.h"
#include "common/base/error.h"
#include "common/base/json.h"
#include "common/mm/kv_storage.h"
#include "common/model/model.h"
#include "common/model/transformer.h"
#include "common/profile/probe.h"
#include "common/text/chat_template.h"
#include "common/text/tokenizer.h"

extern char** environ;

namespace aios {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kPageSize = KvStorage::kDefaultPageSize;
constexpr int kDecodeTokens = 128;
constexpr int kShortPrompt = 36;
constexpr int kLongPrompt = 512;
// 36 tokens in the model's chat template.
constexpr const char* kPrompt = "Why is the sky blue?";

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double Median(std::vector<double> numbers) {
  const auto middle = numbers.begin() + static_cast<std::ptrdiff_t>(numbers.size() / 2);
  std::nth_element(numbers.begin(), middle, numbers.end());
  return *middle;
}
double Min(const std::vector<double>& numbers) {
  return *std::min_element(numbers.begin(), numbers.end());
}

// One sequence and its cache.
class Engine {
 public:
  Engine(Backend& backend, const Model& model, int64_t max_context, int32_t max_rows)
      : backend_(backend),
        limits_{.n_tokens = max_rows,
                .n_seqs = 1,
                .n_logit_rows = 1,
                .max_pages = static_cast<int32_t>((max_context + kPageSize - 1) / kPageSize)},
        transformer_(backend, model.config(), model.weights(), limits_, kPageSize),
        kv_(backend, model.config(), limits_.max_pages, kPageSize) {
    batch_.page_table.resize(limits_.max_pages);
    std::iota(batch_.page_table.begin(), batch_.page_table.end(), 0);
    batch_.max_pages = limits_.max_pages;
  }

  void Forget() { n_cached_ = 0; }

  // The greedy choice of what follows `tokens`, which come after those of earlier steps.
  int32_t Step(std::span<const int32_t> tokens) {
    const auto n = static_cast<int32_t>(tokens.size());
    batch_.tokens.assign(tokens.begin(), tokens.end());
    batch_.positions.resize(tokens.size());
    std::iota(batch_.positions.begin(), batch_.positions.end(), n_cached_);
    batch_.seq_offsets = {0, n};
    n_cached_ += n;
    batch_.kv_lengths = {n_cached_};
    batch_.logit_rows = {n - 1};
    batch_.sampling = {SampleRow{}};
    transformer_.Forward(batch_, kv_.layers());
    Sampled next;
    backend_.TakeSampled({&next, 1});
    if (next.token == Sampled::kNoToken) throw InputError("the model's weights are damaged");
    return next.token;
  }

  int64_t bytes_per_token() const { return transformer_.bytes_per_token(); }

 private:
  Backend& backend_;
  BatchLimits limits_;
  Transformer transformer_;
  KvStorage kv_;
  Batch batch_;
  int32_t n_cached_ = 0;
};

std::vector<int32_t> RandomPrompt(int n, int64_t vocab_size, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> tokens;
  for (int i = 0; i < n; ++i) tokens.push_back(static_cast<int32_t>(random() % vocab_size));
  return tokens;
}

// ---- Speed --------------------------------------------------------------------------------------

struct Rates {
  std::vector<double> prefill;                // seconds of each round
  std::array<std::vector<double>, 2> decode;  // seconds of each step; after 36 and 512 tokens
};

void MeasureRound(Engine& engine, int64_t vocab_size, uint32_t seed, Rates& rates) {
  const int prompts[] = {kShortPrompt, kLongPrompt};
  for (int i = 0; i < 2; ++i) {
    engine.Forget();
    const auto start = Clock::now();
    int32_t next = engine.Step(RandomPrompt(prompts[i], vocab_size, seed));
    if (prompts[i] == kLongPrompt) rates.prefill.push_back(SecondsSince(start));
    for (int step = 0; step < kDecodeTokens; ++step) {
      const auto begin = Clock::now();
      next = engine.Step({&next, 1});
      rates.decode[i].push_back(SecondsSince(begin));
    }
  }
}

Json Rate(const char* what, double n_tokens, const std::vector<double>& seconds) {
  const double median = n_tokens / Median(seconds), best = n_tokens / Min(seconds);
  fmt::print("{:<28} {:>7.1f} tokens/s (best {:.1f})\n", what, median, best);
  return {{"tok_s", median}, {"best_tok_s", best}};
}

// ---- Profile ------------------------------------------------------------------------------------

Json Profile(const Model& model, int threads, double bandwidth) {
  OperationTimes times;
  const auto backend = MakeTimedBackend(MakeCpuBackend(threads), times);
  Engine engine(*backend, model, kLongPrompt + kDecodeTokens, kLongPrompt);
  Json json;
  const auto print = [&](const char* title, double n_steps) {
    double total = 0;
    for (const auto& [name, time] : times) total += time.seconds;
    fmt::print("\n{}: {:.0f} us in operations\n", title, total / n_steps * 1e6);
    for (const auto& [name, time] : times) {
      fmt::print("  {:<32} {:>5.1f}% {:>9.1f} us, {:>4.0f} calls of {:>7.1f} us", name,
                 100 * time.seconds / total, time.seconds / n_steps * 1e6,
                 static_cast<double>(time.n_calls) / n_steps,
                 time.seconds / static_cast<double>(time.n_calls) * 1e6);
      if (time.weight_bytes > 0) {
        fmt::print(", {:>5.1f} GB/s", static_cast<double>(time.weight_bytes) / time.seconds * 1e-9);
      }
      fmt::print("\n");
      json[title][name] = {{"calls", static_cast<double>(time.n_calls) / n_steps},
                           {"us", time.seconds / n_steps * 1e6}};
    }
    times.clear();
  };
  const auto prompt = RandomPrompt(kLongPrompt, model.config().vocab_size, 7);
  engine.Step(prompt);  // warms up
  engine.Forget();
  times.clear();
  int32_t next = engine.Step(prompt);
  print("prefill of 512", 1);
  for (int step = 0; step < kDecodeTokens; ++step) next = engine.Step({&next, 1});
  print("decode after 512", kDecodeTokens);
  fmt::print("memory read {:.1f} GB/s\n", bandwidth * 1e-9);
  return json;
}

// ---- Startup ------------------------------------------------------------------------------------

// What a fresh process does: all that a program needs for its first token.
int FirstToken(const std::string& path, int threads, bool verbose) {
  const auto start = Clock::now();
  auto last = start;
  const auto lap = [&](const char* what) {
    if (verbose) fmt::print(stderr, "{:<12} {:6.1f} ms\n", what, SecondsSince(last) * 1e3);
    last = Clock::now();
  };
  const Model model = Model::Load(path);
  lap("model");
  const auto tokenizer = LoadTokenizer(*model.checkpoint());
  const auto chat = ChatTemplate::Detect(tokenizer->chat_template);
  if (!chat.has_value()) throw InputError("{}: no chat template that is supported", path);
  const std::array<ChatMessage, 1> messages = {{{.role = "user", .content = kPrompt}}};
  const auto prompt = chat->Encode(*tokenizer, messages);
  lap("tokenizer");
  const auto backend = MakeCpuBackend(threads);
  lap("backend");
  Engine engine(*backend, model, model.config().max_context, 2048);
  lap("engine");
  const int32_t token = engine.Step(prompt);
  lap("prefill");
  const std::string bytes(tokenizer->TokenBytes(token));
  fmt::print("{} tokens: {}\n", prompt.size(), bytes);
  std::fflush(stdout);
  return 0;
}

// From the start of a process to the first byte that it writes.
double MeasureStartup(const std::string& path, int threads) {
  int ends[2];
  if (::pipe(ends) != 0) throw InputError("no pipe can be made");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  std::vector<std::string> arguments = {"bench_decode",  "--model",   path,
                                        "--first-token", "--threads", std::to_string(threads)};
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const auto start = Clock::now();
  pid_t child = 0;
  const int error =
      ::posix_spawn(&child, "/proc/self/exe", &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  if (error != 0) throw InputError("cannot start this program again");
  char byte = 0;
  const bool answered = ::read(ends[0], &byte, 1) == 1;
  const double seconds = SecondsSince(start);
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!answered) throw InputError("{}: no first token", path);
  return seconds;
}

// ---- Program ------------------------------------------------------------------------------------

double LoadAverage() {
  double load = 0;
  return ::getloadavg(&load, 1) == 1 ? load : 0;
}

struct Flags {
  std::string model, json;
  int threads = 0;
  int rounds = 5;
  bool first_token = false, verbose = false, only_startup = false, no_profile = false;
};

Flags ParseFlags(int argc, char** argv) {
  Flags flags;
  CLI::App app("The engine on the CPU: prefill, decode and startup.");
  app.add_option("--model", flags.model, "a GGUF file; default: the model that Bazel fetched");
  app.add_option("--threads", flags.threads, "default: one for each core");
  app.add_option("--rounds", flags.rounds, "default: 5")->check(CLI::Range(1, 1000));
  app.add_option("--json", flags.json, "also write the figures there");
  app.add_flag("--startup", flags.only_startup, "only the startup");
  app.add_flag("--no-profile", flags.no_profile, "only the speed");
  app.add_flag("--first-token", flags.first_token, "answer with one token, and no more");
  app.add_flag("--verbose", flags.verbose, "with --first-token: where its time goes");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    std::exit(app.exit(help));
  } catch (const CLI::ParseError& error) {
    throw InputError("{} (see --help)", error.what());
  }
  if (flags.model.empty()) flags.model = DefaultModel(argv[0]).string();
  return flags;
}

int Main(int argc, char** argv) {
  const Flags flags = ParseFlags(argc, argv);
  if (flags.first_token) return FirstToken(flags.model, flags.threads, flags.verbose);

  Json json = {{"load_average", LoadAverage()}, {"threads", flags.threads}};
  if (!flags.only_startup) {
    const Model model = Model::Load(flags.model);
    const int64_t vocab_size = model.config().vocab_size;
    const auto backend = MakeCpuBackend(flags.threads);
    Rates rates;
    const double bandwidth =
        MeasureReadBandwidth(flags.threads > 0 ? flags.threads : ProbeMachine().n_cores);
    {
      Engine engine(*backend, model, kLongPrompt + kDecodeTokens, kLongPrompt);
      Rates warm_up;
      MeasureRound(engine, vocab_size, 0, warm_up);
      for (int round = 1; round <= flags.rounds; ++round) {
        MeasureRound(engine, vocab_size, static_cast<uint32_t>(round), rates);
      }
      const double limit = bandwidth / static_cast<double>(engine.bytes_per_token());
      fmt::print("{}, load {:.2f}; memory read {:.1f} GB/s: at most {:.0f} tokens/s\n",
                 backend->description(), LoadAverage(), bandwidth * 1e-9, limit);
      json["limit_tok_s"] = limit;
      json["read_gb_s"] = bandwidth * 1e-9;
    }
    json["prefill_512"] = Rate("prefill of 512", kLongPrompt, rates.prefill);
    json["decode_36"] = Rate("decode at 36 to 164", 1, rates.decode[0]);
    json["decode_512"] = Rate("decode at 512 to 640", 1, rates.decode[1]);
    if (!flags.no_profile) json["profile"] = Profile(model, flags.threads, bandwidth);
  }
  if (!flags.no_profile || flags.only_startup) {
    std::vector<double> startups;
    MeasureStartup(flags.model, flags.threads);
    for (int i = 0; i < flags.rounds; ++i) {
      startups.push_back(MeasureStartup(flags.model, flags.threads));
    }
    fmt::print("startup to first token       {:>7.0f} ms (best {:.0f})\n", Median(startups) * 1e3,
               Min(startups) * 1e3);
    json["startup_ms"] = {{"median", Median(startups) * 1e3}, {"best", Min(startups) * 1e3}};
  }
  if (!flags.json.empty()) std::ofstream(flags.json) << json.dump(1) << "\n";
  return 0;
}

}  // namespace
}  // namespace aios

int main(int argc, char** argv) {
  return aios::RunMain([&] { return aios::Main(argc, argv); });
}
