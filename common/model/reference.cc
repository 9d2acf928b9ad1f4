#include "common/model/reference.h"

#include <malloc.h>

#include <Eigen/Core>
#include <algorithm>
#include <cmath>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/base/memory.h"
#include "common/model/rope.h"
#include "common/profile/probe.h"
#include "kernels/cpu/dequantize.h"

namespace aios {
namespace {

// Row-major as everywhere in AIOS: a row is a token of an activation, or an output of a weight.
using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using RowVector = Eigen::Matrix<float, 1, Eigen::Dynamic>;

// ---- Weights, in f32 ---------------------------------------------------------------------------

struct Layer {
  RowVector attn_norm;       // [d_model]
  Matrix wq, wk, wv;         // [q_dim, d_model] [kv_dim, d_model] [kv_dim, d_model]
  RowVector bq, bk, bv;      // [q_dim] [kv_dim] [kv_dim], empty unless qkv_bias
  RowVector q_norm, k_norm;  // [head_dim], empty unless qk_norm
  Matrix wo;                 // [d_model, q_dim]
  RowVector ffn_norm;        // [d_model]
  Matrix w_gate, w_up;       // [d_ff, d_model]
  Matrix w_down;             // [d_model, d_ff]
};

Matrix ToMatrix(const Tensor& tensor) {
  Matrix matrix(tensor.n_rows(), tensor.row_size());
  kernels::Dequantize(tensor.dtype(), tensor.data(), tensor.n_elements(), matrix.data());
  return matrix;
}

RowVector ToVector(const Tensor& tensor) {
  if (tensor.data() == nullptr) return {};
  return ToMatrix(tensor).row(0);
}

std::vector<float> Copy(const Matrix& matrix) {
  return {matrix.data(), matrix.data() + matrix.size()};
}

// Keeps a copy for who asked for a trace.
void Keep(const Matrix& matrix, LayerTrace* trace, std::vector<float> LayerTrace::*where) {
  if (trace != nullptr) trace->*where = Copy(matrix);
}

// Every matrix below is made and dropped again at each layer. The C library would give memory of
// that size back to the system each time, and get it back page by page: a tenth of a forward pass.
void KeepFreedMemory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the largest that it accepts
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
#endif
}

Layer ToLayer(const LayerWeights& w) {
  return {.attn_norm = ToVector(w.attn_norm),
          .wq = ToMatrix(w.wq),
          .wk = ToMatrix(w.wk),
          .wv = ToMatrix(w.wv),
          .bq = ToVector(w.bq),
          .bk = ToVector(w.bk),
          .bv = ToVector(w.bv),
          .q_norm = ToVector(w.q_norm),
          .k_norm = ToVector(w.k_norm),
          .wo = ToMatrix(w.wo),
          .ffn_norm = ToVector(w.ffn_norm),
          .w_gate = ToMatrix(w.w_gate),
          .w_up = ToMatrix(w.w_up),
          .w_down = ToMatrix(w.w_down)};
}

}  // namespace

// ---- The forward pass --------------------------------------------------------------------------

struct ReferenceModel::Impl {
  ModelConfig config;
  int n_threads = 1;
  int64_t weight_bytes = 0;
  std::vector<double> rope_frequencies;  // [head_dim / 2]
  Matrix token_embedding;                // [vocab_size, d_model]
  std::vector<Layer> layers;
  RowVector output_norm;  // [d_model]
  Matrix untied_output;   // [vocab_size, d_model], empty if tied

  // The residual stream after all layers, [n_tokens, d_model].
  Matrix Layers(std::span<const int32_t> tokens, std::vector<LayerTrace>* traces) const {
    Matrix x = Embed(tokens);  // [n_tokens, d_model]: the residual stream
    const RopeAngles angles = AnglesOf(rope_frequencies, x.rows());
    for (const Layer& layer : layers) {
      LayerTrace* const trace = traces == nullptr ? nullptr : &traces->emplace_back();
      Keep(x, trace, &LayerTrace::residual);
      x += Attention(layer, RmsNorm(x, layer.attn_norm), angles, trace);
      Keep(x, trace, &LayerTrace::after_attention);
      x += FeedForward(layer, RmsNorm(x, layer.ffn_norm), trace);
      Keep(x, trace, &LayerTrace::after_ffn);
    }
    return x;
  }

  // One score for each word of the vocabulary: [n, d_model] -> [n, vocab_size].
  Matrix Logits(const Matrix& x) const {
    return Linear(RmsNorm(x, output_norm),
                  config.tied_embeddings ? token_embedding : untied_output);
  }

