// The matrix products of a step of 16 to 2048 rows: Hopper's own (gemm_sm90.h) beside cuBLASLt, and
// the limits, the GPU's read stream and cuBLASLt's rate on a large product, measured in one run.
//
// "layers": eight layers of a model as one graph, as the backend does them but for the attention:
//     own:      norm; qkv; out + residual; norm; gate, up + SiLU; down + residual; all overlapped
//     library:  the same, SiLU a kernel of its own, and no overlap with cuBLASLt's kernels
// Then the single products, over different matrices, many times the L2 in all. --ways: each of
// these by all of the ways that GemmSm90 has, the fastest few, and the layers with the fastest.
//
//   bazel run -c opt //benchmarks:bench_gemm_rows -- [--model NAME] [--rows N,N,...] [--ways]
//       [--json FILE] [--quick]
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/cuda/check.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/gemm_sm90.h"
#include "kernels/cuda/rms_norm.h"
#include "kernels/cuda/silu_mul.h"
#include "kernels/ladder/harness.h"

namespace aios {
namespace {

using kernels::Format;
using kernels::cuda::GemmSm90Way;
using kernels::cuda::GemvOutput;
using ladder::DeviceArray;

constexpr int64_t kMaxRows = 2048;
constexpr int kLayers = 8;

struct Model {
  const char* name;
  int64_t d_model, d_ff, d_query, d_qkv, vocab_size;
};
constexpr Model kModels[] = {{"llama-8b", 4096, 14336, 4096, 6144, 128256},
                             {"llama-1b", 2048, 8192, 2048, 3072, 128256},
                             {"qwen3-0.6b", 1024, 3072, 2048, 4096, 151936}};

struct Options {
  ladder::Flags ladder;
  std::string model;          // empty: all
  std::vector<int64_t> rows;  // empty: the usual ones
  bool ways = false;
};

DeviceArray Rows(int64_t d, size_t size) { return DeviceArray(kMaxRows * d * size); }

// What the product does, by one or the other.
struct Product {
  const void* x;
  const void* weight;
  void* y;
  int64_t n_rows, d_in, d_out;
  Format y_dtype = Format::kBF16;
  GemvOutput output = GemvOutput::kStore;
  void* both = nullptr;  // for kSiluMul by the library: [n_rows, 2 d_out]
};

kernels::cuda::GemmSm90Args ArgsOf(const Product& p, const GemmSm90Way& way) {
  return {.x = p.x,
          .weight = p.weight,
          .y = p.y,
          .n_rows = p.n_rows,
          .d_in = p.d_in,
          .d_out = p.d_out,
          .y_dtype = p.y_dtype,
          .output = p.output,
          .way = way,
          .overlap_previous = true};
}

void Own(const Product& p, cudaStream_t stream, const GemmSm90Way& way = {}) {
  kernels::cuda::GemmSm90(ArgsOf(p, way), stream);
}

void Library(kernels::cuda::Gemm& gemm, const Product& p, cudaStream_t stream) {
  const bool silu = p.output == GemvOutput::kSiluMul;
  gemm.Run({.x = p.x,
            .weight = p.weight,
            .y = silu ? p.both : p.y,
            .n_rows = p.n_rows,
            .d_in = p.d_in,
            .d_out = silu ? 2 * p.d_out : p.d_out,
            .y_dtype = p.y_dtype,
            .add = p.output == GemvOutput::kAdd},
           stream);
  if (!silu) return;
  kernels::cuda::SiluMul({.dtype = Format::kBF16,
                          .gate_up = p.both,
                          .n_tokens = p.n_rows,
                          .d_ff = p.d_out,
                          .out = p.y,
                          .overlap_previous = true},
                         stream);
}

class Layers {
 public:
  explicit Layers(const Model& model)
      : m_(model),
        n_of_layer_(m_.d_qkv * m_.d_model + m_.d_model * m_.d_query + 3 * m_.d_ff * m_.d_model),
        // Small, so that the residual stream stays of one size over replays.
        weights_(DeviceArray::NormalBF16(kLayers * n_of_layer_, 1, 0.02F)),
        norm_weight_(DeviceArray::NormalF32(m_.d_model, 2)),
        residual_(DeviceArray::NormalF32(kMaxRows * m_.d_model, 3)),
        heads_(DeviceArray::NormalBF16(kMaxRows * m_.d_query, 4)),
        normed_(Rows(m_.d_model, 2)),
        qkv_(Rows(m_.d_qkv, 2)),
        both_(Rows(2 * m_.d_ff, 2)),
        hidden_(Rows(m_.d_ff, 2)) {}

  double Bytes() const { return 2.0 * kLayers * static_cast<double>(n_of_layer_); }

