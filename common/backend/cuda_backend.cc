#include "common/backend/cuda_backend.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "common/backend/cuda_step.h"
#include "common/backend/cuda_uploader.h"
#include "common/base/check.h"
#include "common/base/error.h"
#include "common/device/gpu.h"
#include "common/device/memory.h"
#include "common/device/stream.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/decode_attention.h"
#include "kernels/cuda/embed.h"
#include "kernels/cuda/gather.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/gemm_sm90.h"
#include "kernels/cuda/gemv.h"
#include "kernels/cuda/rms_norm.h"
#include "kernels/cuda/rope_kv.h"
#include "kernels/cuda/sample.h"
#include "kernels/cuda/silu_mul.h"

namespace aios {
namespace {

namespace cuda = kernels::cuda;

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const CudaBackendOptions& options)
      : gpu_(OpenGpu(options.device)),
        dtype_(options.dtype),
        deterministic_(options.deterministic) {
    AIOS_CHECK(dtype_ == DType::kF32 || dtype_ == DType::kBF16);
  }
  ~CudaBackend() override { cudaStreamSynchronize(stream_.get()); }

  std::string_view name() const override { return "cuda"; }
  std::string description() const override {
    return fmt::format("{} ({} SMs)", gpu_.name, gpu_.n_sms);
  }
  Device device() const override { return Device::kCuda; }
  DType activation_dtype() const override { return dtype_; }

  // ---- Memory ----

  Buffer Allocate(int64_t n_bytes, std::string_view what) override {
    DeviceBuffer buffer(n_bytes, what);
    return {buffer.Release(), n_bytes, [](void* data) { cudaFree(data); }};
  }

  Buffer AllocateHost(int64_t n_bytes, std::string_view what) override {
    PinnedBuffer buffer(n_bytes, what);
    return {buffer.Release(), n_bytes, [](void* data) { cudaFreeHost(data); }};
  }

  int64_t FreeBytes() const override { return FreeGpuMemory(); }

  Weight PrepareMatrix(std::span<const Tensor> parts) override { return Prepare(parts, dtype_); }
  Weight PrepareF32(std::span<const Tensor> parts) override { return Prepare(parts, DType::kF32); }

  int64_t PreparedBytes(const Tensor& part) const override {
    return BytesOf(dtype_, part.n_elements());
  }

  void Download(const Tensor& from, void* to) override {
    AIOS_CHECK(from.device() == Device::kCuda);
    AIOS_CUDA_CHECK(
        cudaMemcpyAsync(to, from.data(), from.n_bytes(), cudaMemcpyDeviceToHost, stream_.get()));
    Synchronize();
  }

  void Synchronize() override { stream_.Synchronize(); }

  void Copy(const Tensor& from, MutableTensor to) override {
    AIOS_CHECK(from.dtype() == to.dtype() && from.n_elements() == to.n_elements());
    AIOS_CUDA_CHECK(cudaMemcpyAsync(to.mutable_data(), from.data(), from.n_bytes(),
                                    KindOf(from.device(), to.device()), stream_.get()));
  }

  // ---- A step ----

  void Reserve(const StepShape& shape) override {
    records_.Clear();
    batch_.emplace(shape);
    const auto take = [&](int64_t n_bytes, const char* what) {
      return DeviceBuffer(n_bytes, what);
    };
    normed_ = take(NormedBytes(shape), "activations");
    q_ = take(QBytes(shape), "activations");
    gate_up_ = take(GateUpBytes(shape), "activations");
    attention_workspace_ = take(AttentionBytes(shape), "attention");
    gemv_workspace_ = take(GemvBytes(shape), "activations");
    arrivals_ = take(ArrivalBytes(shape), "attention");
    AIOS_CUDA_CHECK(cudaMemsetAsync(arrivals_.data(), 0, ArrivalBytes(shape), stream_.get()));
  }

  int64_t StepBytes(const StepShape& shape) const override {
    return CudaBatch::BytesFor(shape) + NormedBytes(shape) + QBytes(shape) + GateUpBytes(shape) +
           AttentionBytes(shape) + GemvBytes(shape) + ArrivalBytes(shape);
  }

  BatchView Upload(const Batch& batch) override {
    AIOS_CHECK(batch_.has_value(), "Reserve comes first");
    if (uploader_) {  // all weights are here, or on their way
      Synchronize();
      uploader_.reset();
    }
    return batch_->Upload(batch, stream_);
  }

