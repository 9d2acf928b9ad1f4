#include "common/backend/cpu_backend.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <vector>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/base/memory.h"
#include "common/base/thread_pool.h"
#include "common/tensor/buffer.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/dequantize.h"
#include "kernels/cpu/embed.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/rms_norm.h"
#include "kernels/cpu/rope_kv.h"
#include "kernels/cpu/silu_mul.h"

namespace aios {
namespace {

namespace cpu = kernels::cpu;

const float* FloatsOf(const Tensor& tensor) {
  AIOS_CHECK(tensor.dtype() == DType::kF32 && tensor.device() == Device::kCpu);
  return static_cast<const float*>(tensor.data());
}

// The numbers of a vector weight, or nullptr if the model has none.
const float* FloatsOf(const Weight* weight) {
  if (weight == nullptr || weight->empty()) return nullptr;
  return FloatsOf(weight->parts().front());
}

Sampled Choose(std::span<const float> logits, const SampleRow& row) {
  if (!AllFinite(logits)) return {};
  return {.token = Sample(logits, row.params, row.step), .margin = TopMargin(logits)};
}

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(int n_threads) : pool_(n_threads), scratch_(pool_.n_threads()) {}

  std::string_view name() const override { return "cpu"; }
  std::string description() const override {
    return pool_.n_threads() == 1 ? "the CPU (1 thread)"
                                  : fmt::format("the CPU ({} threads)", pool_.n_threads());
  }
  Device device() const override { return Device::kCpu; }
  DType activation_dtype() const override { return DType::kF32; }

  // ---- Memory ----

  Buffer Allocate(int64_t n_bytes, std::string_view what) override {
    CheckFitsMemory(n_bytes, std::string(what));
    void* data =
        std::aligned_alloc(kAlignment, (n_bytes + kAlignment - 1) / kAlignment * kAlignment);
    if (data == nullptr && n_bytes > 0) throw std::bad_alloc();
    return {data, n_bytes, std::free};
  }

  Buffer AllocateHost(int64_t n_bytes, std::string_view what) override {
    return Allocate(n_bytes, what);
  }

  int64_t FreeBytes() const override { return AvailableMemory(); }

  // Kernels read every format that a file can have, wherever it lies: nothing is copied.
  Weight PrepareMatrix(std::span<const Tensor> parts) override {
    for (const Tensor& part : parts) {
      AIOS_CHECK(part.device() == Device::kCpu);
      AIOS_CHECK_EQ(part.row_size(), parts.front().row_size());
    }
    return Weight({parts.begin(), parts.end()});
  }
  int64_t PreparedBytes(const Tensor&) const override { return 0; }

  Weight PrepareF32(std::span<const Tensor> parts) override {
    int64_t n = 0;
    for (const Tensor& part : parts) n += part.n_elements();
    Buffer buffer = Allocate(n * static_cast<int64_t>(sizeof(float)), "weights");
    auto* out = static_cast<float*>(buffer.data());
    for (const Tensor& part : parts) {
      kernels::Dequantize(part.dtype(), part.data(), part.n_elements(), out);
      out += part.n_elements();
    }
    const Tensor whole(buffer.data(), DType::kF32,
                       parts.size() == 1 ? parts.front().shape() : Shape{n});
    return Weight({whole}, std::move(buffer));
  }

  void Download(const Tensor& from, void* to) override {
    std::memcpy(to, from.data(), from.n_bytes());
  }
  void Synchronize() override {}

  void Copy(const Tensor& from, MutableTensor to) override {
    AIOS_CHECK(from.dtype() == to.dtype() && from.n_elements() == to.n_elements());
    std::memcpy(to.mutable_data(), from.data(), from.n_bytes());
  }

  // ---- A step ----