  template <typename Multiply>
  void Run(int64_t n_rows, const Multiply& multiply, cudaStream_t stream) const {
    for (int i = 0; i < kLayers; ++i) {
      const uint16_t* w = weights_.As<uint16_t>() + i * n_of_layer_;
      Norm(n_rows, stream);
      multiply(Product{normed_.As<void>(), w, qkv_.As<void>(), n_rows, m_.d_model, m_.d_qkv});
      w += m_.d_qkv * m_.d_model;
      multiply(Product{heads_.As<void>(), w, residual_.As<void>(), n_rows, m_.d_query, m_.d_model,
                       Format::kF32, GemvOutput::kAdd});
      w += m_.d_model * m_.d_query;
      Norm(n_rows, stream);
      multiply(Product{normed_.As<void>(), w, hidden_.As<void>(), n_rows, m_.d_model, m_.d_ff,
                       Format::kBF16, GemvOutput::kSiluMul, both_.As<void>()});
      w += 2 * m_.d_ff * m_.d_model;
      multiply(Product{hidden_.As<void>(), w, residual_.As<void>(), n_rows, m_.d_ff, m_.d_model,
                       Format::kF32, GemvOutput::kAdd});
    }
  }

 private:
  void Norm(int64_t n_rows, cudaStream_t stream) const {
    kernels::cuda::RmsNorm({.x = residual_.As<float>(),
                            .weight = norm_weight_.As<float>(),
                            .out = normed_.As<void>(),
                            .n_rows = n_rows,
                            .d_model = m_.d_model,
                            .overlap_previous = true},
                           stream);
  }

  Model m_;
  int64_t n_of_layer_;
  DeviceArray weights_, norm_weight_, residual_, heads_, normed_, qkv_, both_, hidden_;
};

// A row of the table: the limit is the larger of the two times.
ladder::Row RowOf(const ladder::Limits& limits, int level, const char* name, std::string shape,
                  double seconds, double flops, double bytes) {
  const bool memory_bound = bytes / limits.read_bytes_s > flops / limits.gemm_flop_s;
  return {.op = "gemm_rows",
          .level = level,
          .name = name,
          .shape = std::move(shape),
          .seconds = seconds,
          .flops = flops,
          .bytes = bytes,
          .limit = memory_bound ? limits.read_bytes_s : limits.gemm_flop_s,
          .memory_bound = memory_bound};
}

// The fastest way of each product: (d_in, d_out, rows).
using BestWays = std::map<std::tuple<int64_t, int64_t, int64_t>, GemmSm90Way>;

void BenchLayers(const Model& model, const std::vector<int64_t>& counts,
                 const ladder::Limits& limits, const BestWays& best,
                 std::vector<ladder::Row>& rows) {
  const Layers layers(model);
  kernels::cuda::Gemm gemm;
  for (const int64_t n_rows : counts) {
    const auto add = [&](int level, const char* name, const auto& multiply) {
      const double seconds = ladder::TimeKernel(
          [&](int, cudaStream_t stream) {
            layers.Run(
                n_rows, [&](const Product& p) { multiply(p, stream); }, stream);
          },
          {.launches_per_repeat = 2});
      rows.push_back(RowOf(limits, level, name,
                           std::string(model.name) + " layers, " + std::to_string(n_rows), seconds,
                           layers.Bytes() * static_cast<double>(n_rows), layers.Bytes()));
    };
    add(1, "own", [](const Product& p, cudaStream_t stream) { Own(p, stream); });
    if (!best.empty()) {
      add(2, "own, the fastest ways", [&](const Product& p, cudaStream_t stream) {
        Own(p, stream, best.at({p.d_in, p.d_out, p.n_rows}));
      });
    }
    add(0, "cuBLASLt", [&](const Product& p, cudaStream_t stream) { Library(gemm, p, stream); });
  }
}

// A product of a model, over as many matrices as are many times the L2.
struct Case {
  const char* name;
  int64_t d_in, d_out;
  Format y_dtype = Format::kBF16;
  GemvOutput output = GemvOutput::kStore;

  int64_t n_numbers() const { return d_in * d_out * (output == GemvOutput::kSiluMul ? 2 : 1); }
};

std::vector<Case> CasesOf(const Model& m) {
  return {{"qkv", m.d_model, m.d_qkv},
          {"out", m.d_query, m.d_model, Format::kF32, GemvOutput::kAdd},
          {"gate, up", m.d_model, m.d_ff, Format::kBF16, GemvOutput::kSiluMul},
          {"down", m.d_ff, m.d_model, Format::kF32, GemvOutput::kAdd},
          {"logits", m.d_model, m.vocab_size, Format::kF32}};
}

class Matrices {
 public:
  Matrices(const Case& c, int64_t max_rows)
      : c_(c),
        n_(static_cast<int>(std::max<int64_t>(2, kNumbers / c.n_numbers()))),
        weights_(DeviceArray::NormalBF16(n_ * c.n_numbers(), 1)),
        x_(DeviceArray::NormalBF16(max_rows * c.d_in, 2)),
        y_(DeviceArray::NormalF32(max_rows * c.d_out, 3)),
        both_(c.output == GemvOutput::kSiluMul ? max_rows * c.d_out * 4 : 16) {}

