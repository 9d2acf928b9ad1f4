// What a step on a GPU needs beside kernels: the batch on its way there, the choices on their way
// back, and records of steps that come again (CUDA graphs).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <tuple>

#include "common/backend/backend.h"
#include "common/device/memory.h"
#include "common/device/stream.h"
#include "kernels/cuda/sample.h"

namespace aios {

// The batch in the GPU's memory, at places that stay the same from step to step, and what is chosen
// for its rows. Asynchronous: the host may prepare a step while the one before it runs.
class CudaBatch {
 public:
  // Takes the memory. Throws InputError if it is not there.
  explicit CudaBatch(const StepShape& shape);
  static int64_t BytesFor(const StepShape& shape);

  // Enqueues the copy. The view's pointers are to the GPU's memory. A batch of one row a sequence
  // is padded, as far as the limits allow, to one of a few sizes (BatchView): from 9 rows on to a
  // multiple of 8, 16 or 32, by an eighth to a half; its context to one of two sizes an octave. So
  // few records (below) serve decodes of all sizes.
  BatchView Upload(const Batch& batch, const Stream& stream);

  // What Sample reads and writes.
  const kernels::cuda::SampleParams* sampling() const {
    return At<kernels::cuda::SampleParams>(layout_.sampling);
  }
  int32_t* sampled() const { return sampled_.As<int32_t>(); }
  float* margins() const { return sampled_.As<float>() + limits_.n_logit_rows; }

  // Enqueues the copy of the last step's choices to the host; not those of padding.
  void Return(const Stream& stream);
  // Waits for the oldest choices that were returned and not taken.
  void Take(std::span<Sampled> sampled);

 private:
  // One buffer, so that one copy brings all of it, with room for the largest batch before each
  // part. The page table, which is large and mostly unused, is last: what is past its end is not
  // copied. In bytes.
  struct Layout {
    explicit Layout(const BatchLimits& limits);
    int64_t sampling, tokens, positions, seq_offsets, kv_lengths, logit_rows, page_table, end;
  };
  // Choices on their way to the host.
  struct Returned {
    PinnedBuffer host;  // tokens, then margins: [n_logit_rows] each
    Event arrived;
    int32_t n_rows = 0;
  };

  template <typename T>
  T* At(int64_t offset) const {
    return reinterpret_cast<T*>(batch_.As<std::byte>() + offset);
  }

  BatchView Padded(const BatchView& view) const;

  BatchLimits limits_;
  int64_t page_size_;
  Layout layout_;
  DeviceBuffer batch_;
  PinnedBuffer host_;
  Event copied_;              // host_ may be written again
  DeviceBuffer sampled_;      // tokens, then margins: [n_logit_rows] each
  int32_t n_logit_rows_ = 0;  // of the last batch
  int32_t n_sampled_ = 0;     // of the last step that sampled
  std::array<Returned, Backend::kMaxSteps> returned_;
  int64_t n_returned_ = 0;
  int64_t n_taken_ = 0;
};

// Steps as CUDA graphs: one launch for all kernels of a step.
//
// A step is recorded when a step of its sizes comes for the second time: the first loads kernels
// and lets libraries choose their ways, which cannot be recorded. Only steps of one row a sequence
// are: prefills come in every size, and are long beside their launches.
class StepRecords {
 public:
  StepRecords() = default;
  StepRecords(const StepRecords&) = delete;
  StepRecords& operator=(const StepRecords&) = delete;
  ~StepRecords() { Clear(); }

  // Calls `work`, which enqueues on `stream`, or replays what it enqueued when it was last called
  // for a step of these sizes.
  void Run(const BatchView& batch, std::span<const KvPages> kv, const Stream& stream,
           const std::function<void()>& work);
  void Clear();

 private:
  // All that decides what a step launches, and on what.
  using Key = std::tuple<int32_t, int32_t, int32_t, bool, int32_t, int32_t, const void*, size_t,
                         int64_t, int64_t>;
  // Decodes of up to 256 sequences and 8192 keys have some 23 x 9 sizes; of a record's kernels the
  // driver keeps some hundred KB.
  static constexpr size_t kMaxRecords = 256;

  std::map<Key, cudaGraphExec_t> records_;  // nullptr: came once
};

}  // namespace aios