  void Reserve(const StepShape& shape) override {
    const auto n = static_cast<int64_t>(shape.limits.n_tokens);
    normed_ = HostBuffer(n * shape.d_model * sizeof(float));
    q_ = HostBuffer(n * shape.n_heads * shape.head_dim * sizeof(float));
    gate_up_ = HostBuffer(n * 2 * shape.d_ff * sizeof(float));
  }
  int64_t StepBytes(const StepShape& shape) const override {
    return shape.limits.n_tokens * static_cast<int64_t>(sizeof(float)) *
           (shape.d_model + shape.n_heads * shape.head_dim + 2 * shape.d_ff);
  }

  BatchView Upload(const Batch& batch) override {
    BatchView view = ViewOf(batch);
    tokens_ = batch.tokens;
    for (int32_t& token : tokens_) {
      if (token < 0) token = SampledBefore(-1 - token);
    }
    view.tokens = tokens_.data();
    sampling_ = batch.sampling;
    return view;
  }

  void RunStep(const BatchView&, std::span<const KvPages>,
               const std::function<void()>& work) override {
    work();
  }

  void Embed(const Weight& table, const BatchView& batch, MutableTensor x) override {
    const Tensor& rows = table.parts().front();
    const cpu::EmbedArgs args = {.format = rows.dtype(),
                                 .table = rows.data(),
                                 .vocab_size = rows.n_rows(),
                                 .d_model = rows.row_size(),
                                 .tokens = batch.tokens,
                                 .out = x.As<float>()};
    pool_.ParallelFor(batch.n_tokens,
                      [&](int64_t begin, int64_t end, int) { cpu::Embed(args, begin, end); });
  }

  void NormMatMul(const Tensor& x, const Norm& norm, const Weight& w, MutableTensor y) override {
    AIOS_CHECK_EQ(y.row_size(), w.d_out());
    MatMul(Normed(x, norm), w, y.As<float>(), /*add=*/false);
  }

  void NormGateUp(const Tensor& x, const Norm& norm, const Weight& gate_up,
                  MutableTensor out) override {
    const int64_t d_ff = out.row_size();
    AIOS_CHECK(gate_up.parts().size() == 2 && gate_up.parts()[0].n_rows() == d_ff &&
               gate_up.parts()[1].n_rows() == d_ff);
    const cpu::SiluMulArgs args = {.gate_up = gate_up_.As<float>(),
                                   .n_rows = out.n_rows(),
                                   .d_ff = d_ff,
                                   .out = out.As<float>()};
    // A thread has the same columns of gate and of up, and goes on with them.
    const int n_threads = pool_.n_threads();
    MatMul(Normed(x, norm), gate_up, gate_up_.As<float>(), /*add=*/false, [&](int64_t share) {
      cpu::SiluMul(args, Share(d_ff, share, n_threads), Share(d_ff, share + 1, n_threads));
    });
  }

  void MatMulAdd(const Tensor& in, const Weight& w, MutableTensor x) override {
    AIOS_CHECK_EQ(x.row_size(), w.d_out());
    MatMul(in, w, x.As<float>(), /*add=*/true);
  }

