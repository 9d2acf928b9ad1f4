#include "common/backend/cuda_step.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <vector>

#include "common/base/check.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/gemv.h"

namespace aios {
namespace {

namespace cuda = kernels::cuda;

// Steps whose longest sequences are of like length have the same launches: 512, 768, 1024, 1536,
// 2048, 3072, ... (A block of attention past a sequence's end costs little, but not nothing.)
int64_t RoundKvLength(int64_t length) {
  constexpr uint64_t kShortest = 512;
  const uint64_t octave = std::bit_ceil(std::max(static_cast<uint64_t>(length), kShortest));
  const uint64_t between = octave / 4 * 3;
  return static_cast<int64_t>(
      static_cast<uint64_t>(length) <= between && between >= kShortest ? between : octave);
}

// Likewise steps of like many rows. As they are where Gemv does them (each size its own way), then
// in steps that a matrix product hardly feels.
int32_t RoundRows(int32_t n) {
  if (n <= cuda::kGemvMaxRows) return n;
  const int32_t step = n <= 64 ? 8 : n <= 128 ? 16 : 32;
  return (n + step - 1) / step * step;
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
      page_size_(shape.page_size),
      layout_(shape.limits),
      batch_(layout_.end, "the batch"),
      host_(layout_.end) {
  const int64_t n_bytes =
      limits_.n_logit_rows * static_cast<int64_t>(sizeof(int32_t) + sizeof(float));
  sampled_ = DeviceBuffer(n_bytes, "sampling");
  for (Returned& returned : returned_) returned.host = PinnedBuffer(n_bytes);
}

BatchView CudaBatch::Padded(const BatchView& view) const {
  BatchView padded = view;
  padded.n_seqs = std::min({RoundRows(view.n_seqs), limits_.n_seqs, limits_.n_tokens});
  padded.n_tokens = padded.n_decoding = padded.n_seqs;
  padded.n_logit_rows = std::min(RoundRows(view.n_logit_rows), limits_.n_logit_rows);
  const int64_t n_pages =
      std::min<int64_t>(PagesFor(RoundKvLength(view.max_kv_length), page_size_), limits_.max_pages);
  padded.max_pages = static_cast<int32_t>(n_pages);
  padded.max_kv_length =
      static_cast<int32_t>(std::min(RoundKvLength(view.max_kv_length), n_pages * page_size_));
  return padded;
}

BatchView CudaBatch::Upload(const Batch& batch, const Stream& stream) {
  copied_.Synchronize();
  BatchView view = ViewOf(batch);
  if (view.max_rows == 1) view = Padded(view);
  n_logit_rows_ = batch.n_logit_rows();
  for (const int32_t token : batch.tokens) {
    AIOS_CHECK(token >= -n_sampled_, "row {} of {} sampled", -1 - token, n_sampled_);
  }
  const auto host_at = [&](int64_t at) {
    return reinterpret_cast<int32_t*>(host_.As<std::byte>() + at);
  };
  // n numbers: those that there are, then `padding`.
  const auto put = [&](const std::vector<int32_t>& numbers, int32_t n, int32_t padding,
                       int64_t at) {
    std::fill_n(std::ranges::copy(numbers, host_at(at)).out, n - std::ssize(numbers), padding);
    return At<const int32_t>(at);
  };
  view.tokens = put(batch.tokens, view.n_tokens, 0, layout_.tokens);
  view.positions = put(batch.positions, view.n_tokens, -1, layout_.positions);
  view.seq_offsets = put(batch.seq_offsets, batch.n_seqs() + 1, 0, layout_.seq_offsets);
  for (int32_t s = batch.n_seqs(); s < view.n_seqs; ++s) {
    host_at(layout_.seq_offsets)[s + 1] = s + 1;
  }
  view.kv_lengths = put(batch.kv_lengths, view.n_seqs, 0, layout_.kv_lengths);
  view.logit_rows = put(batch.logit_rows, view.n_logit_rows, 0, layout_.logit_rows);
  // The page table in rows of view.max_pages: beyond a sequence's pages, and of padding, whatever
  // was there.
  const int32_t n_pages = std::min(batch.max_pages, view.max_pages);
  for (int32_t s = 0; s < batch.n_seqs(); ++s) {
    std::copy_n(batch.page_table.data() + int64_t{s} * batch.max_pages, n_pages,
                host_at(layout_.page_table) + int64_t{s} * view.max_pages);
  }
  view.page_table = At<const int32_t>(layout_.page_table);
  auto* params = reinterpret_cast<cuda::SampleParams*>(host_at(layout_.sampling));
  for (const SampleRow& row : batch.sampling) {
    *params++ = {.temperature = row.params.temperature,
                 .top_k = row.params.top_k,
                 .top_p = row.params.top_p,
                 .min_p = row.params.min_p,
                 .seed = row.params.seed,
                 .step = row.step};
  }
  std::fill_n(params, view.n_logit_rows - std::ssize(batch.sampling), cuda::SampleParams());
  const int64_t n_bytes = layout_.page_table + int64_t{view.n_seqs} * view.max_pages *
                                                   static_cast<int64_t>(sizeof(int32_t));
  AIOS_CUDA_CHECK(
      cudaMemcpyAsync(batch_.data(), host_.data(), n_bytes, cudaMemcpyHostToDevice, stream.get()));
  copied_.Record(stream);
  return view;
}

void CudaBatch::Return(const Stream& stream) {
  AIOS_CHECK(n_returned_ - n_taken_ < Backend::kMaxSteps, "{} steps were not taken",
             n_returned_ - n_taken_);
  Returned& returned = returned_[n_returned_++ % Backend::kMaxSteps];
  // Tokens and margins of all rows that there may be: they are few, and in one piece.
  AIOS_CUDA_CHECK(cudaMemcpyAsync(returned.host.data(), sampled_.data(), sampled_.n_bytes(),
                                  cudaMemcpyDeviceToHost, stream.get()));
  returned.arrived.Record(stream);
  returned.n_rows = n_sampled_ = n_logit_rows_;
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
