// The reference model's forward pass beside its limit: Eigen's own products with matrices of the
// same shapes as the weights, and nothing else. Both in GFLOP/s; their ratio is how much of Eigen's
// speed is left to a model that also normalizes, attends, allocates and waits for its threads.
//
//   python3 benchmarks/record.py bench_reference --benchmark_repetitions=5
#include <benchmark/benchmark.h>

#include <Eigen/Core>
#include <random>
#include <vector>

#include "common/model/model.h"
#include "common/model/reference.h"
#include "common/profile/probe.h"

namespace aios {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

const Model& SmolModel() {
  static const Model model = Model::Random("smollm2-135m");
  return model;
}

// FLOPs of the products with weights, of which the last token's logits only are wanted: a
// multiplication and an addition for each weight and token.
double WeightFlops(const ModelConfig& c, double n_tokens) {
  const double layer = static_cast<double>(c.d_model) *
                       static_cast<double>(2 * c.q_dim() + 2 * c.kv_dim() + 3 * c.d_ff);
  const double output = static_cast<double>(c.d_model * c.vocab_size);
  return 2 * (static_cast<double>(c.n_layers) * n_tokens * layer + output);
}

// FLOPs of attention: scores and values, for each pair of a token and one that it sees.
double AttentionFlops(const ModelConfig& c, double n_tokens) {
  const double pairs = n_tokens * (n_tokens + 1) / 2;
  return static_cast<double>(c.n_layers) * pairs * 2 * 2 * static_cast<double>(c.q_dim());
}

void SetRate(benchmark::State& state, double flops) {
  state.counters["GFLOP/s"] =
      benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

void BM_Forward(benchmark::State& state) {
  static const ReferenceModel reference(SmolModel().config(), SmolModel().weights());
  std::mt19937 random(1);
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < state.range(0); ++i) {
    tokens.push_back(static_cast<int32_t>(random() % SmolModel().config().vocab_size));
  }
  for (auto _ : state) benchmark::DoNotOptimize(reference.Forward(tokens).data());
  const auto n_tokens = static_cast<double>(tokens.size());
  const ModelConfig& c = SmolModel().config();
  SetRate(state, WeightFlops(c, n_tokens) + AttentionFlops(c, n_tokens));
}

void BM_EigenProducts(benchmark::State& state) {
  const ModelConfig& c = SmolModel().config();
  const int64_t n = state.range(0);
  struct Layer {
    Matrix wq, wk, wv, wo, w_gate, w_up, w_down;
  };
  // As many matrices as the model has: their weights come from memory, not from the cache.
  static const std::vector<Layer> layers = [&] {
    std::vector<Layer> all;
    for (int64_t i = 0; i < c.n_layers; ++i) {
      all.push_back({Matrix::Random(c.q_dim(), c.d_model), Matrix::Random(c.kv_dim(), c.d_model),
                     Matrix::Random(c.kv_dim(), c.d_model), Matrix::Random(c.d_model, c.q_dim()),
                     Matrix::Random(c.d_ff, c.d_model), Matrix::Random(c.d_ff, c.d_model),
                     Matrix::Random(c.d_model, c.d_ff)});
    }
    return all;
  }();
  static const Matrix output = Matrix::Random(c.vocab_size, c.d_model);
  const Matrix x = Matrix::Random(n, c.d_model);
  const Matrix h = Matrix::Random(n, c.d_ff);
  Matrix q(n, c.q_dim()), k(n, c.kv_dim()), up(n, c.d_ff), y(n, c.d_model);
  Matrix logits(1, c.vocab_size);
  for (auto _ : state) {
    for (const Layer& layer : layers) {
      q.noalias() = x * layer.wq.transpose();
      k.noalias() = x * layer.wk.transpose();
      k.noalias() = x * layer.wv.transpose();
      y.noalias() = q * layer.wo.transpose();
      up.noalias() = x * layer.w_gate.transpose();
      up.noalias() = x * layer.w_up.transpose();
      y.noalias() = h * layer.w_down.transpose();
    }
    logits.noalias() = x.topRows(1) * output.transpose();
    benchmark::ClobberMemory();
  }
  SetRate(state, WeightFlops(c, static_cast<double>(n)));
}

BENCHMARK(BM_Forward)->Arg(32)->Arg(128)->Arg(512)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(BM_EigenProducts)
    ->Arg(32)
    ->Arg(128)
    ->Arg(512)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace
}  // namespace aios

BENCHMARK_MAIN();
