// Backend: the operations of a forward pass, at the grain at which kernels are fused. The forward
// pass (common/model/transformer.h) is written once, over this; the CPU and CUDA each implement it.
//
// In the operating system of the analogy, this is the interface of the device drivers.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/backend/batch.h"
#include "common/sample/sampler.h"
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
// backend's activation dtype. page_size is a power of two.
struct KvPages {
  MutableTensor k;
  MutableTensor v;
  int64_t page_size() const { return k.shape()[2]; }
};

// What RopeAndStoreKv needs of the model.
struct RopeArgs {
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
  int64_t n_heads = 0;
  int64_t n_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t page_size = 0;
  int64_t vocab_size = 0;
};

struct SampleRow {
  SamplingParams params;
  uint64_t step = 0;  // which token of the answer this is
};

// Operations take effect in the order of the calls; on a GPU a call returns before its work is
// done, and only Download, Sample and Synchronize wait. Tensors are in the backend's memory.
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
  // Bytes that Allocate can still give.
  virtual int64_t FreeBytes() const = 0;
  // A matrix for MatMul and Embed. The tensors are on the host; unless the backend computes with
  // them where and as they are, they are not needed afterwards.
  virtual Weight PrepareMatrix(std::span<const Tensor> parts) = 0;
  // Bytes that PrepareMatrix takes of Allocate's memory for such a tensor.
  virtual int64_t PreparedBytes(const Tensor& part) const = 0;
  // A vector, or small table, as f32.
  virtual Weight PrepareF32(std::span<const Tensor> parts) = 0;
  // Waits for all that went before, then copies to the host.
  virtual void Download(const Tensor& from, void* to) = 0;
  virtual void Synchronize() = 0;

  // ---- A step ----

  // Takes memory for steps up to this shape; BatchView's pointers are the same from then on.
  virtual void Reserve(const StepShape& shape) = 0;
  // REQUIRES: within the limits. The batch must outlive the view, which the next call ends.
  virtual BatchView Upload(const Batch& batch) = 0;

  // x[t] = table[tokens[t]]. x: [n_tokens, d_model] f32.
  virtual void Embed(const Weight& table, const BatchView& batch, MutableTensor x) = 0;

  // x += delta, unless that is nullptr; out = x / rms(x) * weight. x: [n, d] f32, the residual
  // stream; delta, out: [n, d]. (Zhang & Sennrich 2019, https://arxiv.org/abs/1910.07467)
  virtual void RmsNorm(MutableTensor x, const Tensor* delta, const Weight& weight, float eps,
                       MutableTensor out) = 0;

  // y = x * W^T. x: [n, d_in]; y: [n, d_out], f32 for logits.
  virtual void MatMul(const Tensor& x, const Weight& w, MutableTensor y) = 0;

  // Adds the bias, norms the heads, turns q and k by their positions, writes q and puts k and v
  // into the cache. qkv: [n_tokens, q_dim + 2 kv_dim]; q: [n_tokens, q_dim].
  virtual void RopeAndStoreKv(const Tensor& qkv, const RopeArgs& args, const BatchView& batch,
                              const KvPages& kv, MutableTensor q) = 0;

  // Each row attends to the keys of its sequence up to its own position. q, out: [n_tokens, q_dim].
  virtual void Attention(const Tensor& q, int64_t n_heads, const BatchView& batch,
                         const KvPages& kv, MutableTensor out) = 0;

  // out = silu(gate) * up. gate_up: [n, 2 d_ff], gate first; out: [n, d_ff].
  virtual void SiluMul(const Tensor& gate_up, MutableTensor out) = 0;

  // out[i] = x[logit_rows[i]]. x: [n_tokens, d]; out: [n_logit_rows, d].
  virtual void GatherLogitRows(const Tensor& x, const BatchView& batch, MutableTensor out) = 0;

  // Chooses a token for each row of logits [n, vocab_size] f32, and waits for it.
  virtual void Sample(const Tensor& logits, std::span<const SampleRow> rows,
                      std::span<int32_t> tokens) = 0;
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
