// Backend: the operations of a forward pass, at the grain at which kernels are fused. The forward
// pass (common/model/transformer.h) is written once, over this; the CPU and CUDA each implement it.
//
// In the operating system of the analogy, this is the interface of the device drivers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/backend/batch.h"
#include "common/tensor/tensor.h"
#include "kernels/rope.h"

namespace aios {

// Memory of a backend. Move-only; frees itself. The backend must outlive it.
class Buffer {
 public:
  using Free = void (*)(void*);

  Buffer() = default;
  Buffer(void* data, int64_t n_bytes, Free free) : data_(data, free), n_bytes_(n_bytes) {}

  void* data() const { return data_.get(); }
  int64_t n_bytes() const { return n_bytes_; }

 private:
  std::unique_ptr<void, Free> data_ = {nullptr, [](void*) {}};
  int64_t n_bytes_ = 0;
};

// A weight as a backend keeps it: a matrix [d_out, d_in] whose rows are those of its parts, one
// below the other (q, k and v; gate and up), so that what reads the same input is one product. Also
// a vector [d_in], in f32. The parts may have different formats.
class Weight {
 public:
  Weight() = default;  // no weight: a bias that the model does not have
  Weight(std::vector<Tensor> parts, Buffer storage = {})
      : parts_(std::move(parts)), storage_(std::move(storage)) {}

  bool empty() const { return parts_.empty(); }
  std::span<const Tensor> parts() const { return parts_; }
  int64_t d_in() const { return parts_.front().row_size(); }
  int64_t d_out() const {
    int64_t n = 0;
    for (const Tensor& part : parts_) n += part.n_rows();
    return n;
  }
  // Bytes that one product reads.
  int64_t n_bytes() const {
    int64_t n = 0;
    for (const Tensor& part : parts_) n += part.n_bytes();
    return n;
  }

 private:
  std::vector<Tensor> parts_;
  Buffer storage_;  // where the parts are; empty if they stay where the checkpoint has them
};

// The pages of one layer's keys and values, each [n_pages, n_kv_heads, page_size, head_dim], in the
// backend's activation dtype.
struct KvPages {
  MutableTensor k;
  MutableTensor v;
  int64_t page_size() const { return k.shape()[2]; }
};

// RMSNorm: x / rms(x) * weight. (Zhang & Sennrich 2019, https://arxiv.org/abs/1910.07467)
struct Norm {
  const Weight& weight;  // [d_model]
  float eps = 0;
};

// What Attention needs of the model.
struct AttentionParams {
  int64_t n_heads = 0;
  int64_t n_kv_heads = 0;
  int64_t head_dim = 0;
  const Weight* bias = nullptr;    // [q_dim + 2 kv_dim], or empty (Qwen2 has one)
  const Weight* q_norm = nullptr;  // [head_dim], or empty (Qwen3 has one)
  const Weight* k_norm = nullptr;  // likewise
  float norm_eps = 0;
  const Weight* cosine = nullptr;  // [max_context, head_dim / 2]
  const Weight* sine = nullptr;    // likewise
  kernels::RopePairing pairing = kernels::RopePairing::kHalves;
};

// What a backend must know of a model and its batches to take the memory for a step once.
struct StepShape {
  BatchLimits limits;
  int64_t d_model = 0;
  int64_t d_ff = 0;
  int64_t n_heads = 0;
  int64_t n_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t page_size = 0;
};

// Operations take effect in the order of the calls; on a GPU a call returns before its work is
// done, and only Download, TakeSampled and Synchronize wait. Tensors are in the backend's memory,
// except for Copy's.
// Activations have the backend's activation dtype, the residual stream and logits are f32, and all
// sums are made in f32. The bits of a row depend on nothing else in the batch, if the backend was
// made `deterministic`.
//
// Shapes that do not fit one another are our own bugs: they abort. A failing driver throws
// kernels::cuda::CudaError. Not thread-safe: one backend, one thread.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string_view name() const = 0;    // "cpu", "cuda"
  virtual std::string description() const = 0;  // "2 threads, AVX-512"; "NVIDIA H200, 132 SMs"
  virtual Device device() const = 0;
  virtual DType activation_dtype() const = 0;  // kF32 or kBF16

  // ---- Memory ----