  // x * w^T: [n, d_in] and [d_out, d_in] -> [n, d_out]. The threads share the columns of the result
  // in blocks of a fixed size, so that their number does not change a bit of it.
  Matrix Linear(const Matrix& x, const Matrix& w) const {
    constexpr Eigen::Index kBlock = 96;
    Matrix y(x.rows(), w.rows());
#pragma omp parallel for schedule(dynamic) num_threads(n_threads)
    for (Eigen::Index begin = 0; begin < w.rows(); begin += kBlock) {
      const Eigen::Index n = std::min(kBlock, w.rows() - begin);
      y.middleCols(begin, n).noalias() = x * w.middleRows(begin, n).transpose();
    }
    return y;
  }

  Matrix Embed(std::span<const int32_t> tokens) const {
    Matrix x(tokens.size(), config.d_model);
    for (size_t t = 0; t < tokens.size(); ++t) x.row(t) = token_embedding.row(tokens[t]);
    return x;
  }

  // Divides each row by its root mean square, then scales by the weight. (Zhang & Sennrich 2019)
  Matrix RmsNorm(const Matrix& x, const RowVector& weight) const {
    Matrix y(x.rows(), x.cols());
    for (Eigen::Index t = 0; t < x.rows(); ++t) {
      const float mean_square = x.row(t).squaredNorm() / static_cast<float>(x.cols());
      const float scale = 1 / std::sqrt(mean_square + static_cast<float>(config.norm_eps));
      y.row(t) = (x.row(t) * scale).cwiseProduct(weight);
    }
    return y;
  }

  // Each token looks at itself and the tokens before it. (Vaswani et al. 2017; heads that share
  // keys and values: Ainslie et al. 2023, "GQA")
  Matrix Attention(const Layer& layer, const Matrix& x, const RopeAngles& angles,
                   LayerTrace* trace) const {
    if (trace != nullptr) trace->attn_weights.resize(config.n_heads * x.rows() * x.rows());
    Matrix q = Linear(x, layer.wq);  // [n_tokens, q_dim]
    Matrix k = Linear(x, layer.wk);  // [n_tokens, kv_dim]
    Matrix v = Linear(x, layer.wv);  // [n_tokens, kv_dim]
    if (config.qkv_bias) {
      q.rowwise() += layer.bq;
      k.rowwise() += layer.bk;
      v.rowwise() += layer.bv;
    }
    if (config.qk_norm) {
      NormHeads(layer.q_norm, q);
      NormHeads(layer.k_norm, k);
    }
    Rope(angles, q);
    Rope(angles, k);

    // A head's queries in blocks, so that no more of the future is computed than is in a block.
    constexpr int64_t kBlock = 128;
    const int64_t d = config.head_dim;
    const int64_t group = config.n_heads / config.n_kv_heads;  // query heads for each k and v head
    const int64_t n_blocks = (x.rows() + kBlock - 1) / kBlock;
    const float scale = 1 / std::sqrt(static_cast<float>(d));
    Matrix out(x.rows(), config.q_dim());
#pragma omp parallel for schedule(dynamic) num_threads(n_threads)
    for (int64_t task = 0; task < config.n_heads * n_blocks; ++task) {
      const int64_t head = task / n_blocks;
      const int64_t begin = task % n_blocks * kBlock;
      const int64_t n = std::min(kBlock, x.rows() - begin);       // queries
      const int64_t past = begin + n;                             // keys that one of them may see
      const auto q_block = q.block(begin, head * d, n, d);        // [n, head_dim]
      const auto k_past = k.block(0, head / group * d, past, d);  // [past, head_dim]
      const auto v_past = v.block(0, head / group * d, past, d);  // [past, head_dim]
      Matrix scores = scale * q_block * k_past.transpose();       // [n, past]
      CausalSoftmax(begin, scores);
      if (trace != nullptr) {
        float* const of_head = &trace->attn_weights[head * x.rows() * x.rows()];
        Eigen::Map<Matrix>(of_head, x.rows(), x.rows()).block(begin, 0, n, past) = scores;
      }
      out.block(begin, head * d, n, d).noalias() = scores * v_past;
    }
    return Linear(out, layer.wo);  // [n_tokens, d_model]
  }

  // Turns the scores of row i, which is token begin + i, into weights of the tokens up to it that
  // add up to one. Later tokens get zero.
  static void CausalSoftmax(int64_t begin, Matrix& scores) {
    for (Eigen::Index i = 0; i < scores.rows(); ++i) {
      auto past = scores.row(i).head(begin + i + 1);
      const float max = past.maxCoeff();  // cancels out; it keeps exp from overflowing
      past = (past.array() - max).exp();
      past /= past.sum();
      scores.row(i).tail(scores.cols() - past.size()).setZero();
    }
  }

  // RMSNorm of each head by itself (Qwen3). x: [n_tokens, n * head_dim].
  void NormHeads(const RowVector& weight, Matrix& x) const {
    for (int64_t begin = 0; begin < x.cols(); begin += config.head_dim) {
      x.middleCols(begin, config.head_dim) = RmsNorm(x.middleCols(begin, config.head_dim), weight);
    }
  }