  void Attention(const Tensor& qkv, const AttentionParams& params, const BatchView& batch,
                 const KvPages& kv, MutableTensor out) override {
    AIOS_CHECK_EQ(qkv.row_size(), (params.n_heads + 2 * params.n_kv_heads) * params.head_dim);
    AIOS_CHECK_EQ(out.row_size(), params.n_heads * params.head_dim);
    const cpu::RopeKvArgs rope = {.qkv = FloatsOf(qkv),
                                  .bias = FloatsOf(params.bias),
                                  .q_norm = FloatsOf(params.q_norm),
                                  .k_norm = FloatsOf(params.k_norm),
                                  .eps = params.norm_eps,
                                  .cos = FloatsOf(params.cosine),
                                  .sin = FloatsOf(params.sine),
                                  .max_context = params.cosine->d_out(),
                                  .pairing = params.pairing,
                                  .n_heads = static_cast<int>(params.n_heads),
                                  .batch = RowsOf(batch),
                                  .kv = ViewOf(kv, batch),
                                  .q = q_.As<float>()};
    pool_.ParallelFor(batch.n_tokens, [&](int64_t begin, int64_t end, int) {
      cpu::RopeAndStoreKv(rope, begin, end);
    });
    const cpu::AttentionArgs args = {.q = q_.As<float>(),
                                     .batch = RowsOf(batch),
                                     .kv = ViewOf(kv, batch),
                                     .n_heads = static_cast<int>(params.n_heads),
                                     .out = out.As<float>()};
    const size_t scratch_floats = cpu::AttentionScratchFloats(args);
    if (cpu::AttentionInTwoSteps(args, pool_.n_threads())) {
      float* scores = Grow(scores_, static_cast<size_t>(cpu::AttentionScoresFloats(args)));
      pool_.ParallelFor(cpu::CountScoreTasks(args), [&](int64_t begin, int64_t end, int thread) {
        cpu::AttentionScores(args, begin, end, scores, Scratch(thread, scratch_floats));
      });
      pool_.ParallelForDynamic(cpu::CountValueTasks(args, pool_.n_threads()),
                               [&](int64_t task, int thread) {
                                 cpu::AttentionValues(args, pool_.n_threads(), task, task + 1,
                                                      scores, Scratch(thread, scratch_floats));
                               });
      return;
    }
    // One by one: the last rows of a prompt have more keys than the first.
    pool_.ParallelForDynamic(cpu::CountAttentionTasks(args), [&](int64_t task, int thread) {
      cpu::Attention(args, task, task + 1, Scratch(thread, scratch_floats));
    });
  }

  void GatherLogitRows(const Tensor& x, const BatchView& batch, MutableTensor out) override {
    const int64_t n_bytes = BytesOf(x.dtype(), x.row_size());
    for (int32_t i = 0; i < batch.n_logit_rows; ++i) {
      std::memcpy(out.As<std::byte>() + i * n_bytes, x.row(batch.logit_rows[i]), n_bytes);
    }
  }

  void Sample(const Tensor& logits, const BatchView& batch) override {
    AIOS_CHECK_EQ(logits.n_rows(), batch.n_logit_rows);
    AIOS_CHECK(untaken_.size() < kMaxSteps, "{} steps were not taken", untaken_.size());
    std::vector<Sampled> sampled(batch.n_logit_rows);
    pool_.ParallelForDynamic(logits.n_rows(), [&](int64_t i, int) {
      const std::span row(static_cast<const float*>(logits.row(i)), logits.row_size());
      sampled[i] = Choose(row, sampling_[i]);
    });
    sampled_ = sampled;
    untaken_.push_back(std::move(sampled));
  }

  void TakeSampled(std::span<Sampled> sampled) override {
    AIOS_CHECK(!untaken_.empty(), "all steps were taken");
    AIOS_CHECK_EQ(sampled.size(), untaken_.front().size());
    std::ranges::copy(untaken_.front(), sampled.begin());
    untaken_.pop_front();
  }

 private:
  void MatMul(const Tensor& x, const Weight& w, float* y, bool add) {
    MatMul(x, w, y, add, [](int64_t) {});
  }

  // y = x W^T, or y += x W^T. y: [n, d_out]. When a thread has its share of each part's columns, it
  // calls then(share).
  template <typename Then>
  void MatMul(const Tensor& x, const Weight& w, float* y, bool add, const Then& then) {
    AIOS_CHECK_EQ(x.row_size(), w.d_in());
    const int64_t d_out = w.d_out();
    std::vector<cpu::MatMulArgs> products;
    int64_t column = 0;
    size_t scratch_floats = 0;
    for (const Tensor& part : w.parts()) {
      products.push_back({.format = part.dtype(),
                          .weight = part.data(),
                          .x = FloatsOf(x),
                          .y = y + column,
                          .n_rows = x.n_rows(),
                          .d_in = x.row_size(),
                          .d_out = part.n_rows(),
                          .y_stride = d_out,
                          .add = add});
      column += part.n_rows();
      scratch_floats =
          std::max(scratch_floats, static_cast<size_t>(cpu::MatMulScratchFloats(products.back())));
    }
    // Every thread gets its share of every part, so that shares are the same number of bytes
    // whatever the parts' formats, and threads meet once.
    const int n_threads = pool_.n_threads();
    pool_.ParallelFor(n_threads, [&](int64_t begin, int64_t end, int thread) {
      float* scratch = Scratch(thread, scratch_floats);
      for (const cpu::MatMulArgs& args : products) {
        cpu::MatMul(args, Share(args.d_out, begin, n_threads), Share(args.d_out, end, n_threads),
                    scratch);
      }
      then(begin);
    });
  }