  void RunStep(const BatchView& batch, std::span<const KvPages> kv,
               const std::function<void()>& work) override {
    records_.Run(batch, kv, stream_, work);
    if (batch.samples) batch_->Return(stream_);
  }

  void Embed(const Weight& table, const BatchView& batch, MutableTensor x) override {
    const Tensor& rows = table.parts().front();
    AIOS_CHECK_EQ(x.row_size(), rows.row_size());
    cuda::Embed({.table_dtype = rows.dtype(),
                 .table = rows.data(),
                 .tokens = batch.tokens,
                 .sampled = batch_->sampled(),
                 .n_tokens = batch.n_tokens,
                 .d_model = x.row_size(),
                 .out = x.As<float>(),
                 .overlap_previous = true},
                stream_.get());
  }

  // Up to kGemvMaxRows rows the matrix is read at the speed of memory by the vector product, which
  // does what comes before and after it, too; some more take Hopper's own product, which does what
  // comes after it; many the library's product, which chooses its order of sums by their number. So
  // if deterministic one of the first two does all rows: Hopper's own, or, where it cannot,
  // kGemvMaxRows rows at a time.

  void NormMatMul(const Tensor& x, const Norm& norm, const Weight& w, MutableTensor y) override {
    AIOS_CHECK_EQ(y.row_size(), w.d_out());
    switch (WayOf(x, w, y.row_size())) {
      case Way::kGemv:
        return NormGemv(x, norm, w, y, cuda::GemvOutput::kStore);
      case Way::kSm90:
        return GemmSm90(Normed(x, norm), w, y, cuda::GemvOutput::kStore);
      case Way::kLibrary:
        return Gemm(Normed(x, norm), w, y);
    }
  }

  void NormGateUp(const Tensor& x, const Norm& norm, const Weight& gate_up,
                  MutableTensor out) override {
    AIOS_CHECK_EQ(gate_up.d_out(), 2 * out.row_size());
    const Way way = WayOf(x, gate_up, out.row_size());
    if (way == Way::kGemv) return NormGemv(x, norm, gate_up, out, cuda::GemvOutput::kSiluMul);
    if (way == Way::kSm90) {
      return GemmSm90(Normed(x, norm), gate_up, out, cuda::GemvOutput::kSiluMul);
    }
    const MutableTensor both(gate_up_.data(), dtype_, {out.n_rows(), gate_up.d_out()},
                             Device::kCuda);
    Gemm(Normed(x, norm), gate_up, both);
    cuda::SiluMul({.dtype = dtype_,
                   .gate_up = both.data(),
                   .n_tokens = out.n_rows(),
                   .d_ff = out.row_size(),
                   .out = out.mutable_data(),
                   .overlap_previous = true},
                  stream_.get());
  }

  void MatMulAdd(const Tensor& in, const Weight& w, MutableTensor x) override {
    AIOS_CHECK_EQ(x.row_size(), w.d_out());
    AIOS_CHECK(x.dtype() == DType::kF32);
    switch (WayOf(in, w, x.row_size())) {
      case Way::kGemv:
        return Gemv(in, w, x, {.output = cuda::GemvOutput::kAdd},
                    [](cuda::GemvArgs& args, const void* row) { args.x = row; });
      case Way::kSm90:
        return GemmSm90(in, w, x, cuda::GemvOutput::kAdd);
      case Way::kLibrary:
        return Gemm(in, w, x, /*add=*/true);
    }
  }

