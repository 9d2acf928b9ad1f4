#include "common/backend/cuda_backend.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "common/backend/cuda_uploader.h"
#include "common/base/check.h"
#include "common/base/error.h"
#include "common/device/gpu.h"
#include "common/device/memory.h"
#include "common/device/stream.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/embed.h"
#include "kernels/cuda/gather.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/gemv.h"
#include "kernels/cuda/rms_norm.h"
#include "kernels/cuda/rope_kv.h"
#include "kernels/cuda/sample.h"
#include "kernels/cuda/silu_mul.h"

namespace aios {
namespace {

namespace cuda = kernels::cuda;

// Where a batch is on the GPU: one buffer of int32, so that one copy brings all of it, with room
// for the largest batch before each part, so that the parts stay where they are. The page table,
// which is large and mostly unused, is last: what is past its end is not copied.
struct BatchLayout {
  explicit BatchLayout(const BatchLimits& limits)
      : positions(limits.n_tokens),
        seq_offsets(positions + limits.n_tokens),
        kv_lengths(seq_offsets + limits.n_seqs + 1),
        logit_rows(kv_lengths + limits.n_seqs),
        page_table(logit_rows + limits.n_logit_rows),
        end(page_table + int64_t{limits.n_seqs} * limits.max_pages) {}

  int64_t tokens = 0;
  int64_t positions, seq_offsets, kv_lengths, logit_rows, page_table, end;
};

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

  // ---- A step ----

  void Reserve(const StepShape& shape) override {
    layout_.emplace(shape.limits);
    const int64_t n_bytes = layout_->end * static_cast<int64_t>(sizeof(int32_t));
    batch_on_host_ = PinnedBuffer(n_bytes);
    batch_ = DeviceBuffer(n_bytes, "the batch");

    const cuda::AttentionArgs largest = {
        .dtype = dtype_,
        .n_seqs = shape.limits.n_seqs,
        .n_tokens = shape.limits.n_tokens,
        .max_rows = shape.limits.n_tokens,
        .max_kv_length = static_cast<int>(shape.limits.max_pages * shape.page_size),
        .page_size = static_cast<int>(shape.page_size),
        .n_heads = static_cast<int>(shape.n_heads),
        .n_kv_heads = static_cast<int>(shape.n_kv_heads),
        .head_dim = static_cast<int>(shape.head_dim)};
    attention_workspace_ =
        DeviceBuffer(static_cast<int64_t>(cuda::AttentionWorkspaceBytes(largest)), "attention");
    const int64_t n_rows = shape.limits.n_logit_rows;
    sampling_on_host_ = PinnedBuffer(n_rows * (kParamsBytes + kTokenBytes));
    sampling_ = DeviceBuffer(n_rows * (kParamsBytes + kTokenBytes), "sampling");
  }

  BatchView Upload(const Batch& batch) override {
    AIOS_CHECK(layout_.has_value(), "Reserve comes first");
    if (uploader_) {  // all weights are here, or on their way
      Synchronize();
      uploader_.reset();
    }
    batch_copied_.Synchronize();
    auto* host = batch_on_host_.As<int32_t>();
    auto* device = batch_.As<int32_t>();
    BatchView view = ViewOf(batch);
    const auto put = [&](const std::vector<int32_t>& numbers, int64_t at) {
      AIOS_CHECK(at + static_cast<int64_t>(numbers.size()) <= layout_->end);
      std::copy(numbers.begin(), numbers.end(), host + at);
      return device + at;
    };
    view.tokens = put(batch.tokens, layout_->tokens);
    view.positions = put(batch.positions, layout_->positions);
    view.seq_offsets = put(batch.seq_offsets, layout_->seq_offsets);
    view.kv_lengths = put(batch.kv_lengths, layout_->kv_lengths);
    view.logit_rows = put(batch.logit_rows, layout_->logit_rows);
    view.page_table = put(batch.page_table, layout_->page_table);
    const int64_t n = layout_->page_table + static_cast<int64_t>(batch.page_table.size());
    AIOS_CUDA_CHECK(
        cudaMemcpyAsync(device, host, n * sizeof(int32_t), cudaMemcpyHostToDevice, stream_.get()));
    batch_copied_.Record(stream_);
    return view;
  }

  void Embed(const Weight& table, const BatchView& batch, MutableTensor x) override {
    const Tensor& rows = table.parts().front();
    AIOS_CHECK_EQ(x.row_size(), rows.row_size());
    cuda::Embed({.table_dtype = rows.dtype(),
                 .table = rows.data(),
                 .tokens = batch.tokens,
                 .n_tokens = batch.n_tokens,
                 .d_model = x.row_size(),
                 .out = x.As<float>(),
                 .overlap_previous = true},
                stream_.get());
  }

