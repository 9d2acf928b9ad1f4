#include "benchmarks/timed_backend.h"

#include <chrono>
#include <utility>

namespace aios {
namespace {

class TimedBackend final : public Backend {
 public:
  TimedBackend(std::unique_ptr<Backend> backend, OperationTimes& times)
      : backend_(std::move(backend)), times_(times) {}

  std::string_view name() const override { return backend_->name(); }
  std::string description() const override { return backend_->description(); }
  Device device() const override { return backend_->device(); }
  DType activation_dtype() const override { return backend_->activation_dtype(); }

  Buffer Allocate(int64_t n_bytes, std::string_view what) override {
    return backend_->Allocate(n_bytes, what);
  }
  Buffer AllocateHost(int64_t n_bytes, std::string_view what) override {
    return backend_->AllocateHost(n_bytes, what);
  }
  int64_t FreeBytes() const override { return backend_->FreeBytes(); }
  Weight PrepareMatrix(std::span<const Tensor> parts) override {
    return backend_->PrepareMatrix(parts);
  }
  int64_t PreparedBytes(const Tensor& part) const override { return backend_->PreparedBytes(part); }
  Weight PrepareF32(std::span<const Tensor> parts) override { return backend_->PrepareF32(parts); }
  void Download(const Tensor& from, void* to) override { backend_->Download(from, to); }
  void Synchronize() override { backend_->Synchronize(); }
  void Copy(const Tensor& from, MutableTensor to) override { backend_->Copy(from, to); }
  void Reserve(const StepShape& shape) override { backend_->Reserve(shape); }
  int64_t StepBytes(const StepShape& shape) const override { return backend_->StepBytes(shape); }
  BatchView Upload(const Batch& batch) override { return backend_->Upload(batch); }

  void RunStep(const BatchView& batch, std::span<const KvPages> kv,
               const std::function<void()>& work) override {
    backend_->RunStep(batch, kv, work);
  }

  void Embed(const Weight& table, const BatchView& batch, MutableTensor x) override {
    Time("embed", [&] { backend_->Embed(table, batch, x); });
  }
  void NormMatMul(const Tensor& x, const Norm& norm, const Weight& w, MutableTensor y) override {
    Time("norm, product", w, [&] { backend_->NormMatMul(x, norm, w, y); });
  }
  void NormGateUp(const Tensor& x, const Norm& norm, const Weight& gate_up,
                  MutableTensor out) override {
    Time("norm, product, silu", gate_up, [&] { backend_->NormGateUp(x, norm, gate_up, out); });
  }
  void MatMulAdd(const Tensor& in, const Weight& w, MutableTensor x) override {
    Time("product, add", w, [&] { backend_->MatMulAdd(in, w, x); });
  }
  void Attention(const Tensor& qkv, const AttentionParams& params, const BatchView& batch,
                 const KvPages& kv, MutableTensor out) override {
    Time("rope, attention", [&] { backend_->Attention(qkv, params, batch, kv, out); });
  }
  void GatherLogitRows(const Tensor& x, const BatchView& batch, MutableTensor out) override {
    Time("gather", [&] { backend_->GatherLogitRows(x, batch, out); });
  }
  void Sample(const Tensor& logits, const BatchView& batch) override {
    Time("sample", [&] { backend_->Sample(logits, batch); });
  }
  void TakeSampled(std::span<Sampled> sampled) override { backend_->TakeSampled(sampled); }

 private:
  template <typename Operation>
  void Time(const std::string& name, const Operation& operation) {
    const auto start = std::chrono::steady_clock::now();
    operation();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    OperationTime& time = times_[name];
    ++time.n_calls;
    time.seconds += seconds.count();
  }
  template <typename Operation>
  void Time(std::string_view kind, const Weight& w, const Operation& operation) {
    const std::string name = fmt::format("{} {} x {}", kind, w.d_in(), w.d_out());
    Time(name, operation);
    times_[name].weight_bytes += w.n_bytes();
  }

  std::unique_ptr<Backend> backend_;
  OperationTimes& times_;
};

}  // namespace

std::unique_ptr<Backend> MakeTimedBackend(std::unique_ptr<Backend> backend, OperationTimes& times) {
  return std::make_unique<TimedBackend>(std::move(backend), times);
}

}  // namespace aios