  void Attention(const Tensor& qkv, const AttentionParams& params, const BatchView& batch,
                 const KvPages& kv, MutableTensor out) override {
    AIOS_CHECK_EQ(qkv.row_size(), (params.n_heads + 2 * params.n_kv_heads) * params.head_dim);
    AIOS_CHECK_EQ(out.row_size(), params.n_heads * params.head_dim);
    CheckPages(kv);
    cuda::RopeKvArgs rope = {.dtype = dtype_,
                             .qkv = qkv.data(),
                             .bias = FloatsOf(params.bias),
                             .q_norm = FloatsOf(params.q_norm),
                             .k_norm = FloatsOf(params.k_norm),
                             .eps = params.norm_eps,
                             .cos = FloatsOf(params.cosine),
                             .sin = FloatsOf(params.sine),
                             .pairing = params.pairing,
                             .seq_offsets = batch.seq_offsets,
                             .positions = batch.positions,
                             .n_seqs = batch.n_seqs,
                             .n_tokens = batch.n_tokens,
                             .page_table = batch.page_table,
                             .page_table_stride = batch.max_pages,
                             .page_size = static_cast<int>(kv.page_size()),
                             .k_pages = kv.k.mutable_data(),
                             .v_pages = kv.v.mutable_data(),
                             .n_heads = static_cast<int>(params.n_heads),
                             .n_kv_heads = static_cast<int>(params.n_kv_heads),
                             .head_dim = static_cast<int>(params.head_dim),
                             .q = q_.data(),
                             .overlap_previous = true};
    const float scale = 1 / std::sqrt(static_cast<float>(params.head_dim));
    const auto workspace_bytes = static_cast<size_t>(attention_workspace_.n_bytes());
    // Those of one row, which come first, have a kernel of their own: of the same bits, and faster.
    const int n = batch.n_decoding;
    if (n > 0) {
      cuda::RopeKvArgs decoding = rope;
      decoding.n_seqs = decoding.n_tokens = n;
      cuda::DecodeAttention({.rope = decoding,
                             .kv_lengths = batch.kv_lengths,
                             .max_kv_length = batch.max_kv_length,
                             .scale = scale,
                             .out = out.mutable_data(),
                             .arrivals = arrivals_.As<uint32_t>(),
                             .workspace = attention_workspace_.data(),
                             .workspace_bytes = workspace_bytes},
                            stream_.get());
    }
    if (n == batch.n_seqs) return;
    const auto after = [&](const void* rows, int64_t row_size) {
      return static_cast<const std::byte*>(rows) + BytesOf(dtype_, n * row_size);
    };
    rope.qkv = after(rope.qkv, qkv.row_size());
    rope.q = const_cast<std::byte*>(after(rope.q, out.row_size()));
    rope.positions += n;
    rope.seq_offsets += n;
    rope.first_row = n;
    rope.page_table += int64_t{n} * batch.max_pages;
    rope.n_seqs -= n;
    rope.n_tokens -= n;
    cuda::RopeAndStoreKv(rope, stream_.get());
    cuda::Attention({.dtype = dtype_,
                     .q = rope.q,
                     .k_pages = kv.k.data(),
                     .v_pages = kv.v.data(),
                     .out = const_cast<std::byte*>(after(out.data(), out.row_size())),
                     .page_table = rope.page_table,
                     .page_table_stride = batch.max_pages,
                     .seq_offsets = rope.seq_offsets,
                     .first_row = n,
                     .kv_lengths = batch.kv_lengths + n,
                     .n_seqs = rope.n_seqs,
                     .n_tokens = rope.n_tokens,
                     .max_rows = batch.max_rows,
                     .max_kv_length = batch.max_kv_length,
                     .page_size = static_cast<int>(kv.page_size()),
                     .n_heads = static_cast<int>(params.n_heads),
                     .n_kv_heads = static_cast<int>(params.n_kv_heads),
                     .head_dim = static_cast<int>(params.head_dim),
                     .scale = scale,
                     .deterministic = deterministic_,
                     .workspace = attention_workspace_.data(),
                     .workspace_bytes = workspace_bytes},
                    stream_.get());
  }

  void GatherLogitRows(const Tensor& x, const BatchView& batch, MutableTensor out) override {
    cuda::Gather({.dtype = x.dtype(),
                  .x = x.data(),
                  .rows = batch.logit_rows,
                  .n_rows = batch.n_logit_rows,
                  .d = x.row_size(),
                  .out = out.mutable_data(),
                  .overlap_previous = true},
                 stream_.get());
  }

  void Sample(const Tensor& logits, const BatchView& batch) override {
    AIOS_CHECK_EQ(logits.n_rows(), batch.n_logit_rows);
    cuda::Sample({.logits = static_cast<const float*>(logits.data()),
                  .params = batch_->sampling(),
                  .tokens = batch_->sampled(),
                  .margins = batch_->margins(),
                  .n_rows = batch.n_logit_rows,
                  .vocab_size = static_cast<int>(logits.row_size()),
                  .overlap_previous = true},
                 stream_.get());
  }

  void TakeSampled(std::span<Sampled> sampled) override { batch_->Take(sampled); }

