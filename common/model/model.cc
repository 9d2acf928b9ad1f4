#include "common/model/model.h"

#include <algorithm>
#include <array>
#include <bit>

#include "common/base/error.h"
#include "common/base/memory.h"

namespace aios {
namespace {

struct NamedShape {
  std::string_view name;
  int64_t d_model, n_layers, n_heads, n_kv_heads, head_dim, d_ff, vocab_size;
  bool tied_embeddings, qk_norm;
  double rope_theta;
};

// From the models' own config.json.
constexpr std::array<NamedShape, 5> kShapes = {{
    {"smollm2-135m", 576, 30, 9, 3, 64, 1536, 49152, true, false, 1e5},
    {"qwen3-0.6b", 1024, 28, 16, 8, 128, 3072, 151936, true, true, 1e6},
    {"llama-1b", 2048, 16, 32, 8, 64, 8192, 128256, true, false, 5e5},
    {"llama-8b", 4096, 32, 32, 8, 128, 14336, 128256, false, false, 5e5},
    {"llama-70b", 8192, 80, 64, 8, 128, 28672, 128256, false, false, 5e5},
}};

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
  const auto shape = std::find_if(kShapes.begin(), kShapes.end(),
                                  [&](const NamedShape& s) { return s.name == shape_name; });
  if (shape == kShapes.end()) {
    throw InputError("there is no model shape {}; there are {}", Quoted(shape_name),
                     fmt::join(RandomShapeNames(), ", "));
  }
  Model model;
  model.config_ = {.name = fmt::format("{} (random weights)", shape->name),
                   .architecture = shape->qk_norm ? "qwen3" : "llama",
                   .d_model = shape->d_model,
                   .n_layers = shape->n_layers,
                   .n_heads = shape->n_heads,
                   .n_kv_heads = shape->n_kv_heads,
                   .head_dim = shape->head_dim,
                   .d_ff = shape->d_ff,
                   .vocab_size = shape->vocab_size,
                   .max_context = 131072,
                   .norm_eps = 1e-5,
                   .rope = {.theta = shape->rope_theta},
                   .tied_embeddings = shape->tied_embeddings,
                   .qk_norm = shape->qk_norm};
  const ModelConfig& config = model.config_;
  Weights& weights = model.weights_;
  weights.layers.resize(config.n_layers);

  int64_t n_total = 0;
  ForEachWeight(config, weights, [&](const WeightSpec& spec, Tensor&) {
    n_total += spec.shape(config).n_elements();
  });
  CheckFitsMemory(BytesOf(DType::kBF16, n_total) + more_bytes_per_param * n_total,
                  std::string(shape->name));
  model.storage_ = HostBuffer(BytesOf(DType::kBF16, n_total));

  uint16_t* next = model.storage_.As<uint16_t>();
  uint64_t seed = 0;
  ForEachWeight(config, weights, [&](const WeightSpec& spec, Tensor& tensor) {
    tensor = Tensor(next, DType::kBF16, spec.shape(config));
    if (tensor.shape().rank() == 1) {
      std::fill_n(next, tensor.n_elements(), uint16_t{0x3F80});  // norms: 1
    } else {
      FillRandom(next, tensor.n_elements(), ++seed);
    }
    next += tensor.n_elements();
  });
  if (config.tied_embeddings) weights.output = weights.token_embedding;
  return model;
}

std::vector<std::string_view> Model::RandomShapeNames() {
  std::vector<std::string_view> names;
  names.reserve(kShapes.size());
  for (const NamedShape& shape : kShapes) names.push_back(shape.name);
  return names;
}

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
