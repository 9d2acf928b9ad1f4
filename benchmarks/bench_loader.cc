// How long it takes to open a model: map the file, walk its metadata, check the bounds of every
// tensor.
//
//     bazel run //benchmarks:bench_loader
//
// Warm: the file is in the page cache. Weights are mapped, not read, so that the time does not
// depend on their size. Vocabulary decodes what a tokenizer asks for first.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <string>

#include "common/loader/checkpoint.h"

namespace aios {
namespace {

void Open(benchmark::State& state, const std::string& path) {
  for (auto _ : state) {
    const Checkpoint checkpoint = Checkpoint::Open(path);
    benchmark::DoNotOptimize(checkpoint.n_bytes());
  }
}

void Vocabulary(benchmark::State& state, const std::string& path) {
  const Checkpoint checkpoint = Checkpoint::Open(path);
  for (auto _ : state) {
    benchmark::DoNotOptimize(checkpoint.gguf()->Strings("tokenizer.ggml.tokens"));
    benchmark::DoNotOptimize(checkpoint.gguf()->Strings("tokenizer.ggml.merges"));
    benchmark::DoNotOptimize(checkpoint.gguf()->Ints("tokenizer.ggml.token_type"));
  }
}

}  // namespace
}  // namespace aios

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s MODEL.gguf [--benchmark_...]\n", argv[0]);
    return 2;
  }
  const std::string model = argv[1];
  benchmark::RegisterBenchmark("Open", aios::Open, model)->Unit(benchmark::kMillisecond);
  benchmark::RegisterBenchmark("Vocabulary", aios::Vocabulary, model)
      ->Unit(benchmark::kMillisecond);
  benchmark::RunSpecifiedBenchmarks();
}
