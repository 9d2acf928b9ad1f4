// Attention over a paged KV cache: what prefill and decode reach, in TFLOP/s and TB/s.
//
//     bench_attention [--json FILE] [--decode-step]
//
// --decode-step: only the attention side of a decode step (DecodeAttention), beside the kernels
// that each do one thing (RopeAndStoreKv, Attention), both as a chain of 32 layers or more with
// programmatic dependent launch, so that what is lost between kernels counts; beside them a chain
// of kernels that do nothing, as many blocks.
//
// The same shapes through PyTorch's FlashAttention-2 and cuDNN: attention_peers.py. Times are
// medians over replays of a CUDA graph of several launches, so that the host's cost is in none.
// FLOPs are 4 head_dim for each head and each pair of a query and a key it sees.
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/decode_attention.h"
#include "kernels/cuda/pdl.cuh"
#include "kernels/cuda/stream.h"

namespace aios::kernels::cuda {
namespace {

struct Case {
  int n_seqs, n_rows, kv_length;  // of each sequence
  int n_heads, n_kv_heads, head_dim;
  int page_size = 64;
};

constexpr Case kPrefill[] = {
    {1, 8192, 8192, 32, 32, 128},     {1, 2048, 2048, 32, 32, 128}, {4, 4096, 4096, 32, 32, 128},
    {1, 8192, 8192, 32, 8, 128},      {1, 2048, 2048, 32, 8, 128},  {4, 4096, 4096, 32, 8, 128},
    {1, 512, 512, 32, 8, 128},        {16, 512, 512, 32, 8, 128},   {1, 16384, 16384, 32, 8, 128},
    {1, 512, 8192, 32, 8, 128},       {1, 2048, 16384, 32, 8, 128}, {1, 8192, 8192, 32, 8, 128, 16},
    {1, 8192, 8192, 32, 8, 128, 256}, {1, 8192, 8192, 32, 32, 64},  {4, 2048, 2048, 32, 8, 64},
};

// Bytes of keys and values are all that counts: 32 heads share 8 key heads.
constexpr Case kDecode[] = {
    {1, 1, 1024, 32, 8, 128},  {1, 1, 8192, 32, 8, 128},  {1, 1, 32768, 32, 8, 128},
    {8, 1, 4096, 32, 8, 128},  {32, 1, 2048, 32, 8, 128}, {128, 1, 1024, 32, 8, 128},
    {64, 1, 8192, 32, 8, 128}, {32, 1, 2048, 32, 8, 64},
};

// Of llama-8b, llama-1b and SmolLM2.
constexpr Case kDecodeStep[] = {
    {1, 1, 256, 32, 8, 128},       {1, 1, 512, 32, 8, 128},      {1, 1, 640, 32, 8, 128},
    {1, 1, 640, 32, 8, 64},        {1, 1, 640, 9, 3, 64},        {1, 1, 1024, 32, 8, 128},
    {1, 1, 2048, 32, 8, 128},      {1, 1, 4096, 32, 8, 128},     {1, 1, 8192, 32, 8, 128},
    {1, 1, 8192, 32, 8, 64},       {1, 1, 8192, 9, 3, 64},       {1, 1, 32768, 32, 8, 128},
    {8, 1, 640, 32, 8, 128},       {8, 1, 4096, 32, 8, 128},     {32, 1, 640, 32, 8, 128},
    {32, 1, 2048, 32, 8, 128},     {32, 1, 8192, 32, 8, 128},    {64, 1, 8192, 32, 8, 128},
    {64, 1, 1056, 32, 8, 128},     {128, 1, 1056, 32, 8, 128},   {256, 1, 1056, 32, 8, 128},
    {1, 1, 8192, 32, 8, 128, 16},  {1, 1, 8192, 32, 8, 128, 17}, {32, 1, 8192, 32, 8, 128, 16},
    {32, 1, 8192, 32, 8, 128, 17},
};
constexpr int kLayers = 32;

double KeyValueBytes(const Case& c) {
  return 2.0 * c.n_seqs * c.kv_length * c.n_kv_heads * c.head_dim * sizeof(__nv_bfloat16);
}

class Buffer {
 public:
  explicit Buffer(size_t n_bytes) { AIOS_CUDA_CHECK(cudaMalloc(&data_, n_bytes)); }
  template <typename T>
  explicit Buffer(const std::vector<T>& host) : Buffer(host.size() * sizeof(T)) {
    AIOS_CUDA_CHECK(
        cudaMemcpy(data_, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice));
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { cudaFree(data_); }
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
};

// Roughly normal (a sum of four uniform numbers), from a hash of the index: zeros would run faster
// than real numbers.
__global__ void FillRandom(__nv_bfloat16* to, size_t n, uint32_t seed) {
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < n;
       i += size_t{gridDim.x} * blockDim.x) {
    uint64_t x = (i + 1) * 0x9E3779B97F4A7C15ull + seed;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    x ^= x >> 31;
    float sum = 0;
    for (int part = 0; part < 4; ++part) sum += static_cast<float>(x >> (16 * part) & 0xFFFF);
    to[i] = __float2bfloat16((sum / 65536 - 2) * 1.7320508f);
  }
}

// Of one launch. launch(i, stream) is given i = 0, 1, 2, ..., at least up to n_inputs - 1.
double MedianSeconds(int n_inputs, const std::function<void(int, cudaStream_t)>& launch,
                     int min_launches = 5, float milliseconds = 200) {
  cudaStream_t stream;
  AIOS_CUDA_CHECK(cudaStreamCreate(&stream));
  launch(0, stream);
  AIOS_CUDA_CHECK(cudaStreamSynchronize(stream));
  const int n_launches = std::max(min_launches, n_inputs);
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  AIOS_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  for (int i = 0; i < n_launches; ++i) launch(i, stream);
  AIOS_CUDA_CHECK(cudaStreamEndCapture(stream, &graph));
  AIOS_CUDA_CHECK(cudaGraphInstantiate(&executable, graph, 0));
  cudaEvent_t begin, end;
  AIOS_CUDA_CHECK(cudaEventCreate(&begin));
  AIOS_CUDA_CHECK(cudaEventCreate(&end));
  // Clocks settle: the first quarter warms up.
  std::vector<float> times;
  for (float total = 0; total < milliseconds || times.size() < 11;) {
    AIOS_CUDA_CHECK(cudaEventRecord(begin, stream));
    AIOS_CUDA_CHECK(cudaGraphLaunch(executable, stream));
    AIOS_CUDA_CHECK(cudaEventRecord(end, stream));
    AIOS_CUDA_CHECK(cudaEventSynchronize(end));
    float time = 0;
    AIOS_CUDA_CHECK(cudaEventElapsedTime(&time, begin, end));
    total += time;
    if (total > milliseconds / 4) times.push_back(time);
  }
  AIOS_CUDA_CHECK(cudaEventDestroy(begin));
  AIOS_CUDA_CHECK(cudaEventDestroy(end));
  AIOS_CUDA_CHECK(cudaGraphExecDestroy(executable));
  AIOS_CUDA_CHECK(cudaGraphDestroy(graph));
  AIOS_CUDA_CHECK(cudaStreamDestroy(stream));
  const auto middle = times.begin() + times.size() / 2;
  std::nth_element(times.begin(), middle, times.end());
  return *middle * 1e-3 / n_launches;
}

// Decode's keys and values would stay in the L2 from one launch to the next: so many copies, used
// in turn, that they cannot.
int Copies(const Case& c) {
  constexpr double kFarMoreThanL2 = 400e6;
  return c.n_rows > 1 ? 1 : static_cast<int>(std::ceil(kFarMoreThanL2 / KeyValueBytes(c)));
}

double Seconds(const Case& c) {
  const int n_copies = Copies(c);
  const int pages_per_seq = (c.kv_length + c.page_size - 1) / c.page_size;
  const size_t n_pages = static_cast<size_t>(pages_per_seq) * c.n_seqs;  // of a copy
  const size_t n_q = static_cast<size_t>(c.n_seqs) * c.n_rows * c.n_heads * c.head_dim;
  const size_t n_kv = n_copies * n_pages * c.n_kv_heads * c.page_size * c.head_dim;
  const Buffer q(2 * n_q), k(2 * n_kv), v(2 * n_kv), out(2 * n_q);
  FillRandom<<<1024, 256>>>(static_cast<__nv_bfloat16*>(q.data()), n_q, 1);
  FillRandom<<<1024, 256>>>(static_cast<__nv_bfloat16*>(k.data()), n_kv, 2);
  FillRandom<<<1024, 256>>>(static_cast<__nv_bfloat16*>(v.data()), n_kv, 3);
  AIOS_CUDA_CHECK_LAUNCH();
  std::vector<int32_t> table(n_pages * n_copies), offsets, lengths(c.n_seqs, c.kv_length);
  std::iota(table.begin(), table.end(), 0);
  std::shuffle(table.begin(), table.end(), std::mt19937(1));
  for (int s = 0; s <= c.n_seqs; ++s) offsets.push_back(s * c.n_rows);
  const Buffer device_table(table), device_offsets(offsets), device_lengths(lengths);
  AttentionArgs args{
      .dtype = Format::kBF16,
      .q = q.data(),
      .k_pages = k.data(),
      .v_pages = v.data(),
      .out = out.data(),
      .page_table_stride = pages_per_seq,
      .seq_offsets = static_cast<const int32_t*>(device_offsets.data()),
      .kv_lengths = static_cast<const int32_t*>(device_lengths.data()),
      .n_seqs = c.n_seqs,
      .n_tokens = c.n_seqs * c.n_rows,
      .max_rows = c.n_rows,
      .max_kv_length = c.kv_length,
      .page_size = c.page_size,
      .n_heads = c.n_heads,
      .n_kv_heads = c.n_kv_heads,
      .head_dim = c.head_dim,
      .scale = 1 / std::sqrt(static_cast<float>(c.head_dim)),
  };
  const Buffer workspace(AttentionWorkspaceBytes(args));
  args.workspace = workspace.data();
  args.workspace_bytes = AttentionWorkspaceBytes(args);
  return MedianSeconds(n_copies, [&](int i, cudaStream_t stream) {
    args.page_table = static_cast<const int32_t*>(device_table.data()) + i % n_copies * n_pages;
    Attention(args, stream);
  });
}

// A layer's, in a chain. max_kv_length: of the launch, at least the sequences' own.
double SecondsOfStep(const Case& c, bool in_one, int max_kv_length) {
  const int n_copies = Copies(c);
  const int pages_per_seq = (c.kv_length + c.page_size - 1) / c.page_size;
  const size_t n_pages = static_cast<size_t>(pages_per_seq) * c.n_seqs;  // of a copy
  const size_t n_q = static_cast<size_t>(c.n_seqs) * c.n_heads * c.head_dim;
  const size_t n_qkv = n_q + size_t{2} * c.n_seqs * c.n_kv_heads * c.head_dim;
  const size_t n_kv = n_copies * n_pages * c.n_kv_heads * c.page_size * c.head_dim;
  const Buffer qkv(2 * n_qkv), q(2 * n_q), k(2 * n_kv), v(2 * n_kv), out(2 * n_q);
  FillRandom<<<1024, 256>>>(static_cast<__nv_bfloat16*>(qkv.data()), n_qkv, 1);
  FillRandom<<<1024, 256>>>(static_cast<__nv_bfloat16*>(k.data()), n_kv, 2);
  FillRandom<<<1024, 256>>>(static_cast<__nv_bfloat16*>(v.data()), n_kv, 3);
  AIOS_CUDA_CHECK_LAUNCH();
  std::vector<int32_t> table(n_pages * n_copies), offsets(c.n_seqs + 1);
  std::iota(table.begin(), table.end(), 0);
  std::shuffle(table.begin(), table.end(), std::mt19937(1));
  std::iota(offsets.begin(), offsets.end(), 0);
  std::vector<float> angles(static_cast<size_t>(c.kv_length) * c.head_dim / 2);
  for (size_t i = 0; i < angles.size(); ++i) angles[i] = std::cos(static_cast<float>(i));
  const Buffer device_table(table), device_offsets(offsets), cosine(angles), sine(angles);
  const Buffer positions(std::vector<int32_t>(c.n_seqs, c.kv_length - 1));
  const Buffer lengths(std::vector<int32_t>(c.n_seqs, c.kv_length));
  const Buffer arrivals(std::vector<uint32_t>(c.n_seqs * c.n_kv_heads, 0));
  DecodeAttentionArgs args = {
      .rope = {.dtype = Format::kBF16,
               .qkv = qkv.data(),
               .cos = static_cast<const float*>(cosine.data()),
               .sin = static_cast<const float*>(sine.data()),
               .seq_offsets = static_cast<const int32_t*>(device_offsets.data()),
               .positions = static_cast<const int32_t*>(positions.data()),
               .n_seqs = c.n_seqs,
               .n_tokens = c.n_seqs,
               .page_table_stride = pages_per_seq,
               .page_size = c.page_size,
               .k_pages = k.data(),
               .v_pages = v.data(),
               .n_heads = c.n_heads,
               .n_kv_heads = c.n_kv_heads,
               .head_dim = c.head_dim,
               .q = q.data(),
               .overlap_previous = true},
      .kv_lengths = static_cast<const int32_t*>(lengths.data()),
      .max_kv_length = max_kv_length,
      .scale = 1 / std::sqrt(static_cast<float>(c.head_dim)),
      .out = out.data(),
      .arrivals = static_cast<uint32_t*>(arrivals.data()),
  };
  const Buffer workspace(DecodeAttentionWorkspaceBytes(args));
  args.workspace = workspace.data();
  args.workspace_bytes = DecodeAttentionWorkspaceBytes(args);
  const RopeKvArgs& rope = args.rope;
  AttentionArgs attention = {.dtype = Format::kBF16,
                             .q = q.data(),
                             .k_pages = k.data(),
                             .v_pages = v.data(),
                             .out = out.data(),
                             .page_table_stride = pages_per_seq,
                             .seq_offsets = rope.seq_offsets,
                             .kv_lengths = args.kv_lengths,
                             .n_seqs = c.n_seqs,
                             .n_tokens = c.n_seqs,
                             .max_rows = 1,
                             .max_kv_length = max_kv_length,
                             .page_size = c.page_size,
                             .n_heads = c.n_heads,
                             .n_kv_heads = c.n_kv_heads,
                             .head_dim = c.head_dim,
                             .scale = args.scale,
                             .workspace = workspace.data(),
                             .workspace_bytes = args.workspace_bytes};
  const auto launch = [&](int i, cudaStream_t stream) {
    args.rope.page_table = attention.page_table =
        static_cast<const int32_t*>(device_table.data()) + i % n_copies * n_pages;
    if (in_one) return DecodeAttention(args, stream);
    RopeAndStoreKv(args.rope, stream);
    Attention(attention, stream);
  };
  return MedianSeconds(n_copies, launch, kLayers, 80);
}

__global__ void DoNothing() {
  WaitForPreviousKernel();
  LetNextKernelStart();
}

double SecondsOfNothing(const Case& c) {
  const int chunks = (c.kv_length + 255) / 256;
  return MedianSeconds(
      1,
      [&](int, cudaStream_t stream) {
        Launch(DoNothing,
               {.grid = dim3(chunks, c.n_kv_heads, c.n_seqs),
                .block = dim3(128),
                .overlap_previous = true},
               stream);
      },
      kLayers, 40);
}

double ReadBytesPerSecond() {
  constexpr size_t kBytes = size_t{1} << 30;
  const Buffer data(kBytes), sink(4);
  FillRandom<<<1024, 256>>>(static_cast<__nv_bfloat16*>(data.data()), kBytes / 2, 4);
  AIOS_CUDA_CHECK_LAUNCH();
  return kBytes / MedianSeconds(1, [&](int, cudaStream_t stream) {
           ReadStream(data.data(), kBytes, static_cast<uint32_t*>(sink.data()), stream);
         });
}

double Flops(const Case& c) {
  const double rows = c.n_rows, before = c.kv_length - c.n_rows;
  return 4.0 * c.head_dim * c.n_heads * c.n_seqs * (rows * before + rows * rows / 2);
}

// A line of the table, and a row of the JSON.
std::string Report(const Case& c, double seconds, const char* unit, double rate) {
  std::printf("%5d %6d %6d %4d/%2d %8d %5d %9.1f %9.2f %s\n", c.n_seqs, c.n_rows, c.kv_length,
              c.n_heads, c.n_kv_heads, c.head_dim, c.page_size, seconds * 1e6, rate, unit);
  std::fflush(stdout);
  char row[256];
  std::snprintf(row, sizeof(row),
                "\n  {\"n_seqs\": %d, \"n_rows\": %d, \"kv_length\": %d, \"n_heads\": %d, "
                "\"n_kv_heads\": %d, \"head_dim\": %d, \"page_size\": %d, \"us\": %.2f, "
                "\"%s\": %.2f}",
                c.n_seqs, c.n_rows, c.kv_length, c.n_heads, c.n_kv_heads, c.head_dim, c.page_size,
                seconds * 1e6, unit, rate);
  return row;
}

// The rows of the JSON.
std::string BenchDecodeStep(double read_bytes_s) {
  std::printf("%5s %6s %7s %8s %5s %9s %9s %9s %9s %9s %8s\n", "seqs", "keys", "heads", "head_dim",
              "page", "apart us", "one us", "2x limit", "empty us", "TB/s", "of read");
  std::string rows;
  for (const Case& c : kDecodeStep) {
    const double apart = SecondsOfStep(c, false, c.kv_length);
    const double in_one = SecondsOfStep(c, true, c.kv_length);
    const double far = SecondsOfStep(c, true, 2 * c.kv_length);
    const double empty = SecondsOfNothing(c);
    const double rate = KeyValueBytes(c) / in_one;
    std::printf("%5d %6d %4d/%2d %8d %5d %9.2f %9.2f %9.2f %9.2f %9.2f %7.1f%%\n", c.n_seqs,
                c.kv_length, c.n_heads, c.n_kv_heads, c.head_dim, c.page_size, apart * 1e6,
                in_one * 1e6, far * 1e6, empty * 1e6, rate * 1e-12, 100 * rate / read_bytes_s);
    std::fflush(stdout);
    char row[320];
    std::snprintf(row, sizeof(row),
                  "%s\n  {\"n_seqs\": %d, \"kv_length\": %d, \"n_heads\": %d, \"n_kv_heads\": %d, "
                  "\"head_dim\": %d, \"page_size\": %d, \"apart_us\": %.2f, \"us\": %.2f, "
                  "\"twice_the_limit_us\": %.2f, \"empty_us\": %.2f, \"TB/s\": %.3f}",
                  rows.empty() ? "" : ",", c.n_seqs, c.kv_length, c.n_heads, c.n_kv_heads,
                  c.head_dim, c.page_size, apart * 1e6, in_one * 1e6, far * 1e6, empty * 1e6,
                  rate * 1e-12);
    rows += row;
  }
  return rows;
}

int Main(int argc, char** argv) {
  std::string json;
  bool only_decode_step = false;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--decode-step") == 0) {
      only_decode_step = true;
    } else if (std::strcmp(argv[i], "--json") == 0 && i + 1 < argc) {
      json = argv[++i];
    } else {
      std::fprintf(stderr, "usage: bench_attention [--json FILE] [--decode-step]\n");
      return 2;
    }
  }
  cudaDeviceProp properties;
  AIOS_CUDA_CHECK(cudaGetDeviceProperties(&properties, 0));
  const double read = ReadBytesPerSecond() * 1e-12;
  std::printf("%s, bf16, causal; reads %.2f TB/s\n", properties.name, read);
  const std::string decode_step = BenchDecodeStep(read * 1e12);
  std::string prefill, decode;
  if (!only_decode_step) {
    std::printf("%5s %6s %6s %7s %8s %5s %9s\n", "seqs", "rows", "keys", "heads", "head_dim",
                "page", "us");
  }
  for (const Case& c : kPrefill) {
    if (only_decode_step) break;
    const double seconds = Seconds(c);
    if (!prefill.empty()) prefill += ",";
    prefill += Report(c, seconds, "TFLOP/s", Flops(c) / seconds / 1e12);
  }
  for (const Case& c : kDecode) {
    if (only_decode_step) break;
    const double seconds = Seconds(c);
    if (!decode.empty()) decode += ",";
    decode += Report(c, seconds, "TB/s", KeyValueBytes(c) / seconds / 1e12);
  }
  if (!json.empty()) {
    std::ofstream(json) << "{\"device\": \"" << properties.name << "\", \"read_tb_s\": " << read
                        << ",\n \"prefill\": [" << prefill << "],\n \"decode\": [" << decode
                        << "],\n \"decode_step\": [" << decode_step << "]}\n";
  }
  return 0;
}

}  // namespace
}  // namespace aios::kernels::cuda

int main(int argc, char** argv) {
  try {
    return aios::kernels::cuda::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_attention: %s\n", error.what());
    return 1;
  }
}