  template <typename Multiply>
  double Time(int64_t n_rows, int repeats, const Multiply& multiply) const {
    return ladder::TimeKernel(
        [&](int i, cudaStream_t stream) { multiply(ProductOf(n_rows, i), stream); },
        {.launches_per_repeat = std::clamp(n_, 10, 30), .repeats = repeats});
  }
  Product ProductOf(int64_t n_rows, int i) const {
    return {x_.As<void>(),   weights_.As<uint16_t>() + i % n_ * c_.n_numbers(),
            y_.As<void>(),   n_rows,
            c_.d_in,         c_.d_out,
            c_.y_dtype,      c_.output,
            both_.As<void>()};
  }

 private:
  static constexpr int64_t kNumbers = 500'000'000;
  Case c_;
  int n_;
  DeviceArray weights_, x_, y_, both_;
};

// Times all ways that could be any good, prints the fastest and returns the first.
GemmSm90Way FindWay(const Case& c, const Matrices& matrices, int64_t n_rows) {
  struct Timed {
    double seconds;
    GemmSm90Way way;
  };
  std::vector<Timed> all;
  for (GemmSm90Way way : kernels::cuda::GemmSm90Ways()) {
    const int64_t x_tiles = (n_rows + way.x_rows - 1) / way.x_rows;
    if (way.x_rows >= 2 * n_rows || (x_tiles > 2 && way.x_rows < 256)) continue;
    const int64_t tiles = (c.n_numbers() / c.d_in + way.weight_rows - 1) / way.weight_rows;
    for (const int n_parts : {1, 2, 3, 4, 8}) {
      const int64_t n_blocks = tiles * x_tiles * n_parts;
      if (n_parts * way.sharing > 8 || c.d_in < 128 * n_parts) continue;
      if (n_parts > 1 && n_blocks > 300) continue;
      if (n_blocks < 48 && n_parts < 8 / way.sharing) continue;
      way.parts = n_parts;
      all.push_back(
          {matrices.Time(n_rows, 3,
                         [&](const Product& p, cudaStream_t stream) { Own(p, stream, way); }),
           way});
    }
  }
  std::sort(all.begin(), all.end(),
            [](const Timed& a, const Timed& b) { return a.seconds < b.seconds; });
  std::printf("%-8s %4d rows:", c.name, static_cast<int>(n_rows));
  std::map<int, int> n_shown;  // the two fastest of each number of parts
  for (const auto& [seconds, way] : all) {
    if (++n_shown[way.parts] > 2) continue;
    std::printf("  %.1f us (%d x %d, sharing %d, blocks %d, parts %d)", seconds * 1e6,
                way.weight_rows, way.x_rows, way.sharing, way.blocks, way.parts);
  }
  std::printf("\n");
  return all.front().way;
}

void BenchProducts(const Model& model, const std::vector<int64_t>& counts,
                   const ladder::Limits& limits, bool ways, BestWays& best,
                   std::vector<ladder::Row>& rows) {
  for (const Case& c : CasesOf(model)) {
    const int64_t max_rows = *std::max_element(counts.begin(), counts.end());
    const Matrices matrices(c, max_rows);
    kernels::cuda::Gemm gemm;
    for (const int64_t n_rows : counts) {
      const auto add = [&](int level, const std::string& name, const auto& multiply) {
        const double seconds = matrices.Time(n_rows, 7, multiply);
        const auto numbers = static_cast<double>(c.n_numbers());
        const int64_t n_activations = n_rows * (c.d_in + c.d_out);
        rows.push_back(RowOf(limits, level, name.c_str(),
                             std::string(model.name) + " " + c.name + ", " +
                                 std::to_string(n_rows) + " x " + std::to_string(c.d_in) + " to " +
                                 std::to_string(c.d_out),
                             seconds, 2.0 * static_cast<double>(n_rows) * numbers,
                             2 * (numbers + static_cast<double>(n_activations))));
      };
      const GemmSm90Way chosen =
          kernels::cuda::GemmSm90WayFor(ArgsOf(matrices.ProductOf(n_rows, 0), {}));
      char name[80];
      std::snprintf(name, sizeof(name), "own %dx%d, shared %d, x%d, parts %d", chosen.weight_rows,
                    chosen.x_rows, chosen.sharing, chosen.blocks, chosen.parts);
      add(1, name, [](const Product& p, cudaStream_t stream) { Own(p, stream); });
      add(0, "cuBLASLt", [&](const Product& p, cudaStream_t stream) { Library(gemm, p, stream); });
      if (ways) best[{c.d_in, c.d_out, n_rows}] = FindWay(c, matrices, n_rows);
    }
  }
}

__global__ void NothingKernel() {}

// How many clusters of blocks the GPU has room for at once: a multiprocessor works for one
// cluster's blocks only beside others of its group, and the groups differ in size.
void PrintRoomForClusters() {
  for (const int kilobytes : {217, 109}) {
    AIOS_CUDA_CHECK(cudaFuncSetAttribute(NothingKernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                         kilobytes * 1024));
    std::printf("blocks of %d KB that fit in clusters of", kilobytes);
    for (const unsigned size : {1, 2, 3, 4, 6, 8}) {
      cudaLaunchAttribute attribute = {};
      attribute.id = cudaLaunchAttributeClusterDimension;
      attribute.val.clusterDim = {size, 1, 1};
      cudaLaunchConfig_t config = {};
      config.gridDim = dim3(size * 64);
      config.blockDim = dim3(288);
      config.dynamicSmemBytes = kilobytes * size_t{1024};
      config.attrs = &attribute;
      config.numAttrs = 1;
      int n_clusters = 0;
      AIOS_CUDA_CHECK(cudaOccupancyMaxActiveClusters(&n_clusters, NothingKernel, &config));
      std::printf("  %u: %u", size, n_clusters * size);
    }
    std::printf("\n");
  }
}

// ---- The program --------------------------------------------------------------------------------

[[noreturn]] void Refuse(const std::string& why) {
  std::fprintf(stderr, "bench_gemm_rows: %s\n", why.c_str());
  std::exit(2);
}

std::vector<int64_t> ParseRows(const std::string& text) {
  std::vector<int64_t> rows;
  const char* at = text.c_str();
  while (true) {
    char* end = nullptr;
    const long n = std::strtol(at, &end, 10);
    if (end == at || n < 1 || n > kMaxRows || (*end != ',' && *end != '\0')) {
      Refuse("--rows wants numbers from 1 to " + std::to_string(kMaxRows) + ", such as 64,128");
    }
    rows.push_back(n);
    if (*end == '\0') return rows;
    at = end + 1;
  }
}

Options ParseOptions(int argc, char** argv) {
  Options options;
  std::vector<char*> rest = {argv[0]};
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    const auto value = [&]() -> std::string {
      if (i + 1 == argc) Refuse(flag + " wants a value");
      return argv[++i];
    };
    if (flag == "--model") {
      options.model = value();
    } else if (flag == "--rows") {
      options.rows = ParseRows(value());
    } else if (flag == "--ways") {
      options.ways = true;
    } else {
      rest.push_back(argv[i]);
    }
  }
  options.ladder = ladder::ParseFlags(static_cast<int>(rest.size()), rest.data());
  if (!options.model.empty() &&
      std::none_of(std::begin(kModels), std::end(kModels),
                   [&](const Model& m) { return m.name == options.model; })) {
    Refuse("no model " + options.model + "; there are llama-8b, llama-1b and qwen3-0.6b");
  }
  return options;
}

void Main(const Options& options) {
  const ladder::Limits limits = ladder::MeasureLimits(/*with_gemm=*/true);
  std::printf("%s: read %.2f TB/s, product %.0f TFLOP/s\n", limits.device.c_str(),
              limits.read_bytes_s * 1e-12, limits.gemm_flop_s * 1e-12);
  if (options.ways) PrintRoomForClusters();
  std::vector<ladder::Row> rows;
  for (const Model& model : kModels) {
    if (!options.model.empty() && model.name != options.model) continue;
    if (options.model.empty() && options.ladder.quick && model.d_model != 1024) continue;
    const auto or_rows = [&](std::vector<int64_t> usual) {
      return options.rows.empty() ? usual : options.rows;
    };
    BestWays best;
    if (!options.ladder.quick) {
      BenchProducts(model, or_rows({16, 32, 64, 96, 128, 192, 256}), limits, options.ways, best,
                    rows);
    }
    BenchLayers(
        model,
        or_rows(best.empty() ? std::vector<int64_t>{16, 32, 64, 96, 128, 192, 256, 512, 2048}
                             : std::vector<int64_t>{16, 32, 64, 96, 128, 192, 256}),
        limits, best, rows);
  }
  Print(rows);
  if (!options.ladder.json.empty()) WriteJson(options.ladder.json, limits, rows);
}

}  // namespace
}  // namespace aios

int main(int argc, char** argv) {
  const aios::Options options = aios::ParseOptions(argc, argv);
  try {
    aios::Main(options);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench_gemm_rows: %s\n", e.what());
    return 1;
  }
}
