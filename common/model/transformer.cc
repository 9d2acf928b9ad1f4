#include "common/model/transformer.h"

#include <array>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/model/rope.h"

namespace aios {
namespace {

// Tensors in one piece of memory, one after the other. Called twice: to add up, then to cut.
class Cutter {
 public:
  Cutter(void* memory, Device device) : memory_(memory), device_(device) {}

  MutableTensor Cut(DType dtype, Shape shape) {
    MutableTensor tensor(static_cast<std::byte*>(memory_) + n_bytes_, dtype, shape, device_);
    constexpr int64_t kAlignment = 256;  // of vector loads, and of TMA
    n_bytes_ += (tensor.n_bytes() + kAlignment - 1) / kAlignment * kAlignment;
    return tensor;
  }
  int64_t n_bytes() const { return n_bytes_; }

 private:
  void* memory_;
  Device device_;
  int64_t n_bytes_ = 0;
};

// The first n rows.
MutableTensor Rows(const MutableTensor& tensor, int64_t n) {
  AIOS_CHECK(n <= tensor.n_rows());
  return {tensor.mutable_data(), tensor.dtype(), {n, tensor.row_size()}, tensor.device()};
}

StepShape ShapeOf(const ModelConfig& config, const BatchLimits& limits, int64_t page_size) {
  return {.limits = limits,
          .d_model = config.d_model,
          .d_ff = config.d_ff,
          .n_heads = config.n_heads,
          .n_kv_heads = config.n_kv_heads,
          .head_dim = config.head_dim,
          .page_size = page_size};
}

}  // namespace

// Returns the bytes that it takes.
int64_t Transformer::CutScratch(const Backend& backend, const ModelConfig& config,
                                const BatchLimits& limits, void* memory, Scratch& scratch) {
  Cutter cutter(memory, backend.device());
  const DType t = backend.activation_dtype();
  const int64_t n = limits.n_tokens;
  scratch.x = cutter.Cut(DType::kF32, {n, config.d_model});
  scratch.qkv = cutter.Cut(t, {n, config.q_dim() + 2 * config.kv_dim()});
  scratch.heads = cutter.Cut(t, {n, config.q_dim()});
  scratch.ff = cutter.Cut(t, {n, config.d_ff});
  scratch.last = cutter.Cut(DType::kF32, {limits.n_logit_rows, config.d_model});
  scratch.logits = cutter.Cut(DType::kF32, {limits.n_logit_rows, config.vocab_size});
  return cutter.n_bytes();
}

int64_t Transformer::BytesFor(const Backend& backend, const ModelConfig& config,
                              const Weights& weights, const BatchLimits& limits,
                              int64_t page_size) {
  Scratch scratch;
  int64_t n_bytes = CutScratch(backend, config, limits, nullptr, scratch) +
                    backend.StepBytes(ShapeOf(config, limits, page_size));
  ForEachWeight(config, weights, [&](const WeightSpec&, const Tensor& tensor) {
    n_bytes += backend.PreparedBytes(tensor);
  });
  // RoPE's tables: a cosine and a sine for half of the numbers of a head.
  n_bytes += limits.max_pages * page_size * config.head_dim * static_cast<int64_t>(sizeof(float));
  return n_bytes;
}

Transformer::Transformer(Backend& backend, const ModelConfig& config, const Weights& weights,
                         const BatchLimits& limits, int64_t page_size)
    : backend_(backend), config_(config), limits_(limits) {
  // All that will be needed is asked for before any of it is copied: an answer after a minute of
  // copying that the last layer does not fit would be late.
  const int64_t n_bytes = BytesFor(backend, config, weights, limits, page_size);
  const int64_t free = backend.FreeBytes();
  if (n_bytes > free) {
    throw InputError(
        "{} needs {:.1f} GB on {} (weights as {}, and activations of {} tokens), and {:.1f} GB are "
        "free: take a smaller model{}, or end what else uses the memory",
        config.name, static_cast<double>(n_bytes) * 1e-9, backend.description(),
        Name(backend.activation_dtype()), limits.n_tokens, static_cast<double>(free) * 1e-9,
        backend.activation_dtype() == DType::kF32 ? ", --dtype bf16 where the backend has it" : "");
  }
  const int64_t scratch_bytes = CutScratch(backend, config, limits, nullptr, scratch_);
  scratch_.memory = backend.Allocate(scratch_bytes, "activations");
  CutScratch(backend, config, limits, scratch_.memory.data(), scratch_);
  backend.Reserve(ShapeOf(config, limits, page_size));

  PrepareWeights(weights);
  const int64_t n_positions = limits.max_pages * page_size;
  const RopeAngles angles = AnglesOf(RopeFrequencies(config, weights.rope_factors), n_positions);
  const Shape table = {n_positions, config.head_dim / 2};
  cosine_ = backend.PrepareF32({{Tensor(angles.cosine.data(), DType::kF32, table)}});
  sine_ = backend.PrepareF32({{Tensor(angles.sine.data(), DType::kF32, table)}});
}

void Transformer::PrepareWeights(const Weights& weights) {
  const auto matrix = [&](std::initializer_list<Tensor> parts) {
    return backend_.PrepareMatrix(std::span(parts.begin(), parts.size()));
  };
  const auto vector = [&](std::initializer_list<Tensor> parts) {
    if (parts.begin()->data() == nullptr) return Weight();
    return backend_.PrepareF32(std::span(parts.begin(), parts.size()));
  };
  embedding_ = matrix({weights.token_embedding});
  for (const LayerWeights& w : weights.layers) {
    layers_.push_back({.attn_norm = vector({w.attn_norm}),
                       .qkv = matrix({w.wq, w.wk, w.wv}),
                       .qkv_bias = vector({w.bq, w.bk, w.bv}),
                       .q_norm = vector({w.q_norm}),
                       .k_norm = vector({w.k_norm}),
                       .out = matrix({w.wo}),
                       .ffn_norm = vector({w.ffn_norm}),
                       .gate_up = matrix({w.w_gate, w.w_up}),
                       .down = matrix({w.w_down})});
  }
  output_norm_ = vector({weights.output_norm});
  if (!config_.tied_embeddings) untied_output_ = matrix({weights.output});
}

AttentionParams Transformer::AttentionOf(const Layer& layer) const {
  return {.n_heads = config_.n_heads,
          .n_kv_heads = config_.n_kv_heads,
          .head_dim = config_.head_dim,
          .bias = &layer.qkv_bias,
          .q_norm = &layer.q_norm,
          .k_norm = &layer.k_norm,
          .norm_eps = static_cast<float>(config_.norm_eps),
          .cosine = &cosine_,
          .sine = &sine_,
          .pairing = config_.rope.pairing};
}

MutableTensor Transformer::Forward(const Batch& batch, std::span<const KvPages> kv) {
  AIOS_CHECK_EQ(kv.size(), layers_.size());
  CheckBatch(batch, limits_, kv[0].page_size(), kv[0].k.shape()[0]);
  const BatchView rows = backend_.Upload(batch);
  backend_.RunStep(rows, kv, [&] { Enqueue(rows, kv); });
  return Rows(scratch_.logits, batch.n_logit_rows());
}

void Transformer::Enqueue(const BatchView& rows, std::span<const KvPages> kv) {
  const int64_t n = rows.n_tokens;
  const MutableTensor x = Rows(scratch_.x, n), qkv = Rows(scratch_.qkv, n);
  const MutableTensor heads = Rows(scratch_.heads, n), ff = Rows(scratch_.ff, n);

  backend_.Embed(embedding_, rows, x);
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    // Attention.
    backend_.NormMatMul(x, NormOf(layer.attn_norm), layer.qkv, qkv);
    backend_.Attention(qkv, AttentionOf(layer), rows, kv[i], heads);
    backend_.MatMulAdd(heads, layer.out, x);
    // Feed-forward.
    backend_.NormGateUp(x, NormOf(layer.ffn_norm), layer.gate_up, ff);
    backend_.MatMulAdd(ff, layer.down, x);
  }

  // Logits, of the rows that want them: in a prefill the last, of thousands.
  if (rows.n_logit_rows == 0) return;
  const MutableTensor last = Rows(scratch_.last, rows.n_logit_rows);
  const MutableTensor logits = Rows(scratch_.logits, rows.n_logit_rows);
  backend_.GatherLogitRows(x, rows, last);
  backend_.NormMatMul(last, NormOf(output_norm_),
                      config_.tied_embeddings ? embedding_ : untied_output_, logits);
  if (rows.samples) backend_.Sample(logits, rows);
}

int64_t Transformer::bytes_per_token() const {
  int64_t n = config_.tied_embeddings ? embedding_.n_bytes() : untied_output_.n_bytes();
  for (const Layer& layer : layers_) {
    n += layer.qkv.n_bytes() + layer.out.n_bytes() + layer.gate_up.n_bytes() + layer.down.n_bytes();
  }
  return n;
}

}  // namespace aios
