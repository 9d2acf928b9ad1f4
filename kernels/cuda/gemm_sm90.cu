// Which tile (gemm_sm90_tile.cuh) for how many rows and which W; and the launch.
#include <array>
#include <stdexcept>
#include <utility>

#include "kernels/cuda/check.h"
#include "kernels/cuda/gemm_sm90.h"
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/pdl.cuh"

#ifdef AIOS_CUDA_SM90A
#include "kernels/cuda/gemm_sm90_tile.cuh"
#endif

namespace aios::kernels::cuda {

#ifdef AIOS_CUDA_SM90A
namespace {

using gemm_sm90::kTileK;

constexpr int kMaxCluster = 8;  // blocks that a cluster may have on every Hopper GPU

// weight_rows, x_rows, sharing, blocks. Of the same x_rows: the one for a narrow W first.
constexpr GemmSm90Way kWays[] = {
    {64, 16, 1, 2},   {128, 16, 1, 2},                                      //
    {64, 32, 1, 2},   {128, 32, 1, 2},                                      //
    {64, 64, 1, 2},   {128, 64, 1, 2},  {128, 64, 2, 2},  {128, 64, 4, 2},  //
    {256, 64, 1, 1},  {256, 64, 2, 1},                                      //
    {64, 96, 1, 2},   {128, 96, 1, 2},  {128, 96, 2, 2},  {256, 96, 2, 1},  //
    {64, 128, 1, 2},  {128, 128, 1, 2}, {128, 128, 2, 2}, {128, 128, 4, 2},
    {128, 128, 2, 1}, {256, 128, 1, 1}, {256, 128, 2, 1},  //
    {128, 192, 1, 1}, {128, 192, 2, 1}, {128, 192, 4, 1},  //
    {128, 256, 1, 1}, {128, 256, 2, 1}, {128, 256, 4, 1},
};

int64_t RowsOfWeight(const GemmSm90Args& args) {
  return args.output == GemvOutput::kSiluMul ? 2 * args.d_out : args.d_out;
}

// In how many parts the columns are cut: by the shape of W alone, or the bits would depend on the
// rows of x. Few tiles leave multiprocessors idle, and many parts are long to fold: the limits are
// what benchmarks/bench_gemm_rows measured to be fastest.
int PartsOf(const GemmSm90Args& args) {
  const int64_t n_tiles = CeilDiv(RowsOfWeight(args), 128);
  const int64_t n_steps = CeilDiv(args.d_in, kTileK);
  int best = 1;
  for (const int n_parts : {2, 3, 4, 8}) {
    if (n_tiles * n_parts <= (n_parts == 2 ? 60 : 100) && n_steps >= 8 * n_parts) best = n_parts;
  }
  return best;
}

bool IsWay(const GemmSm90Way& way, int weight_rows, int x_rows, int sharing, int blocks) {
  return way.weight_rows == weight_rows && way.x_rows == x_rows && way.sharing == sharing &&
         way.blocks == blocks;
}

int IndexOf(int weight_rows, int x_rows, int sharing, int blocks) {
  int i = 0;
  for (const GemmSm90Way& way : kWays) {
    if (IsWay(way, weight_rows, x_rows, sharing, blocks)) return i;
    ++i;
  }
  throw std::invalid_argument("GemmSm90: a way that it does not have");
}

// The tile for so many rows and this W. Of these choices the bits know nothing.
int ChooseTile(const GemmSm90Args& args, int n_parts) {
  const int n_rows = static_cast<int>(std::min<int64_t>(args.n_rows, 256));
  const int64_t n_blocks = CeilDiv(RowsOfWeight(args), 128) * n_parts;
  if (n_blocks >= 120) {  // enough for all multiprocessors
    if (n_rows <= 64) return IndexOf(128, n_rows <= 16 ? 16 : n_rows <= 32 ? 32 : 64, 1, 2);
    if (n_rows <= 96) return IndexOf(128, 96, 2, 2);
    if (n_rows <= 128) return IndexOf(128, 128, 1, 2);
    return IndexOf(128, n_rows <= 192 ? 192 : 256, 1, 1);
  }
  if (n_rows <= 32) return IndexOf(64, n_rows <= 16 ? 16 : 32, 1, 2);
  // Small tiles make up for few parts.
  if (n_rows <= 64) return IndexOf(64, n_parts == 1 ? 32 : 64, 1, 2);
  if (n_rows <= 96) return IndexOf(64, n_parts == 1 ? 64 : 96, 1, 2);
  const bool few = n_blocks < 80;
  if (n_rows <= 128) return few ? IndexOf(64, 64, 1, 2) : IndexOf(128, 128, 2, 1);
  if (few) return IndexOf(64, 128, 1, 2);
  return IndexOf(128, n_rows <= 192 ? 192 : 256, 1, 1);
}

template <int kIndex>
void LaunchWay(const GemmSm90Args& args, int n_parts, cudaStream_t stream) {
  constexpr GemmSm90Way kWay = kWays[kIndex];
  using S = gemm_sm90::Tile<kWay.weight_rows, kWay.x_rows, kWay.sharing, kWay.blocks>;
  const CUtensorMap weight_map =
      hopper::MakeMatrixMap(args.weight, RowsOfWeight(args), args.d_in, args.d_in,
                            kWay.weight_rows / 2, kTileK, hopper::Swizzle::k128B);
  const CUtensorMap x_map =
      hopper::MakeMatrixMap(args.x, args.n_rows, args.d_in, args.d_in, kWay.x_rows / kWay.sharing,
                            kTileK, hopper::Swizzle::k128B);
  const int64_t n_tiles = CeilDiv(RowsOfWeight(args), kWay.weight_rows);
  const auto kernel = gemm_sm90::Kernel<kWay.weight_rows, kWay.x_rows, kWay.sharing, kWay.blocks>;
  AIOS_CUDA_CHECK(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, S::kSharedBytes));
  Launch(kernel,
         {.grid = dim3(n_parts, static_cast<unsigned>(CeilDiv(args.n_rows, kWay.x_rows)),
                       static_cast<unsigned>(CeilDiv(n_tiles, kWay.sharing) * kWay.sharing)),
          .block = dim3(S::kThreads),
          .shared_bytes = S::kSharedBytes,
          .overlap_previous = args.overlap_previous,
          .cluster = dim3(n_parts, 1, kWay.sharing)},
         stream, weight_map, x_map, args);
}

using LaunchFunction = void (*)(const GemmSm90Args&, int, cudaStream_t);
template <int... kIndex>
constexpr auto MakeLaunches(std::integer_sequence<int, kIndex...>) {
  return std::array<LaunchFunction, sizeof...(kIndex)>{&LaunchWay<kIndex>...};
}
constexpr auto kLaunches = MakeLaunches(std::make_integer_sequence<int, std::size(kWays)>{});

}  // namespace