  void RmsNorm(MutableTensor x, const Tensor* delta, const Weight& weight, float eps,
               MutableTensor out) override {
    AIOS_CHECK_EQ(weight.d_in(), x.row_size());
    AIOS_CHECK_EQ(out.row_size(), x.row_size());
    cuda::RmsNorm({.x = x.As<float>(),
                   .delta = delta == nullptr ? nullptr : delta->data(),
                   .weight = FloatsOf(&weight),
                   .out = out.mutable_data(),
                   .eps = eps,
                   .n_rows = x.n_rows(),
                   .d_model = x.row_size(),
                   .dtype = dtype_,
                   .overlap_previous = true},
                  stream_.get());
  }

  // Few rows: the matrix is read at the speed of memory by the vector product. Many: the library's
  // product, which chooses its order of sums by their number, unless that must not be.
  void MatMul(const Tensor& x, const Weight& w, MutableTensor y) override {
    AIOS_CHECK_EQ(x.row_size(), w.d_in());
    AIOS_CHECK_EQ(y.row_size(), w.d_out());
    AIOS_CHECK_EQ(y.n_rows(), x.n_rows());
    const Tensor& matrix = w.parts().front();
    const int64_t n_rows = x.n_rows();
    if (n_rows > cuda::kGemvMaxRows && !deterministic_) {
      gemm_.Run({.x = x.data(),
                 .weight = matrix.data(),
                 .y = y.mutable_data(),
                 .n_rows = n_rows,
                 .d_in = x.row_size(),
                 .d_out = y.row_size(),
                 .dtype = dtype_,
                 .y_dtype = y.dtype()},
                stream_.get());
      return;
    }
    for (int64_t row = 0; row < n_rows; row += cuda::kGemvMaxRows) {
      cuda::Gemv({.x = x.row(row),
                  .weight = matrix.data(),
                  .y = y.As<std::byte>() + BytesOf(y.dtype(), row * y.row_size()),
                  .n_rows = static_cast<int>(std::min<int64_t>(cuda::kGemvMaxRows, n_rows - row)),
                  .d_in = x.row_size(),
                  .d_out = y.row_size(),
                  .dtype = dtype_,
                  .y_dtype = y.dtype(),
                  .overlap_previous = true},
                 stream_.get());
    }
  }

  void RopeAndStoreKv(const Tensor& qkv, const RopeArgs& rope, const BatchView& batch,
                      const KvPages& kv, MutableTensor q) override {
    AIOS_CHECK_EQ(qkv.row_size(), (rope.n_heads + 2 * rope.n_kv_heads) * rope.head_dim);
    AIOS_CHECK_EQ(q.row_size(), rope.n_heads * rope.head_dim);
    CheckPages(kv);
    cuda::RopeAndStoreKv({.dtype = dtype_,
                          .qkv = qkv.data(),
                          .bias = FloatsOf(rope.bias),
                          .q_norm = FloatsOf(rope.q_norm),
                          .k_norm = FloatsOf(rope.k_norm),
                          .eps = rope.norm_eps,
                          .cos = FloatsOf(rope.cosine),
                          .sin = FloatsOf(rope.sine),
                          .pairing = rope.pairing,
                          .seq_offsets = batch.seq_offsets,
                          .positions = batch.positions,
                          .n_seqs = batch.n_seqs,
                          .n_tokens = batch.n_tokens,
                          .page_table = batch.page_table,
                          .page_table_stride = batch.max_pages,
                          .page_size = static_cast<int>(kv.page_size()),
                          .k_pages = kv.k.mutable_data(),
                          .v_pages = kv.v.mutable_data(),
                          .n_heads = static_cast<int>(rope.n_heads),
                          .n_kv_heads = static_cast<int>(rope.n_kv_heads),
                          .head_dim = static_cast<int>(rope.head_dim),
                          .q = q.mutable_data(),
                          .overlap_previous = true},
                         stream_.get());
  }