 private:
  // Bytes that a step takes for this and that.
  int64_t NormedBytes(const StepShape& shape) const {
    return BytesOf(dtype_, shape.limits.n_tokens * shape.d_model);
  }
  int64_t QBytes(const StepShape& shape) const {
    return BytesOf(dtype_, shape.limits.n_tokens * shape.n_heads * shape.head_dim);
  }
  int64_t GateUpBytes(const StepShape& shape) const {
    return BytesOf(dtype_, shape.limits.n_tokens * 2 * shape.d_ff);
  }
  int64_t AttentionBytes(const StepShape& shape) const {
    return static_cast<int64_t>(cuda::AttentionWorkspaceBytes(
        {.dtype = dtype_,
         .n_seqs = shape.limits.n_seqs,
         .n_tokens = shape.limits.n_tokens,
         .max_rows = shape.limits.n_tokens,
         .max_kv_length = static_cast<int>(shape.limits.max_pages * shape.page_size),
         .page_size = static_cast<int>(shape.page_size),
         .n_heads = static_cast<int>(shape.n_heads),
         .n_kv_heads = static_cast<int>(shape.n_kv_heads),
         .head_dim = static_cast<int>(shape.head_dim)}));
  }

  static int64_t ArrivalBytes(const StepShape& shape) {
    return shape.limits.n_seqs * shape.n_kv_heads * static_cast<int64_t>(sizeof(uint32_t));
  }
  int64_t GemvBytes(const StepShape& shape) const {
    return static_cast<int64_t>(
        cuda::GemvWorkspaceBytes(cuda::kGemvMaxRows, shape.d_model, dtype_));
  }

  Tensor Normed(const Tensor& x, const Norm& norm) {
    AIOS_CHECK_EQ(norm.weight.d_in(), x.row_size());
    AIOS_CHECK(BytesOf(dtype_, x.n_elements()) <= normed_.n_bytes(), "{} rows", x.n_rows());
    cuda::RmsNorm(
        {.x = const_cast<float*>(static_cast<const float*>(x.data())),  // only read: no delta
         .weight = FloatsOf(&norm.weight),
         .out = normed_.data(),
         .eps = norm.eps,
         .n_rows = x.n_rows(),
         .d_model = x.row_size(),
         .dtype = dtype_,
         .overlap_previous = true},
        stream_.get());
    return {normed_.data(), dtype_, x.shape(), Device::kCuda};
  }

  enum class Way : uint8_t { kGemv, kSm90, kLibrary };

  // Up to how many rows Hopper's own product is faster than the library's. (llama-8b, 256 rows, us:
  // gate and up 108, the library's with its SiLU 113; down 59 and 61; out 24 and 20, qkv 30
  // and 24.)
  static int64_t Sm90MaxRows(const Weight& w) {
    if (std::min(w.d_in(), w.d_out()) < 2048) return 128;
    return w.d_in() * w.d_out() > 1 << 25 ? 256 : 192;
  }

  // How x, of so many rows, is multiplied with W.
  Way WayOf(const Tensor& x, const Weight& w, int64_t d_out) const {
    const bool few = x.n_rows() <= cuda::kGemvMaxRows;
    if (few && !deterministic_) return Way::kGemv;
    const bool sm90 = dtype_ == DType::kBF16 &&
                      cuda::GemmSm90Supports(
                          {.weight = w.parts().front().data(), .d_in = w.d_in(), .d_out = d_out});
    if (sm90 && (deterministic_ || x.n_rows() <= Sm90MaxRows(w))) return Way::kSm90;
    return deterministic_ ? Way::kGemv : Way::kLibrary;
  }

  // The vector product of kGemvMaxRows rows at a time. set_input(args, row) names the vectors.
  template <typename SetInput>
  void Gemv(const Tensor& x, const Weight& w, MutableTensor y, cuda::GemvArgs args,
            const SetInput& set_input) {
    AIOS_CHECK_EQ(x.row_size(), w.d_in());
    AIOS_CHECK_EQ(y.n_rows(), x.n_rows());
    args.weight = w.parts().front().data();
    args.d_in = x.row_size();
    args.d_out = y.row_size();
    args.dtype = dtype_;
    args.y_dtype = y.dtype();
    args.overlap_previous = true;
    for (int64_t row = 0; row < x.n_rows(); row += cuda::kGemvMaxRows) {
      set_input(args, x.row(row));
      args.y = y.As<std::byte>() + BytesOf(y.dtype(), row * y.row_size());
      args.n_rows = static_cast<int>(std::min<int64_t>(cuda::kGemvMaxRows, x.n_rows() - row));
      cuda::Gemv(args, stream_.get());
    }
  }

