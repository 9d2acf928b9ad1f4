#include "common/model/model.h"

#include <algorithm>
#include <bit>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/base/memory.h"
#include "common/base/thread_pool.h"
#include "common/model/shapes.h"

namespace aios {
namespace {

// Uniform in [-limit, limit) with the standard deviation 0.02 that models start their training
// from.
void FillRandom(uint16_t* bf16, int64_t n, uint64_t seed) {
  constexpr float kLimit = 0.0346F;  // 0.02 * sqrt(3)
  uint64_t state = seed * 0x9E3779B97F4A7C15 + 1;
  for (int64_t i = 0; i < n; ++i) {
    state ^= state << 13;  // xorshift64 (Marsaglia 2003)
    state ^= state >> 7;
    state ^= state << 17;
    const float uniform =
        static_cast<float>(static_cast<int32_t>(state >> 32)) * 0x1p-31F;  // [-1, 1)
    bf16[i] = static_cast<uint16_t>(std::bit_cast<uint32_t>(uniform * kLimit) >> 16);
  }
}

}  // namespace

Model Model::Load(const std::filesystem::path& path) {
  Model model;
  model.checkpoint_ = std::make_unique<Checkpoint>(Checkpoint::Open(path));
  model.config_ = ReadModelConfig(*model.checkpoint_);
  model.weights_ = BindWeights(*model.checkpoint_, model.config_);
  return model;
}

Model Model::Random(std::string_view shape_name, int64_t more_bytes_per_param) {
  Model model;
  model.config_ = ShapeNamed(shape_name);
  model.config_.name += " (random weights)";
  const ModelConfig& config = model.config_;
  Weights& weights = model.weights_;
  weights.layers.resize(config.n_layers);

  int64_t n_total = 0;
  ForEachWeight(config, weights, [&](const WeightSpec& spec, Tensor&) {
    n_total += spec.shape(config).n_elements();
  });
  CheckFitsMemory(BytesOf(DType::kBF16, n_total) + more_bytes_per_param * n_total,
                  std::string(shape_name));
  model.storage_ = HostBuffer(BytesOf(DType::kBF16, n_total));

  uint16_t* next = model.storage_.As<uint16_t>();
  std::vector<std::pair<uint16_t*, int64_t>> matrices;
  ForEachWeight(config, weights, [&](const WeightSpec& spec, Tensor& tensor) {
    tensor = Tensor(next, DType::kBF16, spec.shape(config));
    if (tensor.shape().rank() == 1) {
      std::fill_n(next, tensor.n_elements(), uint16_t{0x3F80});  // norms, biases: 1
    } else {
      matrices.emplace_back(next, tensor.n_elements());
    }
    next += tensor.n_elements();
  });
  // Each from a seed of its own: the same numbers, however many threads there are.
  ThreadPool pool;
  pool.ParallelForDynamic(static_cast<int64_t>(matrices.size()), [&](int64_t i, int) {
    FillRandom(matrices[i].first, matrices[i].second, static_cast<uint64_t>(i) + 1);
  });
  if (config.tied_embeddings) weights.output = weights.token_embedding;
  return model;
}

std::vector<std::string_view> Model::RandomShapeNames() { return ShapeNames(); }

int64_t Model::n_params() const {
  int64_t n = 0;
  ForEachWeight(config_, weights_,
                [&](const WeightSpec&, const Tensor& tensor) { n += tensor.n_elements(); });
  return n;
}

int64_t Model::n_bytes() const {
  int64_t n = 0;
  ForEachWeight(config_, weights_,
                [&](const WeightSpec&, const Tensor& tensor) { n += tensor.n_bytes(); });
  return n;
}

}  // namespace aios
