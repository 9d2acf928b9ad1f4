#include "common/backend/cuda_step.h"

#include <algorithm>
#include <bit>
#include <vector>

#include "common/base/check.h"
#include "kernels/cuda/check.h"

namespace aios {
namespace {

namespace cuda = kernels::cuda;

// Steps whose longest sequences are of like length have the same launches.
int32_t RoundKvLength(int32_t length, int64_t max_context) {
  constexpr uint32_t kShortest = 512;
  const uint32_t rounded = std::bit_ceil(std::max(static_cast<uint32_t>(length), kShortest));
  return static_cast<int32_t>(std::min(int64_t{rounded}, max_context));
}

}  // namespace

// ---- The batch ----------------------------------------------------------------------------------

CudaBatch::Layout::Layout(const BatchLimits& limits) {
  end = 0;
  const auto put = [&](int64_t n, size_t size) {
    const int64_t at = end;
    end += n * static_cast<int64_t>(size);
    return at;
  };
  sampling = put(limits.n_logit_rows, sizeof(cuda::SampleParams));
  tokens = put(limits.n_tokens, sizeof(int32_t));
  positions = put(limits.n_tokens, sizeof(int32_t));
  seq_offsets = put(limits.n_seqs + 1, sizeof(int32_t));
  kv_lengths = put(limits.n_seqs, sizeof(int32_t));
  logit_rows = put(limits.n_logit_rows, sizeof(int32_t));
  page_table = put(int64_t{limits.n_seqs} * limits.max_pages, sizeof(int32_t));
}

int64_t CudaBatch::BytesFor(const StepShape& shape) {
  return Layout(shape.limits).end +
         shape.limits.n_logit_rows * static_cast<int64_t>(sizeof(int32_t) + sizeof(float));
}

CudaBatch::CudaBatch(const StepShape& shape)
    : limits_(shape.limits),
      max_context_(shape.limits.max_pages * shape.page_size),
      layout_(shape.limits),
      batch_(layout_.end, "the batch"),
      host_(layout_.end) {
  const int64_t n_bytes =
      limits_.n_logit_rows * static_cast<int64_t>(sizeof(int32_t) + sizeof(float));
  sampled_ = DeviceBuffer(n_bytes, "sampling");
  for (Returned& returned : returned_) returned.host = PinnedBuffer(n_bytes);
}

BatchView CudaBatch::Upload(const Batch& batch, const Stream& stream) {
  copied_.Synchronize();
  BatchView view = ViewOf(batch);
  if (view.max_rows == 1) view.max_kv_length = RoundKvLength(view.max_kv_length, max_context_);
  for (const int32_t token : batch.tokens) {
    AIOS_CHECK(token >= -n_sampled_, "row {} of {} sampled", -1 - token, n_sampled_);
  }
  const auto put = [&](const std::vector<int32_t>& numbers, int64_t at) {
    std::ranges::copy(numbers, reinterpret_cast<int32_t*>(host_.As<std::byte>() + at));
    return At<const int32_t>(at);
  };
  view.tokens = put(batch.tokens, layout_.tokens);
  view.positions = put(batch.positions, layout_.positions);
  view.seq_offsets = put(batch.seq_offsets, layout_.seq_offsets);
  view.kv_lengths = put(batch.kv_lengths, layout_.kv_lengths);
  view.logit_rows = put(batch.logit_rows, layout_.logit_rows);
  view.page_table = put(batch.page_table, layout_.page_table);
  auto* params = reinterpret_cast<cuda::SampleParams*>(host_.As<std::byte>() + layout_.sampling);
  for (const SampleRow& row : batch.sampling) {
    *params++ = {.temperature = row.params.temperature,
                 .top_k = row.params.top_k,
                 .top_p = row.params.top_p,
                 .min_p = row.params.min_p,
                 .seed = row.params.seed,
                 .step = row.step};
  }
  const int64_t n_bytes =
      layout_.page_table + static_cast<int64_t>(batch.page_table.size() * sizeof(int32_t));
  AIOS_CUDA_CHECK(
      cudaMemcpyAsync(batch_.data(), host_.data(), n_bytes, cudaMemcpyHostToDevice, stream.get()));
  copied_.Record(stream);
  return view;
}

void CudaBatch::Return(int32_t n_rows, const Stream& stream) {
  AIOS_CHECK(n_returned_ - n_taken_ < Backend::kMaxSteps, "{} steps were not taken",
             n_returned_ - n_taken_);
  Returned& returned = returned_[n_returned_++ % Backend::kMaxSteps];
  // Tokens and margins of all rows that there may be: they are few, and in one piece.
  AIOS_CUDA_CHECK(cudaMemcpyAsync(returned.host.data(), sampled_.data(), sampled_.n_bytes(),
                                  cudaMemcpyDeviceToHost, stream.get()));
  returned.arrived.Record(stream);
  returned.n_rows = n_sampled_ = n_rows;
}

void CudaBatch::Take(std::span<Sampled> sampled) {
  AIOS_CHECK(n_taken_ < n_returned_, "all steps were taken");
  const Returned& returned = returned_[n_taken_++ % Backend::kMaxSteps];
  AIOS_CHECK_EQ(static_cast<int32_t>(sampled.size()), returned.n_rows);
  returned.arrived.Synchronize();
  static_assert(cuda::kNoToken == Sampled::kNoToken);
  for (int32_t i = 0; i < returned.n_rows; ++i) {
    sampled[i] = {.token = returned.host.As<int32_t>()[i],
                  .margin = returned.host.As<float>()[limits_.n_logit_rows + i]};
  }
}

// ---- Records ------------------------------------------------------------------------------------

void StepRecords::Run(const BatchView& batch, std::span<const KvPages> kv, const Stream& stream,
                      const std::function<void()>& work) {
  if (batch.max_rows != 1) return work();
  const KvPages& pages = kv.front();
  const Key key = {batch.n_tokens,    batch.n_seqs,        batch.n_logit_rows, batch.samples,
                   batch.max_pages,   batch.max_kv_length, pages.k.data(),     kv.size(),
                   pages.page_size(), pages.k.shape()[0]};
  if (records_.size() >= kMaxRecords && !records_.contains(key)) Clear();
  const auto [it, first_time] = records_.try_emplace(key, nullptr);
  if (first_time) return work();
  if (it->second == nullptr) {
    cudaGraph_t graph = nullptr;
    AIOS_CUDA_CHECK(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal));
    try {
      work();
    } catch (...) {
      cudaStreamEndCapture(stream.get(), &graph);  // or nothing could be enqueued any more
      if (graph != nullptr) cudaGraphDestroy(graph);
      throw;
    }
    AIOS_CUDA_CHECK(cudaStreamEndCapture(stream.get(), &graph));
    const cudaError_t status = cudaGraphInstantiate(&it->second, graph, 0);
    cudaGraphDestroy(graph);
    AIOS_CUDA_CHECK(status);
  }
  AIOS_CUDA_CHECK(cudaGraphLaunch(it->second, stream.get()));
}

void StepRecords::Clear() {
  for (const auto& [key, record] : records_) {
    if (record != nullptr) cudaGraphExecDestroy(record);
  }
  records_.clear();
}

}  // namespace aios