  void Attention(const Tensor& q, int64_t n_heads, const BatchView& batch, const KvPages& kv,
                 MutableTensor out) override {
    CheckPages(kv);
    const int64_t head_dim = kv.k.shape()[3];
    AIOS_CHECK_EQ(q.row_size(), n_heads * head_dim);
    cuda::Attention({.dtype = dtype_,
                     .q = q.data(),
                     .k_pages = kv.k.data(),
                     .v_pages = kv.v.data(),
                     .out = out.mutable_data(),
                     .page_table = batch.page_table,
                     .page_table_stride = batch.max_pages,
                     .seq_offsets = batch.seq_offsets,
                     .kv_lengths = batch.kv_lengths,
                     .n_seqs = batch.n_seqs,
                     .n_tokens = batch.n_tokens,
                     .max_rows = batch.max_rows,
                     .max_kv_length = batch.max_kv_length,
                     .page_size = static_cast<int>(kv.page_size()),
                     .n_heads = static_cast<int>(n_heads),
                     .n_kv_heads = static_cast<int>(kv.k.shape()[1]),
                     .head_dim = static_cast<int>(head_dim),
                     .scale = 1 / std::sqrt(static_cast<float>(head_dim)),
                     .deterministic = deterministic_,
                     .workspace = attention_workspace_.data(),
                     .workspace_bytes = static_cast<size_t>(attention_workspace_.n_bytes())},
                    stream_.get());
  }

  void SiluMul(const Tensor& gate_up, MutableTensor out) override {
    AIOS_CHECK_EQ(gate_up.row_size(), 2 * out.row_size());
    cuda::SiluMul({.dtype = dtype_,
                   .gate_up = gate_up.data(),
                   .n_tokens = out.n_rows(),
                   .d_ff = out.row_size(),
                   .out = out.mutable_data(),
                   .overlap_previous = true},
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

  void Sample(const Tensor& logits, std::span<const SampleRow> rows,
              std::span<int32_t> tokens) override {
    const auto n_rows = static_cast<int64_t>(rows.size());
    AIOS_CHECK_EQ(logits.n_rows(), n_rows);
    AIOS_CHECK_EQ(tokens.size(), rows.size());
    AIOS_CHECK(n_rows * (kParamsBytes + kTokenBytes) <= sampling_.n_bytes(), "{} rows", n_rows);
    if (n_rows == 0) return;
    // Parameters first, tokens after them, on both sides.
    auto* params = sampling_on_host_.As<cuda::SampleParams>();
    for (const SampleRow& row : rows) {
      *params++ = {.temperature = row.params.temperature,
                   .top_k = row.params.top_k,
                   .top_p = row.params.top_p,
                   .min_p = row.params.min_p,
                   .seed = row.params.seed,
                   .step = row.step};
    }
    auto* on_device = sampling_.As<std::byte>();
    auto* tokens_on_device = reinterpret_cast<int32_t*>(on_device + n_rows * kParamsBytes);
    auto* tokens_on_host = reinterpret_cast<int32_t*>(params);
    AIOS_CUDA_CHECK(cudaMemcpyAsync(on_device, sampling_on_host_.data(), n_rows * kParamsBytes,
                                    cudaMemcpyHostToDevice, stream_.get()));
    cuda::Sample({.logits = static_cast<const float*>(logits.data()),
                  .params = sampling_.As<cuda::SampleParams>(),
                  .tokens = tokens_on_device,
                  .n_rows = static_cast<int>(n_rows),
                  .vocab_size = static_cast<int>(logits.row_size())},
                 stream_.get());
    AIOS_CUDA_CHECK(cudaMemcpyAsync(tokens_on_host, tokens_on_device, n_rows * kTokenBytes,
                                    cudaMemcpyDeviceToHost, stream_.get()));
    Synchronize();
    std::copy_n(tokens_on_host, n_rows, tokens.begin());
    if (std::ranges::find(tokens, cuda::kNoToken) != tokens.end()) {
      throw InputError("a score of the model is not a finite number: its weights are damaged");
    }
  }

 private:
  static constexpr int64_t kParamsBytes = sizeof(cuda::SampleParams);
  static constexpr int64_t kTokenBytes = sizeof(int32_t);

  static const float* FloatsOf(const Weight* weight) {
    if (weight == nullptr || weight->empty()) return nullptr;
    const Tensor& numbers = weight->parts().front();
    AIOS_CHECK(numbers.dtype() == DType::kF32 && numbers.device() == Device::kCuda);
    return static_cast<const float*>(numbers.data());
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

  std::optional<BatchLayout> layout_;
  PinnedBuffer batch_on_host_;
  DeviceBuffer batch_;
  Event batch_copied_;  // batch_on_host_ may be written again
  DeviceBuffer attention_workspace_;
  PinnedBuffer sampling_on_host_;
  DeviceBuffer sampling_;
};

}  // namespace

std::unique_ptr<Backend> MakeCudaBackend(const CudaBackendOptions& options) {
  return std::make_unique<CudaBackend>(options);
}

}  // namespace aios