  // Turns pair i of each head by position * frequency[i], so that the product of a query and a key
  // depends on how far apart they are. x: [n_tokens, n * head_dim].
  void Rope(const RopeAngles& angles, Matrix& x) const {
    const int64_t half = config.head_dim / 2;
    const bool halves = config.rope.pairing == RopePairing::kHalves;
    for (Eigen::Index position = 0; position < x.rows(); ++position) {
      for (int64_t head = 0; head < x.cols(); head += config.head_dim) {
        for (int64_t i = 0; i < half; ++i) {
          float& a = x(position, head + (halves ? i : 2 * i));
          float& b = x(position, head + (halves ? i + half : 2 * i + 1));
          const float cosine = angles.cosine[position * half + i];
          const float sine = angles.sine[position * half + i];
          const float turned_a = a * cosine - b * sine;
          b = a * sine + b * cosine;
          a = turned_a;
        }
      }
    }
  }

  // SwiGLU: each token by itself. (Shazeer 2020, "GLU Variants Improve Transformer")
  Matrix FeedForward(const Layer& layer, const Matrix& x, LayerTrace* trace) const {
    Matrix gate = Linear(x, layer.w_gate);    // [n_tokens, d_ff]
    const Matrix up = Linear(x, layer.w_up);  // [n_tokens, d_ff]
    Keep(gate, trace, &LayerTrace::gate);
#pragma omp parallel for num_threads(n_threads)
    for (Eigen::Index t = 0; t < x.rows(); ++t) {
      auto g = gate.row(t).array();
      g = g / (1 + (-g).exp()) * up.row(t).array();  // silu(gate) * up
    }
    Keep(gate, trace, &LayerTrace::ffn_hidden);
    return Linear(gate, layer.w_down);  // [n_tokens, d_model]
  }

  void CheckTokens(std::span<const int32_t> tokens) const {
    if (tokens.empty()) throw InputError("there are no tokens to continue");
    if (static_cast<int64_t>(tokens.size()) > config.max_context) {
      throw InputError("{} tokens are more than the model's context of {}", tokens.size(),
                       config.max_context);
    }
    for (const int32_t token : tokens) {
      if (token < 0 || token >= config.vocab_size) {
        throw InputError("token {} is not in the vocabulary of {}", token, config.vocab_size);
      }
    }
  }
};

ReferenceModel::ReferenceModel(const ModelConfig& config, const Weights& weights, int n_threads) {
  KeepFreedMemory();
  auto impl = std::make_unique<Impl>();
  ForEachWeight(config, weights, [&](const WeightSpec&, const Tensor& tensor) {
    impl->weight_bytes += tensor.n_elements() * static_cast<int64_t>(sizeof(float));
  });
  CheckFitsMemory(impl->weight_bytes, fmt::format("{} in f32", config.name));
  impl->config = config;
  impl->n_threads = n_threads > 0 ? n_threads : ProbeMachine().n_cores;
  impl->rope_frequencies = RopeFrequencies(config, weights.rope_factors);
  impl->token_embedding = ToMatrix(weights.token_embedding);
  for (const LayerWeights& layer : weights.layers) impl->layers.push_back(ToLayer(layer));
  impl->output_norm = ToVector(weights.output_norm);
  if (!config.tied_embeddings) impl->untied_output = ToMatrix(weights.output);
  impl_ = std::move(impl);
}

ReferenceModel::~ReferenceModel() = default;
ReferenceModel::ReferenceModel(ReferenceModel&&) noexcept = default;
ReferenceModel& ReferenceModel::operator=(ReferenceModel&&) noexcept = default;

std::vector<float> ReferenceModel::Forward(std::span<const int32_t> tokens, int64_t n_last,
                                           std::vector<LayerTrace>* trace) const {
  impl_->CheckTokens(tokens);
  AIOS_CHECK(n_last >= 1 && n_last <= static_cast<int64_t>(tokens.size()), "{} of {}", n_last,
             tokens.size());
  if (trace != nullptr) trace->clear();
  return Copy(impl_->Logits(impl_->Layers(tokens, trace).bottomRows(n_last)));
}

std::vector<float> ReferenceModel::Logits(std::span<const float> residual) const {
  const int64_t d_model = impl_->config.d_model;
  const auto n = static_cast<int64_t>(residual.size()) / d_model;
  AIOS_CHECK(n * d_model == static_cast<int64_t>(residual.size()), "{} numbers are no rows of {}",
             residual.size(), d_model);
  return Copy(impl_->Logits(Eigen::Map<const Matrix>(residual.data(), n, d_model)));
}

int64_t ReferenceModel::weight_bytes() const { return impl_->weight_bytes; }

}  // namespace aios
