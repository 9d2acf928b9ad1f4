#include "common/profile/roofline.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/base/check.h"
#include "common/base/error.h"

namespace aios {
namespace {

Component ComponentOf(const WeightSpec& spec) {
  using L = LayerWeights;
  if (spec.global == &Weights::token_embedding) return Component::kEmbedding;
  if (spec.global == &Weights::output) return Component::kOutput;
  if (spec.global == &Weights::output_norm) return Component::kNorms;
  for (const auto norm : {&L::attn_norm, &L::ffn_norm, &L::q_norm, &L::k_norm}) {
    if (spec.layer == norm) return Component::kNorms;
  }
  for (const auto matrix : {&L::w_gate, &L::w_up, &L::w_down}) {
    if (spec.layer == matrix) return Component::kFeedForward;
  }
  return Component::kAttention;  // q, k, v, o and their biases
}

bool IsQuantized(DType format) { return kernels::Info(format).block_size > 1; }

// Multiply-adds of the matrices of all layers, for one token.
double LayerMatrixParams(const ModelConfig& c) {
  const auto d = static_cast<double>(c.d_model);
  const auto q_and_o = 2.0 * static_cast<double>(c.q_dim());
  const auto k_and_v = 2.0 * static_cast<double>(c.kv_dim());
  const auto ff = 3.0 * static_cast<double>(c.d_ff);
  return static_cast<double>(c.n_layers) * d * (q_and_o + k_and_v + ff);
}

// Of the whole file all but the embedding, of which a token needs its row; a tied one is read
// whole, as the output matrix.
double WeightBytesRead(const ModelConfig& config, const ModelSize& size, double n_tokens) {
  const auto all = static_cast<double>(size.n_bytes());
  if (config.tied_embeddings) return all;
  const auto table = static_cast<double>(size[Component::kEmbedding].n_bytes);
  const double row = table / static_cast<double>(config.vocab_size);
  return all - table + std::min(table, row * n_tokens);
}

void Add(const Cost& more, double weight, Cost& sum) {
  sum.weight_bytes += weight * more.weight_bytes;
  sum.kv_bytes += weight * more.kv_bytes;
  sum.matrix_flops += weight * more.matrix_flops;
  sum.attention_flops += weight * more.attention_flops;
}

// The average of cost_after(0) to cost_after(n - 1); of a long answer, of steps spread evenly.
template <typename CostAfter>
Cost Average(int64_t n, CostAfter&& cost_after) {
  AIOS_CHECK(n >= 1);
  constexpr int64_t kMaxSamples = 4096;
  const int64_t n_samples = std::min(n, kMaxSamples);
  Cost sum;
  for (int64_t i = 0; i < n_samples; ++i) {
    const int64_t at = n_samples == 1 ? 0 : i * (n - 1) / (n_samples - 1);
    Add(cost_after(at), 1.0 / static_cast<double>(n_samples), sum);
  }
  return sum;
}

int64_t Floor(double x) {  // what no int64_t holds: as many as it holds
  constexpr double kMax = 9.2e18;
  return x <= 0 ? 0 : static_cast<int64_t>(std::min(std::floor(x), kMax));
}

}  // namespace

std::string_view Name(Component component) {
  switch (component) {
    case Component::kEmbedding:
      return "embedding";
    case Component::kAttention:
      return "attention";
    case Component::kFeedForward:
      return "feed-forward";
    case Component::kNorms:
      return "norms";
    case Component::kOutput:
      return "output";
  }
  return "";
}

std::string Arithmetic(Component component, const ModelConfig& c) {
  switch (component) {
    case Component::kEmbedding:
      return fmt::format("{} x {}", c.vocab_size, c.d_model);
    case Component::kAttention: {
      const std::string biases =
          c.qkv_bias ? fmt::format(" + {} + 2 x {}", c.q_dim(), c.kv_dim()) : "";
      return fmt::format("{} x (2 x {} x {} + 2 x {} x {}{})", c.n_layers, c.q_dim(), c.d_model,
                         c.kv_dim(), c.d_model, biases);
    }
    case Component::kFeedForward:
      return fmt::format("{} x 3 x {} x {}", c.n_layers, c.d_ff, c.d_model);
    case Component::kNorms: {
      const std::string heads =
          c.qk_norm ? fmt::format(" + {} x 2 x {}", c.n_layers, c.head_dim) : "";
      return fmt::format("({} x 2 + 1) x {}{}", c.n_layers, c.d_model, heads);
    }
    case Component::kOutput:
      return c.tied_embeddings ? "the embedding again (tied)"
                               : fmt::format("{} x {}", c.vocab_size, c.d_model);
  }
  return "";
}

int64_t ModelSize::n_params() const {
  int64_t n = 0;
  for (const Part& part : parts) n += part.n_params;
  return n;
}

int64_t ModelSize::n_bytes() const {
  int64_t n = 0;
  for (const Part& part : parts) n += part.n_bytes;
  return n;
}

double ModelSize::bits_per_param() const {
  return 8.0 * static_cast<double>(n_bytes()) / static_cast<double>(n_params());
}

ModelSize SizeOf(const ModelConfig& config, DType format) {
  const int64_t block = kernels::Info(format).block_size;
  ModelSize size;
  for (const WeightSpec& spec : WeightTable()) {
    if (!spec.wanted(config)) continue;
    const Shape shape = spec.shape(config);
    const bool is_matrix = shape.rank() == 2;
    if (is_matrix && shape[1] % block != 0) {
      throw InputError("{} has rows of {} numbers, and {} has blocks of {}: take another format",
                       config.name, shape[1], Name(format), block);
    }
    const DType dtype = is_matrix || !IsQuantized(format) ? format : DType::kF32;
    const int64_t times = spec.layer != nullptr ? config.n_layers : 1;
    ModelSize::Part& part = size.parts[static_cast<int>(ComponentOf(spec))];
    part.n_params += times * shape.n_elements();
    part.n_bytes += times * BytesOf(dtype, shape.n_elements());
  }
  return size;
}

ModelSize SizeOf(const ModelConfig& config, const Weights& weights) {
  ModelSize size;
  ForEachWeight(config, weights, [&](const WeightSpec& spec, const Tensor& tensor) {
    ModelSize::Part& part = size.parts[static_cast<int>(ComponentOf(spec))];
    part.n_params += tensor.n_elements();
    part.n_bytes += tensor.n_bytes();
  });
  return size;
}

int64_t KvBytesPerToken(const ModelConfig& config, DType kv) {
  return BytesOf(kv, config.n_layers * 2 * config.kv_dim());
}

double ActivationBytes(const ModelConfig& c, DType activation, int64_t n_tokens,
                       int64_t n_logit_rows) {
  const auto bytes = static_cast<double>(kernels::Info(activation).block_bytes);
  constexpr double kF32 = sizeof(float);
  const auto d_model = static_cast<double>(c.d_model);
  // The residual stream; its normed copy and what a block adds to it; q, k, v; q turned by RoPE and
  // the heads' results; gate and up, and their product.
  const double token =
      d_model * kF32 + bytes * (2 * d_model + static_cast<double>(3 * c.q_dim() + 2 * c.kv_dim()) +
                                3 * static_cast<double>(c.d_ff));
  const double logits = d_model * bytes + static_cast<double>(c.vocab_size) * kF32;
  return static_cast<double>(n_tokens) * token + static_cast<double>(n_logit_rows) * logits;
}

Cost CostOf(const ModelConfig& config, const ModelSize& size, DType kv, const Step& step) {
  AIOS_CHECK(step.n_sequences >= 1 && step.n_new >= 1 && step.n_past >= 0);
  const auto n_sequences = static_cast<double>(step.n_sequences);
  const auto n_new = static_cast<double>(step.n_new);
  const auto n_past = static_cast<double>(step.n_past);
  const double n_tokens = n_sequences * n_new;
  // New token i looks at the past, at the new ones before it, and at itself.
  const double pairs = n_sequences * (n_new * n_past + n_new * (n_new + 1) / 2);
  // A pair of a query and a key: head_dim multiply-adds for the score, as many for the value.
  const double flops_per_pair = 4.0 * static_cast<double>(config.n_layers * config.q_dim());
  const double output =
      static_cast<double>(config.vocab_size) * static_cast<double>(config.d_model);
  return {
      .weight_bytes = WeightBytesRead(config, size, n_tokens),
      .kv_bytes = n_sequences * (n_past + n_new) * static_cast<double>(KvBytesPerToken(config, kv)),
      .matrix_flops = 2 * (LayerMatrixParams(config) * n_tokens + output * n_sequences),
      .attention_flops = flops_per_pair * pairs};
}

Cost RecomputeCost(const ModelConfig& config, const ModelSize& size, DType kv, int64_t n_prompt,
                   int64_t n_new) {
  return Average(n_new, [&](int64_t i) {
    return CostOf(config, size, kv, {.n_sequences = 1, .n_new = n_prompt + i, .n_past = 0});
  });
}

Cost DecodeCost(const ModelConfig& config, const ModelSize& size, DType kv, int64_t n_prompt,
                int64_t n_new, int64_t n_sequences) {
  // The first token is the prefill's.
  return Average(std::max<int64_t>(1, n_new - 1), [&](int64_t i) {
    return CostOf(config, size, kv,
                  {.n_sequences = n_sequences, .n_new = 1, .n_past = n_prompt + i});
  });
}

Prediction Predict(const Cost& cost, const DeviceLimits& limits) {
  return {.memory_seconds = cost.bytes() / limits.read_bytes_s,
          .compute_seconds = cost.flops() / limits.flop_s};
}

double RidgeBatch(const ModelConfig& config, const ModelSize& size, DType kv, int64_t n_past,
                  const DeviceLimits& limits) {
  const Cost one = CostOf(config, size, kv, {.n_sequences = 1, .n_new = 1, .n_past = n_past});
  // batch * flops / flop_s = (weights + batch * kv) / read_bytes_s
  const double sequence_seconds = one.flops() / limits.flop_s - one.kv_bytes / limits.read_bytes_s;
  if (sequence_seconds <= 0) return 0;
  return one.weight_bytes / limits.read_bytes_s / sequence_seconds;
}

Fit FitOf(const ModelConfig& config, const ModelSize& size, DType kv, int64_t context,
          int64_t n_prefill, const DeviceLimits& limits) {
  // Activations are kept in the format that keys and values are.
  const double token = static_cast<double>(KvBytesPerToken(config, kv));
  const double row = ActivationBytes(config, kv, 1, 1);
  Fit fit = {.usable_bytes = kUsableMemory * limits.memory_bytes,
             .weight_bytes = static_cast<double>(size.n_bytes()),
             .prefill_bytes = ActivationBytes(config, kv, n_prefill, 1),
             .sequence_bytes = static_cast<double>(context) * token + row};
  fit.left_bytes = fit.usable_bytes - fit.weight_bytes - fit.prefill_bytes;
  fit.max_batch = Floor(fit.left_bytes / fit.sequence_bytes);
  fit.max_context = Floor((fit.left_bytes - row) / token);
  return fit;
}

}  // namespace aios