  Tensor Normed(const Tensor& x, const Norm& norm) {
    AIOS_CHECK_EQ(norm.weight.d_in(), x.row_size());
    const cpu::RmsNormArgs args = {.x = FloatsOf(x),
                                   .weight = FloatsOf(&norm.weight),
                                   .eps = norm.eps,
                                   .d_model = x.row_size(),
                                   .out = normed_.As<float>()};
    pool_.ParallelFor(x.n_rows(),
                      [&](int64_t begin, int64_t end, int) { cpu::RmsNorm(args, begin, end); });
    return {args.out, DType::kF32, x.shape()};
  }

  int32_t SampledBefore(int64_t row) const {
    AIOS_CHECK(row < static_cast<int64_t>(sampled_.size()), "row {} of {} sampled", row,
               sampled_.size());
    // A step that stands on a choice which could not be made goes on with any token: who takes the
    // choice finds out.
    return std::max(0, sampled_[row].token);
  }

  static constexpr int64_t kAlignment = 256;

  // Where share i of n of d_out outputs begins: a multiple of 16, so that the kernels' tiles are
  // whole.
  static int64_t Share(int64_t d_out, int64_t i, int64_t n) {
    return i == n ? d_out : d_out * i / n / 16 * 16;
  }

  static cpu::BatchView RowsOf(const BatchView& batch) {
    return {.n_seqs = batch.n_seqs,
            .seq_offsets = batch.seq_offsets,
            .positions = batch.positions,
            .kv_lengths = batch.kv_lengths};
  }

  static cpu::KvView ViewOf(const KvPages& kv, const BatchView& batch) {
    AIOS_CHECK(kv.k.dtype() == DType::kF32 && kv.v.dtype() == DType::kF32);
    return {.k = kv.k.As<float>(),
            .v = kv.v.As<float>(),
            .page_table = batch.page_table,
            .max_pages_per_seq = batch.max_pages,
            .n_pages = kv.k.shape()[0],
            .page_size = static_cast<int>(kv.page_size()),
            .n_kv_heads = static_cast<int>(kv.k.shape()[1]),
            .head_dim = static_cast<int>(kv.k.shape()[3])};
  }

  static BatchView ViewOf(const Batch& batch) { return aios::ViewOf(batch); }

  // A thread's own memory, with any content.
  float* Scratch(int thread, size_t n_floats) { return Grow(scratch_[thread], n_floats); }

  static float* Grow(HostBuffer& buffer, size_t n_floats) {
    if (buffer.n_bytes() < n_floats * sizeof(float)) buffer = HostBuffer(n_floats * sizeof(float));
    return buffer.As<float>();
  }

  ThreadPool pool_;
  std::vector<HostBuffer> scratch_;  // [n_threads]
  HostBuffer scores_;                // of attention in two steps

  // Of a step: see Reserve.
  HostBuffer normed_;   // [n_tokens, d_model]
  HostBuffer q_;        // [n_tokens, q_dim]
  HostBuffer gate_up_;  // [n_tokens, 2 d_ff]
  std::vector<int32_t> tokens_;
  std::vector<SampleRow> sampling_;
  std::vector<Sampled> sampled_;  // by the last step
  std::deque<std::vector<Sampled>> untaken_;
};

}  // namespace

std::unique_ptr<Backend> MakeCpuBackend(int n_threads) {
  return std::make_unique<CpuBackend>(n_threads);
}

}  // namespace aios
