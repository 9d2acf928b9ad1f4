// How fast a tokenizer loads, encodes, decodes and is trained.
//
//     python3 benchmarks/tokenizer_texts.py texts
//     bazel run //benchmarks:bench_tokenizer -- --texts=texts [--model=PATH]
//
// One thread. "bytes_per_second" counts the text's bytes. EncodeCold begins with an empty word
// cache each time, as the first text of a program does; EncodeWarm has it from the last time, which
// is what a server's next request meets.
#include <benchmark/benchmark.h>
#include <time.h>

#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/base/cli.h"
#include "common/base/mapped_file.h"
#include "common/text/bpe_trainer.h"
#include "common/text/tokenizer.h"

namespace aios {
namespace {

void Load(benchmark::State& state, const std::filesystem::path& model) {
  for (auto _ : state) benchmark::DoNotOptimize(LoadTokenizerFromPath(model));
}

void EncodeWarm(benchmark::State& state, const Tokenizer& tokenizer, const std::string& text) {
  for (auto _ : state) {
    benchmark::DoNotOptimize(tokenizer.Encode(text, SpecialTokens::kAsText));
  }
  state.SetBytesProcessed(state.iterations() * std::ssize(text));
}

// The processor time that this thread has used: other programs on the machine do not count.
double ThreadSeconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

void EncodeCold(benchmark::State& state, const Tokenizer& tokenizer, const std::string& text) {
  for (auto _ : state) {
    // The cache belongs to a thread: a new one has none.
    std::thread([&] {
      const double start = ThreadSeconds();
      benchmark::DoNotOptimize(tokenizer.Encode(text, SpecialTokens::kAsText));
      state.SetIterationTime(ThreadSeconds() - start);
    }).join();
  }
  state.SetBytesProcessed(state.iterations() * std::ssize(text));
}

void Decode(benchmark::State& state, const Tokenizer& tokenizer, const std::string& text) {
  const std::vector<TokenId> ids = tokenizer.Encode(text, SpecialTokens::kAsText);
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer.Decode(ids));
  state.SetBytesProcessed(state.iterations() * std::ssize(text));
  state.counters["tokens"] = static_cast<double>(ids.size());
}

constexpr int kTrainedVocabulary = 8192;

void Train(benchmark::State& state, const std::string& text) {
  for (auto _ : state) {
    const TrainedBpe trained = TrainBpe(text, {.vocab_size = kTrainedVocabulary}, "the text");
    state.counters["tokens"] = static_cast<double>(trained.tokens.size());
  }
  state.SetBytesProcessed(state.iterations() * std::ssize(text));
}

// The value of --name=value, which is taken out of the arguments.
std::string TakeFlag(std::vector<char*>& args, std::string_view name) {
  const std::string prefix = "--" + std::string(name) + "=";
  for (auto it = args.begin(); it != args.end(); ++it) {
    const std::string_view arg = *it;
    if (!arg.starts_with(prefix)) continue;
    args.erase(it);
    return std::string(arg.substr(prefix.size()));
  }
  return {};
}

int Run(int argc, char** argv) {
  std::vector<char*> args(argv, argv + argc);
  std::filesystem::path model = TakeFlag(args, "model");
  if (model.empty()) model = DefaultModel(argv[0]);
  const std::filesystem::path folder = TakeFlag(args, "texts");
  const std::unique_ptr<Tokenizer> tokenizer = LoadTokenizerFromPath(model);

  constexpr auto kUnit = benchmark::kMillisecond;
  benchmark::RegisterBenchmark("Load", Load, model)->Unit(kUnit);
  std::vector<std::unique_ptr<std::string>> texts;
  for (const std::string name : {"english", "code", "chinese"}) {
    texts.push_back(std::make_unique<std::string>(ReadTextFile(folder / (name + ".txt"))));
    const auto add = [&](const char* what, auto function) {
      return benchmark::RegisterBenchmark((what + ("/" + name)).c_str(), function,
                                          std::ref(*tokenizer), std::ref(*texts.back()))
          ->Unit(kUnit);
    };
    add("EncodeCold", EncodeCold)->UseManualTime();
    add("EncodeWarm", EncodeWarm);
    add("Decode", Decode);
    benchmark::RegisterBenchmark(("Train/" + name).c_str(), Train, std::ref(*texts.back()))
        ->Unit(kUnit);
  }
  int n_args = static_cast<int>(args.size());
  benchmark::Initialize(&n_args, args.data());
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace aios

int main(int argc, char** argv) {
  return aios::RunMain([&] { return aios::Run(argc, argv); });
}