std::span<const GemmSm90Way> GemmSm90Ways() { return kWays; }

GemmSm90Way GemmSm90WayFor(const GemmSm90Args& args) {
  const int n_parts = args.way.parts != 0 ? args.way.parts : PartsOf(args);
  GemmSm90Way way = args.way.weight_rows != 0 ? args.way : kWays[ChooseTile(args, n_parts)];
  way.parts = n_parts;
  return way;
}

bool GemmSm90Supports(const GemmSm90Args& args) {
  if (args.d_in <= 0 || args.d_in % 8 != 0 || args.d_in > INT32_MAX / 2) return false;
  if (args.d_out <= 0 || args.d_out % 4 != 0 || args.d_out > 1 << 21) return false;
  if (!AlignedTo16({args.x, args.weight, args.y})) return false;
  int device = 0, major = 0, minor = 0;
  AIOS_CUDA_CHECK(cudaGetDevice(&device));
  AIOS_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  AIOS_CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
  return major == 9 && minor == 0;
}

void GemmSm90(const GemmSm90Args& args, cudaStream_t stream) {
  if (args.y_dtype != Format::kBF16 && args.y_dtype != Format::kF32) {
    throw std::invalid_argument("GemmSm90: y_dtype must be BF16 or F32");
  }
  if (args.output == GemvOutput::kAdd && args.y_dtype != Format::kF32) {
    throw std::invalid_argument("GemmSm90: y must be F32 to be added to");
  }
  if (!GemmSm90Supports(args) || args.n_rows < 0 || args.n_rows > 1 << 23) {
    throw std::invalid_argument("GemmSm90: sizes, alignment or GPU that it is not for");
  }
  if (args.n_rows == 0) return;
  const GemmSm90Way way = GemmSm90WayFor(args);
  const int index = IndexOf(way.weight_rows, way.x_rows, way.sharing, way.blocks);
  const bool known_parts = (way.parts >= 1 && way.parts <= 4) || way.parts == 8;
  if (!known_parts || way.parts * way.sharing > kMaxCluster) {
    throw std::invalid_argument("GemmSm90: so many parts are not possible");
  }
  kLaunches[index](args, way.parts, stream);
}

#else

std::span<const GemmSm90Way> GemmSm90Ways() { return {}; }
GemmSm90Way GemmSm90WayFor(const GemmSm90Args&) { return {}; }
bool GemmSm90Supports(const GemmSm90Args&) { return false; }
void GemmSm90(const GemmSm90Args&, cudaStream_t) {
  throw std::invalid_argument("GemmSm90: not built for sm_90a");
}

#endif

}  // namespace aios::kernels::cuda