  // Not initialized. Throws InputError, which says what was asked for, what is free and what to do,
  // if there is not enough. `what` it is for: "KV cache".
  virtual Buffer Allocate(int64_t n_bytes, std::string_view what) = 0;
  // Host memory from and to which Copy is asynchronous (page-locked, for a GPU). Not initialized.
  // Throws InputError, as Allocate.
  virtual Buffer AllocateHost(int64_t n_bytes, std::string_view what) = 0;
  // Bytes that Allocate can still give.
  virtual int64_t FreeBytes() const = 0;
  // A matrix for products and Embed. The tensors are on the host; unless the backend computes with
  // them where and as they are, they are not needed afterwards.
  virtual Weight PrepareMatrix(std::span<const Tensor> parts) = 0;
  // Bytes that PrepareMatrix takes of Allocate's memory for such a tensor.
  virtual int64_t PreparedBytes(const Tensor& part) const = 0;
  // A vector, or small table, as f32.
  virtual Weight PrepareF32(std::span<const Tensor> parts) = 0;
  // Waits for all that went before, then copies to the host.
  virtual void Download(const Tensor& from, void* to) = 0;
  virtual void Synchronize() = 0;
  // to = from: of the same format and shape, not overlapping; each in the backend's memory or, as
  // its device() says, in that of AllocateHost, which the host may touch again after Synchronize
  // (or after a later step's TakeSampled).
  virtual void Copy(const Tensor& from, MutableTensor to) = 0;

  // ---- A step ----

  // Takes memory for steps up to this shape; BatchView's pointers are the same from then on.
  virtual void Reserve(const StepShape& shape) = 0;
  // Bytes of Allocate's memory that Reserve takes.
  virtual int64_t StepBytes(const StepShape& shape) const = 0;
  // REQUIRES: within the limits. The batch must outlive the view, which the next call ends.
  virtual BatchView Upload(const Batch& batch) = 0;
  // Calls `work`, which enqueues the operations of a step. To start a kernel takes a host longer
  // than a small kernel takes to run; so a backend may record the operations of a step, and when
  // one with the same sizes and cache comes again, repeat the record rather than call `work` (CUDA
  // graphs). Hence `work` must then enqueue the same operations, on the same tensors. Reserve
  // forgets all records.
  virtual void RunStep(const BatchView& batch, std::span<const KvPages> kv,
                       const std::function<void()>& work) = 0;

  // x[t] = table[tokens[t]]. x: [n_tokens, d_model] f32.
  virtual void Embed(const Weight& table, const BatchView& batch, MutableTensor x) = 0;

  // y = norm(x) W^T. x: [n, d_in] f32, the residual stream; y: [n, d_out], f32 for logits.
  virtual void NormMatMul(const Tensor& x, const Norm& norm, const Weight& w, MutableTensor y) = 0;

  // out = silu(norm(x) Wg^T) * (norm(x) Wu^T). gate_up: [2 d_ff, d_model], Wg and below it Wu;
  // out: [n, d_ff]. (SwiGLU: Shazeer 2020, https://arxiv.org/abs/2002.05202)
  virtual void NormGateUp(const Tensor& x, const Norm& norm, const Weight& gate_up,
                          MutableTensor out) = 0;

  // x += in W^T. in: [n, d_in]; x: [n, d_out] f32, the residual stream.
  virtual void MatMulAdd(const Tensor& in, const Weight& w, MutableTensor x) = 0;

  // Adds the bias, norms the heads, turns q and k by their positions and puts k and v into the
  // cache; then each row attends to the keys of its sequence up to its own position.
  // qkv: [n_tokens, q_dim + 2 kv_dim]; out: [n_tokens, q_dim].
  virtual void Attention(const Tensor& qkv, const AttentionParams& params, const BatchView& batch,
                         const KvPages& kv, MutableTensor out) = 0;

  // out[i] = x[logit_rows[i]]. x: [n_tokens, d]; out: [n_logit_rows, d].
  virtual void GatherLogitRows(const Tensor& x, const BatchView& batch, MutableTensor out) = 0;

  // Chooses a token for each row of logits [n_logit_rows, vocab_size] f32 as the batch's `sampling`
  // says. Where the next batch has -1 - i for a token it means that of row i; the host gets them by
  // TakeSampled.
  virtual void Sample(const Tensor& logits, const BatchView& batch) = 0;
  // Waits for the oldest step whose choices were not taken yet. sampled: [its n_logit_rows]. At
  // most kMaxSteps may be untaken.
  static constexpr int kMaxSteps = 2;
  virtual void TakeSampled(std::span<Sampled> sampled) = 0;
};

struct BackendOptions {
  std::string backend = "auto";  // "auto": CUDA if there is a GPU that it can use; "cpu", "cuda"
  std::string dtype = "auto";    // "auto": f32 on the CPU, bf16 on CUDA
  int n_threads = 0;             // of the CPU; 0: one for each core
  int device = 0;                // which GPU
  // Let no library choose its way by the size of a batch: a row's bits then depend on nothing else
  // in the batch on CUDA too, where cuBLAS is faster. Always so on the CPU.
  bool deterministic = false;
};

// Why --backend cuda cannot be had on this GPU, in a sentence; empty if it can.
std::string WhyNoCuda(int device);

// Throws InputError if what was asked for is not there, saying why: built without CUDA, no driver,
// a driver that is too old, no GPU, or none that this build has code for.
std::unique_ptr<Backend> MakeBackend(const BackendOptions& options);

}  // namespace aios
