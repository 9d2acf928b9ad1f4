#include "common/backend/cpu_backend.h"

#include <algorithm>
#include <cstring>
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

  // ---- A step ----

  // What tasks need for themselves is taken when they first need it: it is small.
  void Reserve(const StepShape&) override {}
  BatchView Upload(const Batch& batch) override { return ViewOf(batch); }

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

  void RmsNorm(MutableTensor x, const Tensor* delta, const Weight& weight, float eps,
               MutableTensor out) override {
    const cpu::RmsNormArgs args = {.x = x.As<float>(),
                                   .delta = delta == nullptr ? nullptr : FloatsOf(*delta),
                                   .weight = FloatsOf(&weight),
                                   .eps = eps,
                                   .d_model = x.row_size(),
                                   .out = out.As<float>()};
    AIOS_CHECK_EQ(weight.d_in(), x.row_size());
    pool_.ParallelFor(x.n_rows(),
                      [&](int64_t begin, int64_t end, int) { cpu::RmsNorm(args, begin, end); });
  }

  void MatMul(const Tensor& x, const Weight& w, MutableTensor y) override {
    AIOS_CHECK_EQ(x.row_size(), w.d_in());
    AIOS_CHECK_EQ(y.row_size(), w.d_out());
    AIOS_CHECK_EQ(y.n_rows(), x.n_rows());
    std::vector<cpu::MatMulArgs> products;
    int64_t column = 0;
    size_t scratch_floats = 0;
    for (const Tensor& part : w.parts()) {
      products.push_back({.format = part.dtype(),
                          .weight = part.data(),
                          .x = FloatsOf(x),
                          .y = y.As<float>() + column,
                          .n_rows = x.n_rows(),
                          .d_in = x.row_size(),
                          .d_out = part.n_rows(),
                          .y_stride = y.row_size()});
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
    });
  }

  void RopeAndStoreKv(const Tensor& qkv, const RopeArgs& rope, const BatchView& batch,
                      const KvPages& kv, MutableTensor q) override {
    const cpu::RopeKvArgs args = {.qkv = FloatsOf(qkv),
                                  .bias = FloatsOf(rope.bias),
                                  .q_norm = FloatsOf(rope.q_norm),
                                  .k_norm = FloatsOf(rope.k_norm),
                                  .eps = rope.norm_eps,
                                  .cos = FloatsOf(rope.cosine),
                                  .sin = FloatsOf(rope.sine),
                                  .max_context = rope.cosine->d_out(),
                                  .pairing = rope.pairing,
                                  .n_heads = static_cast<int>(rope.n_heads),
                                  .batch = RowsOf(batch),
                                  .kv = ViewOf(kv, batch),
                                  .q = q.As<float>()};
    pool_.ParallelFor(batch.n_tokens, [&](int64_t begin, int64_t end, int) {
      cpu::RopeAndStoreKv(args, begin, end);
    });
  }

  void Attention(const Tensor& q, int64_t n_heads, const BatchView& batch, const KvPages& kv,
                 MutableTensor out) override {
    const cpu::AttentionArgs args = {.q = FloatsOf(q),
                                     .batch = RowsOf(batch),
                                     .kv = ViewOf(kv, batch),
                                     .n_heads = static_cast<int>(n_heads),
                                     .out = out.As<float>()};
    const size_t scratch_floats = cpu::AttentionScratchFloats(args);
    // One by one: the last rows of a prompt have more keys than the first.
    pool_.ParallelForDynamic(cpu::CountAttentionTasks(args), [&](int64_t task, int thread) {
      cpu::Attention(args, task, task + 1, Scratch(thread, scratch_floats));
    });
  }

  void SiluMul(const Tensor& gate_up, MutableTensor out) override {
    AIOS_CHECK_EQ(gate_up.row_size(), 2 * out.row_size());
    const cpu::SiluMulArgs args = {
        .gate_up = FloatsOf(gate_up), .d_ff = out.row_size(), .out = out.As<float>()};
    pool_.ParallelFor(out.n_rows(),
                      [&](int64_t begin, int64_t end, int) { cpu::SiluMul(args, begin, end); });
  }

  void GatherLogitRows(const Tensor& x, const BatchView& batch, MutableTensor out) override {
    const int64_t n_bytes = BytesOf(x.dtype(), x.row_size());
    for (int32_t i = 0; i < batch.n_logit_rows; ++i) {
      std::memcpy(out.As<std::byte>() + i * n_bytes, x.row(batch.logit_rows[i]), n_bytes);
    }
  }

  void Sample(const Tensor& logits, std::span<const SampleRow> rows,
              std::span<int32_t> tokens) override {
    AIOS_CHECK_EQ(static_cast<size_t>(logits.n_rows()), rows.size());
    AIOS_CHECK_EQ(tokens.size(), rows.size());
    pool_.ParallelForDynamic(logits.n_rows(), [&](int64_t i, int) {
      const std::span row(static_cast<const float*>(logits.row(i)), logits.row_size());
      tokens[i] = aios::Sample(row, rows[i].params, rows[i].step);
    });
  }

 private:
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
  float* Scratch(int thread, size_t n_floats) {
    HostBuffer& buffer = scratch_[thread];
    if (buffer.n_bytes() < n_floats * sizeof(float)) buffer = HostBuffer(n_floats * sizeof(float));
    return buffer.As<float>();
  }

  ThreadPool pool_;
  std::vector<HostBuffer> scratch_;  // [n_threads]
};

}  // namespace

std::unique_ptr<Backend> MakeCpuBackend(int n_threads) {
  return std::make_unique<CpuBackend>(n_threads);
}

}  // namespace aios
