// The reference model's forward pass beside its limit: Eigen's own matrix products of the same
// shapes, each timed alone on matrices of the same sizes. Both in GFLOP/s, counting the products
// only, so that their ratio is the part of the time that the forward pass spends in products.
//
//   bazel run //benchmarks:bench_reference -- --benchmark_repetitions=5
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

// FLOPs of a forward pass of which the last token's logits are wanted: two for each weight and
// token, and the products of attention (scores and values, of all pairs: the reference masks them
// afterwards).
double Flops(const ModelConfig& c, double n) {
  const double layer = static_cast<double>(c.d_model) *
                       static_cast<double>(2 * c.q_dim() + 2 * c.kv_dim() + 3 * c.d_ff);
  const double attention = 2 * n * static_cast<double>(c.q_dim());
  return 2 * (static_cast<double>(c.n_layers) * n * (layer + attention) +
              static_cast<double>(c.d_model * c.vocab_size));
}

void SetRate(benchmark::State& state, double n_tokens) {
  state.counters["GFLOP/s"] = benchmark::Counter(Flops(SmolModel().config(), n_tokens) * 1e-9,
                                                 benchmark::Counter::kIsIterationInvariantRate);
}

void BM_Forward(benchmark::State& state) {
  static const ReferenceModel reference(SmolModel().config(), SmolModel().weights());
  std::mt19937 random(1);
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < state.range(0); ++i) {
    tokens.push_back(static_cast<int32_t>(random() % SmolModel().config().vocab_size));
  }
  for (auto _ : state) benchmark::DoNotOptimize(reference.Forward(tokens).data());
  SetRate(state, static_cast<double>(tokens.size()));
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
  const Matrix head = Matrix::Random(n, c.head_dim);
  Matrix q(n, c.q_dim()), k(n, c.kv_dim()), up(n, c.d_ff), y(n, c.d_model), scores(n, n),
      values(n, c.head_dim);
  Matrix logits(1, c.vocab_size);
  for (auto _ : state) {
    for (const Layer& layer : layers) {
      q.noalias() = x * layer.wq.transpose();
      k.noalias() = x * layer.wk.transpose();
      k.noalias() = x * layer.wv.transpose();
      for (int64_t i = 0; i < c.n_heads; ++i) {
        scores.noalias() = head * head.transpose();
        values.noalias() = scores * head;
      }
      y.noalias() = q * layer.wo.transpose();
      up.noalias() = x * layer.w_gate.transpose();
      up.noalias() = x * layer.w_up.transpose();
      y.noalias() = h * layer.w_down.transpose();
    }
    logits.noalias() = x.topRows(1) * output.transpose();
    benchmark::ClobberMemory();
  }
  SetRate(state, static_cast<double>(n));
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