  void NormGemv(const Tensor& x, const Norm& norm, const Weight& w, MutableTensor y,
                cuda::GemvOutput output) {
    AIOS_CHECK_EQ(norm.weight.d_in(), x.row_size());
    Gemv(x, w, y,
         {.norm_weight = FloatsOf(&norm.weight),
          .norm_eps = norm.eps,
          .workspace = gemv_workspace_.data(),
          .output = output},
         [](cuda::GemvArgs& args, const void* row) {
           args.residual = static_cast<const float*>(row);
         });
  }

  // What `output` says of x W^T.
  void GemmSm90(const Tensor& x, const Weight& w, MutableTensor y, cuda::GemvOutput output) {
    AIOS_CHECK_EQ(x.row_size(), w.d_in());
    AIOS_CHECK_EQ(y.n_rows(), x.n_rows());
    cuda::GemmSm90({.x = x.data(),
                    .weight = w.parts().front().data(),
                    .y = y.mutable_data(),
                    .n_rows = x.n_rows(),
                    .d_in = x.row_size(),
                    .d_out = y.row_size(),
                    .y_dtype = y.dtype(),
                    .output = output,
                    .overlap_previous = true},
                   stream_.get());
  }

  // y = x W^T, or y += x W^T.
  void Gemm(const Tensor& x, const Weight& w, MutableTensor y, bool add = false) {
    AIOS_CHECK_EQ(x.row_size(), w.d_in());
    AIOS_CHECK_EQ(y.n_rows(), x.n_rows());
    gemm_.Run({.x = x.data(),
               .weight = w.parts().front().data(),
               .y = y.mutable_data(),
               .n_rows = x.n_rows(),
               .d_in = x.row_size(),
               .d_out = y.row_size(),
               .dtype = dtype_,
               .y_dtype = y.dtype(),
               .add = add},
              stream_.get());
  }

  static const float* FloatsOf(const Weight* weight) {
    if (weight == nullptr || weight->empty()) return nullptr;
    const Tensor& numbers = weight->parts().front();
    AIOS_CHECK(numbers.dtype() == DType::kF32 && numbers.device() == Device::kCuda);
    return static_cast<const float*>(numbers.data());
  }

  static cudaMemcpyKind KindOf(Device from, Device to) {
    if (from == Device::kCpu) {
      return to == Device::kCpu ? cudaMemcpyHostToHost : cudaMemcpyHostToDevice;
    }
    return to == Device::kCpu ? cudaMemcpyDeviceToHost : cudaMemcpyDeviceToDevice;
  }

  void CheckPages(const KvPages& kv) const {
    AIOS_CHECK(kv.k.dtype() == dtype_ && kv.v.dtype() == dtype_);
    AIOS_CHECK(kv.k.device() == Device::kCuda && kv.v.device() == Device::kCuda);
  }

  // One piece of memory for all parts, so that they are one product.
  Weight Prepare(std::span<const Tensor> parts, DType dtype) {
    int64_t n = 0;
    for (const Tensor& part : parts) n += part.n_elements();
    Buffer buffer = Allocate(BytesOf(dtype, n), "weights");
    if (!uploader_) uploader_.emplace();
    auto* to = static_cast<std::byte*>(buffer.data());
    for (const Tensor& part : parts) {
      uploader_->Upload(part, dtype, to, stream_);
      to += BytesOf(dtype, part.n_elements());
    }
    const int64_t d_in = parts.front().row_size();
    const bool vector = parts.front().shape().rank() == 1;
    const Tensor whole(buffer.data(), dtype, vector ? Shape{n} : Shape{n / d_in, d_in},
                       Device::kCuda);
    return Weight({whole}, std::move(buffer));
  }

  Gpu gpu_;
  Stream stream_;
  DType dtype_;
  bool deterministic_;
  cuda::Gemm gemm_;
  std::optional<CudaUploader> uploader_;  // only while weights are prepared

  // Of a step: see Reserve.
  std::optional<CudaBatch> batch_;
  DeviceBuffer normed_;   // T [n_tokens, d_model]
  DeviceBuffer q_;        // T [n_tokens, q_dim]
  DeviceBuffer gate_up_;  // T [n_tokens, 2 d_ff]
  DeviceBuffer attention_workspace_;
  DeviceBuffer gemv_workspace_;
  DeviceBuffer arrivals_;  // uint32 [n_seqs, n_kv_heads], zeros between launches
  StepRecords records_;
};

}  // namespace

std::unique_ptr<Backend> MakeCudaBackend(const CudaBackendOptions& options) {
  return std::make_unique<CudaBackend>(options);
}

}  // namespace aios
