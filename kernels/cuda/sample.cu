// Sampling sorts the vocabulary by logit in its definition, and must not in its execution. What is
// needed of the order is only where it crosses certain sums: the k-th token (top-k), the token at
// which the weights reach top_p, the token in which the draw falls.
//
// A row is the work of a cluster of blocks (Hopper's: blocks that run together and can read each
// other's shared memory). They bring its logits into their shared memory, once; all that follows
// reads them there:
//
//   1. The best token. Greedy ends here.
//   2. top_k up to kMaxTopK: the k-th best of the threads' own best is a floor under the k-th best
//      of all. The few logits above the floor are gathered in the first block, sorted, and sampled
//      as on the host, in double.
//   3. Else: a histogram over logits, equally wide bins down from the best, with the sum of weights
//      of each, and the number of tokens where top_k asks for it. The bin that has the crossing
//      (Select) is gathered and sorted; where it has too many tokens for that, it is first split
//      again, by the bits of the logits and at last of the ids.
//
// The weights e^((logit - max) / temperature) are summed as integers (multiples of 2^-42): integers
// add up to the same in every order, so that atomics do no harm to "the batch must not change the
// answer", nor does the size of the cluster.
#include <cooperative_groups.h>

#include <cfloat>
#include <stdexcept>

#include "kernels/cuda/check.h"
#include "kernels/cuda/pdl.cuh"
#include "kernels/cuda/sample.h"

namespace aios::kernels::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / 32;
constexpr int kBins = 2 * kThreads;  // each thread looks at two
constexpr int kBinBits = 10;
constexpr int kMaxSorted = kThreads;    // each thread has one
constexpr int kMaxTopK = kThreads / 2;  // somewhat more than top_k are gathered

// Blocks of a row, on Hopper. With 7, two blocks fit a multiprocessor and an H200 holds the
// clusters of 32 rows at once; with 8 it is 30, for a cluster stays within one group of
// multiprocessors, and a batch of 32 takes the time of two; with 6 a part is too large for two
// blocks.
constexpr int kMaxCluster = 7;

constexpr int kWeightBits = 42;  // a weight of 1 is 2^42: 2^20 of them fit in 64 bits
constexpr unsigned kAllLanes = 0xFFFFFFFF;

// ---- The blocks of a row ------------------------------------------------------------------------

// Before Hopper a row has one block.
struct Cluster {
#if __CUDA_ARCH__ >= 900
  __device__ int rank() const { return cooperative_groups::this_cluster().block_rank(); }
  __device__ int size() const { return cooperative_groups::this_cluster().num_blocks(); }
  __device__ void Sync() const { cooperative_groups::this_cluster().sync(); }
  // A Sync in two halves, between which a thread can do other work.
  __device__ void Arrive() const { cooperative_groups::this_cluster().barrier_arrive(); }
  __device__ void Wait() const { cooperative_groups::this_cluster().barrier_wait(); }
  // What stands at `mine`, in this block's shared memory, as block `rank` has it.
  template <typename T>
  __device__ T* At(int rank, T* mine) const {
    return cooperative_groups::this_cluster().map_shared_rank(mine, rank);
  }
#else
  __device__ int rank() const { return 0; }
  __device__ int size() const { return 1; }
  __device__ void Sync() const { __syncthreads(); }
  __device__ void Arrive() const {}
  __device__ void Wait() const { __syncthreads(); }
  template <typename T>
  __device__ T* At(int, T* mine) const {
    return mine;
  }
#endif
};

struct Extremes {
  uint32_t max_key;
  uint32_t max_id;
  uint32_t second_key;  // of all others: of equal ones, both are best
  uint32_t min_key;
  uint32_t floor_key;  // the smallest of the threads' largest
  uint32_t damaged;    // a logit is not finite
};

struct Sums {
  uint64_t weight;  // of all tokens
  uint64_t likely;  // of those that are at least min_p times as likely as the best
};

// The bin in which a sum crosses its target.
struct Found {
  uint32_t bin;
  uint32_t count;          // tokens in it
  uint64_t count_before;   // tokens in the bins before it
  uint64_t weight_before;  // their weight
};

// The token at which a sum crosses its target.
struct Selected {
  uint32_t id;
  uint64_t weight;  // of all up to and with it
};

struct alignas(16) Shared {  // the logits stand behind it, in groups of four
  // This block's part of the histogram. Weights in two words: shared memory adds no longer ones.
  uint32_t count[kBins];
  uint32_t weight_low[kBins];
  uint32_t weight_high[kBins];

  // This block's part of what is gathered, and its place in the whole.
  uint64_t part[kMaxSorted];
  uint32_t n_part;
  uint32_t part_begin;

  // In the first block: the whole histogram; tokens to be sorted.
  uint32_t total_count[kBins];
  uint64_t total_weight[kBins];
  uint64_t gathered[kMaxSorted];
  uint32_t n_gathered;

  // Written by other blocks, read after a Sync.
  Extremes extremes[kMaxCluster];
  Sums sums[kMaxCluster];
  uint32_t parts[kMaxCluster];  // n_part of each block
  Found found;
  Selected selected;

  // Of the reductions within this block.
  Extremes warp_extremes[kWarps];
  uint64_t warp_sums[kWarps];
};

// ---- Order --------------------------------------------------------------------------------------

// Larger for larger numbers. -0 is equal to 0, but has other bits; adding 0 makes it 0.
__device__ __forceinline__ uint32_t KeyOf(float x) {
  const uint32_t bits = __float_as_uint(x + 0.0F);
  return bits & 0x80000000U ? ~bits : bits | 0x80000000U;
}
__device__ __forceinline__ float NumberOf(uint32_t key) {
  return __uint_as_float(key & 0x80000000U ? key & 0x7FFFFFFFU : ~key);
}

// Smaller for better tokens: by logit, then by id.
__device__ __forceinline__ uint64_t OrderOf(float logit, uint32_t id) {
  return static_cast<uint64_t>(~KeyOf(logit)) << 32 | id;
}
__device__ __forceinline__ float LogitOf(uint64_t order) {
  return NumberOf(~static_cast<uint32_t>(order >> 32));
}

// Sorts the threads' orders, of which the first n are less than ~0, all different. Each warp sorts
// its own (Batcher's bitonic network), then each order looks up how many it follows in the other
// warps'. scratch: kThreads.
__device__ uint64_t SortOrders(uint64_t mine, int n, uint64_t* scratch) {
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
#pragma unroll
  for (int run = 2; run <= 32; run *= 2) {
#pragma unroll
    for (int distance = run / 2; distance > 0; distance /= 2) {
      const uint64_t other = __shfl_xor_sync(kAllLanes, mine, distance);
      const bool ascending = (lane & run) == 0;
      const bool first_of_pair = (lane & distance) == 0;
      mine = ascending == first_of_pair ? min(mine, other) : max(mine, other);
    }
  }
  if (n <= 32) return mine;
  __syncthreads();
  scratch[threadIdx.x] = mine;
  __syncthreads();
  int at = lane;
  const int n_warps = 32 * warp < n ? (n + 31) / 32 : 0;
#pragma unroll 4
  for (int w = 0; w < n_warps; ++w) {
    const uint64_t* sorted = scratch + 32 * w;
    int before = 0;
#pragma unroll
    for (int step = 16; step > 0; step /= 2) before += sorted[before + step - 1] < mine ? step : 0;
    before += sorted[before] < mine ? 1 : 0;
    at += w == warp ? 0 : before;
  }
  __syncthreads();
  if (mine != ~uint64_t{0}) scratch[at] = mine;
  __syncthreads();
  return threadIdx.x < n ? scratch[threadIdx.x] : ~uint64_t{0};
}

// ---- Sums within a block ------------------------------------------------------------------------

// The sum of x of this thread and all before it; *total: of all. All threads must call it. scratch:
// kWarps, free again after the next __syncthreads.
template <typename T>
__device__ T Scan(T x, T* scratch, T* total) {
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  for (int distance = 1; distance < 32; distance *= 2) {
    const T left = __shfl_up_sync(kAllLanes, x, distance);
    if (lane >= distance) x += left;
  }
  __syncthreads();  // the scratch may still be read
  if (lane == 31) scratch[warp] = x;
  __syncthreads();
  T before = 0;
  T sum = 0;
  for (int w = 0; w < kWarps; ++w) {
    if (w == warp) before = sum;
    sum += scratch[w];
  }
  *total = sum;
  return before + x;
}

// ---- The draw -----------------------------------------------------------------------------------

__device__ __forceinline__ uint64_t SplitMix64(uint64_t x) {
  x += 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

// In [0, 1); the same number as the host's.
__device__ __forceinline__ double UniformDraw(uint64_t seed, uint64_t step) {
  return static_cast<double>(SplitMix64(SplitMix64(seed) + step) >> 11) * 0x1p-53;
}

// exp2f, less its care for results too small for a normal number.
__device__ __forceinline__ float Exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// ---- A row --------------------------------------------------------------------------------------

// A part of the vocabulary that is contiguous in the order.
struct Region {
  int level = 0;     // 0: a bin of logits; above: that, split by level * kBinBits bits of the order
  uint32_t bin = 0;  // of the first level
  uint64_t prefix = 0;  // level * kBinBits leading bits of the order
};

// kStaged: the logits are in shared memory. The compiler must know, or it asks of each address
// which memory it is.
template <bool kStaged>
struct Row {
  Cluster cluster;
  Shared& shared;
  const SampleParams& params;
  const float* logits;  // this block's part of the row
  int n;                // its size
  uint32_t first_id;    // its first token
  float best;           // the largest logit
  float bins_per_unit;
  float rate_high, rate_low;     // log2(e) / temperature
  bool has_counts, has_weights;  // what the histogram has of them
  bool histogram_is_whole;       // it stands in shared.total_*
  uint64_t min_weight;           // min_p
  uint64_t weight_sum, likely;   // of the whole row, once the histogram was made

  // For each four logits i to i + 3 of this block's part: visit(logit i + j, j) for j = 0 to 3,
  // past the end with -infinity, then end_of_quad(i).
  template <typename Visit, typename EndOfQuad>
  __device__ __forceinline__ void ForEachQuad(const Visit& visit,
                                              const EndOfQuad& end_of_quad) const {
    for (int i = 4 * threadIdx.x; i < n; i += 4 * kThreads) {
      float x[4];
      if constexpr (kStaged) {
        extern __shared__ __align__(16) char memory[];
        const auto* quads = reinterpret_cast<const float4*>(memory + sizeof(Shared));
        const float4 quad = quads[i / 4];
        x[0] = quad.x, x[1] = quad.y, x[2] = quad.z, x[3] = quad.w;
      } else {
#pragma unroll
        for (int j = 0; j < 4; ++j) x[j] = logits[min(i + j, n - 1)];
      }
      if (i + 4 > n) {
#pragma unroll
        for (int j = 1; j < 4; ++j) {
          if (i + j >= n) x[j] = -INFINITY;
        }
      }
#pragma unroll
      for (int j = 0; j < 4; ++j) visit(x[j], j);
      end_of_quad(i);
    }
  }

  // Bins from the best logit down; the last one has all the rest. Monotone, since each rounding is.
  __device__ uint32_t BinOf(float logit) const {
    return static_cast<uint32_t>(min(__float2int_rz((best - logit) * bins_per_unit), kBins - 1));
  }
  // Finite and not 0, so that neither meets infinity's opposite in BinOf.
  __device__ void SetBins(float per_unit) {
    bins_per_unit = fminf(fmaxf(per_unit, FLT_MIN), FLT_MAX);
  }

  // 2^42 e^((logit - max) / temperature), within 2^-22 of itself: the exponent is computed to more
  // than the 24 bits of an f32, of which e^-20 would show only 19.
  __device__ uint64_t WeightOf(float logit) const {
    const float difference = logit - best;
    const float taken = logit - difference;  // Knuth's exact sum: what was lost
    const float lost = (logit - (difference + taken)) + (taken - best);
    const float power = difference * rate_high;
    const float more =
        fmaf(difference, rate_high, -power) + fmaf(lost, rate_high, difference * rate_low);
    constexpr auto kOne = static_cast<float>(uint64_t{1} << kWeightBits);
    const float weight = Exp2(power) * fmaf(more, 0.6931472F * kOne, kOne);
    return __float2ull_rn(power > -(kWeightBits + 2) ? weight : 0.0F);
  }

  __device__ void ClearHistogram() {
    for (int i = threadIdx.x; i < kBins; i += kThreads) {
      shared.count[i] = shared.weight_low[i] = shared.weight_high[i] = 0;
    }
    __syncthreads();
  }

  // Adds the blocks' histograms up in the first block. Each block does a share of the bins.
  __device__ void AddHistograms() {
    cluster.Sync();
    const int share = (kBins + cluster.size() - 1) / cluster.size();
    const int end = min((cluster.rank() + 1) * share, kBins);
    for (int bin = cluster.rank() * share + threadIdx.x; bin < end; bin += kThreads) {
      uint32_t count = 0;
      uint64_t weight = 0;
#pragma unroll  // all loads, which take their time, are on the way at once
      for (int rank = 0; rank < kMaxCluster; ++rank) {
        if (rank < cluster.size()) {
          if (has_counts) count += *cluster.At(rank, &shared.count[bin]);
          if (has_weights) {
            weight += *cluster.At(rank, &shared.weight_low[bin]);
            weight += static_cast<uint64_t>(*cluster.At(rank, &shared.weight_high[bin])) << 32;
          }
        }
      }
      if (has_counts) *cluster.At(0, &shared.total_count[bin]) = count;
      if (has_weights) *cluster.At(0, &shared.total_weight[bin]) = weight;
    }
    cluster.Sync();
  }

  // Adds 4 tokens to their bins; one that is not `in` must have no weight. Each addition waits for
  // the low word's old value, which tells whether to carry: four are on their way at once.
  __device__ __forceinline__ void AddToBins(const bool (&in)[4], const uint32_t (&bin)[4],
                                            const uint64_t (&weight)[4]) {
    uint32_t high[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      high[j] = atomicAdd(&shared.weight_low[bin[j]], static_cast<uint32_t>(weight[j]));
    }
    if (has_counts) {
#pragma unroll
      for (int j = 0; j < 4; ++j) atomicAdd(&shared.count[bin[j]], in[j] ? 1U : 0U);
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const uint32_t carry = high[j] + static_cast<uint32_t>(weight[j]) < high[j] ? 1 : 0;
      high[j] = static_cast<uint32_t>(weight[j] >> 32) + carry;
    }
    if ((high[0] | high[1] | high[2] | high[3]) == 0) return;  // most often
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (high[j] != 0) atomicAdd(&shared.weight_high[bin[j]], high[j]);
    }
  }

  // The histogram of the whole row, and its sums.
  __device__ void MakeHistogram() {
    ClearHistogram();
    uint64_t weights = 0;
    uint64_t likely_weights = 0;
    bool in[4];
    uint32_t bin[4];
    uint64_t weight[4];
    ForEachQuad(
        [&](float logit, int j) {
          bin[j] = BinOf(logit);
          weight[j] = WeightOf(logit);
          weights += weight[j];
        },
        [&](int i) {
          if (min_weight > 0) {
#pragma unroll
            for (int j = 0; j < 4; ++j) likely_weights += weight[j] >= min_weight ? weight[j] : 0;
          }
#pragma unroll
          for (int j = 0; j < 4; ++j) in[j] = i + j < n;
          AddToBins(in, bin, weight);
        });
    Sums sums;
    Scan(weights, shared.warp_sums, &sums.weight);
    sums.likely = sums.weight;
    if (min_weight > 0) Scan(likely_weights, shared.warp_sums, &sums.likely);
    if (threadIdx.x < cluster.size()) {
      *cluster.At(threadIdx.x, &shared.sums[cluster.rank()]) = sums;
    }
    AddHistograms();
    weight_sum = likely = 0;
    for (int rank = 0; rank < cluster.size(); ++rank) {
      weight_sum += shared.sums[rank].weight;
      likely += shared.sums[rank].likely;
    }
    histogram_is_whole = true;
  }

  // The histogram of a region by the kBinBits bits of the order that follow those it has.
  __device__ void SplitHistogram(const Region& region) {
    ClearHistogram();
    const int shift = 64 - (region.level + 1) * kBinBits;
    bool in[4];
    uint32_t bin[4];
    uint64_t weight[4];
    ForEachQuad(
        [&](float logit, int j) {
          in[j] = BinOf(logit) == region.bin;
          weight[j] = in[j] ? WeightOf(logit) : 0;
          bin[j] = ~KeyOf(logit);
        },
        [&](int i) {
          bool any = false;
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            const uint64_t order = static_cast<uint64_t>(bin[j]) << 32 | (first_id + i + j);
            in[j] = in[j] && i + j < n &&
                    (region.level == 0 || order >> (64 - region.level * kBinBits) == region.prefix);
            bin[j] = static_cast<uint32_t>(order >> shift) % kBins;
            if (!in[j]) weight[j] = 0;
            any |= in[j];
          }
          if (any) AddToBins(in, bin, weight);
        });
    AddHistograms();
    histogram_is_whole = false;
  }

  // The first bin with which the tokens, or the weights, reach target (or all there are, if that is
  // less).
  __device__ Found FindBin(bool by_count, uint64_t target) {
    if (cluster.rank() == 0) {
      const int bin = 2 * threadIdx.x;
      uint64_t count[2] = {};
      uint64_t weight[2] = {};
      uint64_t counts = 0;
      uint64_t weights = 0;
      uint64_t all = 0;
      if (has_counts) {
        count[0] = shared.total_count[bin];
        count[1] = shared.total_count[bin + 1];
        uint64_t all_counts;
        counts = Scan(count[0] + count[1], shared.warp_sums, &all_counts) - count[0] - count[1];
        if (by_count) all = all_counts;
      }
      if (has_weights) {
        weight[0] = shared.total_weight[bin];
        weight[1] = shared.total_weight[bin + 1];
        uint64_t all_weights;
        weights =
            Scan(weight[0] + weight[1], shared.warp_sums, &all_weights) - weight[0] - weight[1];
        if (!by_count) all = all_weights;
      }
      target = min(target, all);
      for (int i = 0; i < 2; ++i) {
        const uint64_t before = by_count ? counts : weights;
        const uint64_t more = by_count ? count[i] : weight[i];
        if (before < target && before + more >= target) {
          const Found found = {static_cast<uint32_t>(bin + i), static_cast<uint32_t>(count[i]),
                               counts, weights};
          for (int rank = 0; rank < cluster.size(); ++rank) {
            *cluster.At(rank, &shared.found) = found;
          }
        }
        counts += count[i];
        weights += weight[i];
      }
      if (threadIdx.x == 0) shared.n_gathered = 0;  // for the Gather that follows
    }
    cluster.Sync();
    return shared.found;
  }

  // Brings the tokens of bins first_bin to last_bin whose order `wanted` accepts to the first
  // block, and returns how many there are. If they fit, *order is, in thread i of that block, the
  // i-th best, and ~0 after the last.
  template <typename Wanted>
  __device__ int Gather(int first_bin, int last_bin, const Wanted& wanted, uint64_t* order) {
    // BinOf(logit) is in the range, without the conversion.
    const auto first = static_cast<float>(first_bin);
    const float last =
        last_bin == kBins - 1 ? INFINITY : nextafterf(static_cast<float>(last_bin + 1), 0.0F);
    const auto wanted_bins = [&](float logit) {
      const float x = (best - logit) * bins_per_unit;
      return x >= first && x <= last;
    };
    // First within the block: to count in another's memory takes a microsecond a time.
    if (threadIdx.x == 0) shared.n_part = 0;
    __syncthreads();
    bool hit[4];
    float quad[4];
    ForEachQuad(
        [&](float logit, int j) {
          quad[j] = logit;
          hit[j] = wanted_bins(logit);
        },
        [&](int i) {
          if (!(hit[0] | hit[1] | hit[2] | hit[3])) return;  // most often
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            if (!hit[j] || i + j >= n) continue;
            const uint64_t order = OrderOf(quad[j], first_id + i + j);
            if (!wanted(order)) continue;
            const uint32_t at = atomicAdd(&shared.n_part, 1U);
            if (at < kMaxSorted) shared.part[at] = order;
          }
        });
    __syncthreads();
    if (threadIdx.x == 0) {
      shared.part_begin = atomicAdd(cluster.At(0, &shared.n_gathered), shared.n_part);
    }
    if (threadIdx.x < cluster.size()) {
      *cluster.At(threadIdx.x, &shared.parts[cluster.rank()]) = shared.n_part;
    }
    __syncthreads();
    const uint32_t at = shared.part_begin + threadIdx.x;
    if (threadIdx.x < shared.n_part && at < kMaxSorted) {
      *cluster.At(0, &shared.gathered[at]) = shared.part[threadIdx.x];
    }
    cluster.Sync();
    int n_gathered = 0;
    for (int rank = 0; rank < cluster.size(); ++rank) n_gathered += shared.parts[rank];
    if (cluster.rank() == 0 && n_gathered <= kMaxSorted) {
      const auto i = static_cast<int>(threadIdx.x);
      *order = i < n_gathered ? shared.gathered[i] : ~uint64_t{0};
      *order = SortOrders(*order, n_gathered, shared.gathered);
    }
    return n_gathered;
  }

  // The first token, in the order, with which the tokens, or the weights, reach target, which is at
  // least 1 and at most their sum. Only the first block need be told the target, and is told.
  __device__ Selected Select(bool by_count, uint64_t target) {
    Region region;
    uint64_t weight_before = 0;
    uint64_t order = 0;
    int n_gathered;
    if (!histogram_is_whole) MakeHistogram();
    while (true) {
      const Found found = FindBin(by_count, target);
      target -= by_count ? found.count_before : found.weight_before;
      weight_before += found.weight_before;
      if (region.level == 0) {
        region.bin = found.bin;
      } else {
        region.prefix = region.prefix << kBinBits | found.bin;
      }
      const auto wanted = [&](uint64_t x) {
        return region.level == 0 || x >> (64 - region.level * kBinBits) == region.prefix;
      };
      n_gathered = Gather(region.bin, region.bin, wanted, &order);
      // The sixth split leaves no more than 16 tokens: they differ in 4 bits of the id.
      if (n_gathered <= kMaxSorted) break;
      SplitHistogram(region);
      ++region.level;
    }
    if (cluster.rank() == 0) {
      const int i = threadIdx.x;
      const uint64_t weight = i < n_gathered ? WeightOf(LogitOf(order)) : 0;
      uint64_t total;
      const uint64_t weights = Scan(weight, shared.warp_sums, &total);
      const uint64_t before = by_count ? static_cast<uint64_t>(i) : weights - weight;
      const uint64_t reached = by_count ? static_cast<uint64_t>(min(i + 1, n_gathered)) : weights;
      if (before < target && reached >= target) {
        shared.selected = {static_cast<uint32_t>(order), weight_before + weights};
      }
    }
    __syncthreads();
    return shared.selected;
  }

  // Writes the token, where no more than kMaxTopK are candidates. False if what was gathered did
  // not fit: there are many equal ones. thread_max: of this thread's logits.
  __device__ bool SampleFromTop(int top_k, bool has_any, float thread_max, float floor,
                                int32_t* token) {
    SetBins(kBins / (best - floor));
    has_counts = true;
    has_weights = false;
    ClearHistogram();
    if (has_any) atomicAdd(&shared.count[BinOf(thread_max)], 1U);
    AddHistograms();
    const Found found = FindBin(/*by_count=*/true, top_k);
    // Fewer threads with logits than top_k: then the last bin must do, which has all.
    const bool enough = found.count_before + found.count >= static_cast<uint64_t>(top_k);
    const uint32_t last_bin = enough ? found.bin : kBins - 1;
    uint64_t order = 0;
    const int n_gathered = Gather(
        0, last_bin, [](uint64_t) { return true; }, &order);
    if (n_gathered > kMaxSorted) return false;
    if (cluster.rank() != 0) return true;

    // As on the host, in its precision. Thread i has the i-th best token.
    const int i = threadIdx.x;
    double weight = 0;
    if (i < min(top_k, n_gathered)) {
      weight = exp((LogitOf(order) - static_cast<double>(best)) / params.temperature);
    }
    auto* scratch = reinterpret_cast<double*>(shared.warp_sums);
    double sum;
    double kept_sum;
    double unused;
    const double reached = Scan(weight, scratch, &sum);
    const bool kept = i == 0 || (reached - weight < params.top_p * sum && weight > 0 &&
                                 weight >= static_cast<double>(params.min_p));
    Scan(kept ? weight : 0.0, scratch, &kept_sum);
    const float probability = kept ? static_cast<float>(weight / kept_sum) : 0.0F;
    const double right = Scan(static_cast<double>(probability), scratch, &unused);
    const int n_kept = __syncthreads_count(kept);
    const int n_left = __syncthreads_count(kept && right <= UniformDraw(params.seed, params.step));
    if (i == min(n_left, n_kept - 1)) *token = static_cast<int32_t>(order);
    return true;
  }

  // The token, by sums over the whole vocabulary. Only the first block's is.
  __device__ uint32_t SampleFromAll(int top_k, int vocab_size, float min_logit) {
    // Fine enough for the last bin to have next to no weight, and the others few tokens; but no
    // finer than it takes to spread the row over all.
    SetBins(fmaxf(32 / params.temperature, kBins / (best - min_logit)));
    has_counts = top_k < vocab_size;
    has_weights = true;
    MakeHistogram();
    uint64_t kept = weight_sum;
    if (top_k < vocab_size) kept = Select(/*by_count=*/true, top_k).weight;
    if (params.top_p < 1) {
      const double target = ceil(params.top_p * static_cast<double>(kept));
      kept = Select(false, min(max(static_cast<uint64_t>(target), uint64_t{1}), kept)).weight;
    }
    kept = min(kept, likely);
    const double draw = UniformDraw(params.seed, params.step) * static_cast<double>(kept);
    return Select(false, min(static_cast<uint64_t>(draw) + 1, kept)).id;
  }
};

// What a thread has seen of a row.
struct Seen {
  float max = -INFINITY;
  float second = -INFINITY;
  float min = INFINITY;
  uint32_t max_id = 0xFFFFFFFF;
  bool finite = true;

  __device__ void Add(float x, uint32_t id) {  // ids must rise
    second = fmaxf(second, fminf(x, max));
    if (x > max) {
      max = x;
      max_id = id;
    }
    min = fminf(min, x);
    finite = finite && fabsf(x) <= FLT_MAX;
  }
  __device__ bool any() const { return max_id != 0xFFFFFFFF; }
};

// Reads this block's part, keeps it in `to` unless that is null.
__device__ Seen ReadLogits(const float* from, int n, uint32_t first_id, bool aligned, float* to) {
  Seen seen;
  int i = 0;
  if (aligned) {
    constexpr int kInFlight = 8;
    const int n_quads = n / 4;
    for (int first = threadIdx.x; first < n_quads; first += kInFlight * kThreads) {
      float4 quads[kInFlight];
#pragma unroll
      for (int j = 0; j < kInFlight; ++j) {
        const int quad = first + j * kThreads;
        if (quad < n_quads) quads[j] = reinterpret_cast<const float4*>(from)[quad];
      }
#pragma unroll
      for (int j = 0; j < kInFlight; ++j) {
        const int quad = first + j * kThreads;
        if (quad >= n_quads) break;
        const float4 x = quads[j];
        const uint32_t id = first_id + 4 * quad;
        seen.Add(x.x, id);
        seen.Add(x.y, id + 1);
        seen.Add(x.z, id + 2);
        seen.Add(x.w, id + 3);
        if (to != nullptr) reinterpret_cast<float4*>(to)[quad] = x;
      }
    }
    i = n_quads * 4;
  }
  for (i += threadIdx.x; i < n; i += kThreads) {
    const float x = from[i];
    seen.Add(x, first_id + i);
    if (to != nullptr) to[i] = x;
  }
  return seen;
}

__device__ Extremes Fold(const Extremes& mine) {  // over a warp
  Extremes all;
  all.max_key = __reduce_max_sync(kAllLanes, mine.max_key);
  all.max_id = __reduce_min_sync(kAllLanes, mine.max_key == all.max_key ? mine.max_id : 0xFFFFFFFF);
  const bool has_best = mine.max_key == all.max_key && mine.max_id == all.max_id;
  all.second_key = __reduce_max_sync(kAllLanes, has_best ? mine.second_key : mine.max_key);
  all.min_key = __reduce_min_sync(kAllLanes, mine.min_key);
  all.floor_key = __reduce_min_sync(kAllLanes, mine.floor_key);
  all.damaged = __reduce_or_sync(kAllLanes, mine.damaged);
  return all;
}

// Over the cluster. Ends what its Arrive began.
__device__ Extremes FoldAll(const Cluster& cluster, const Seen& seen, Shared& shared) {
  constexpr Extremes kNothing = {0, 0xFFFFFFFF, 0, 0xFFFFFFFF, 0xFFFFFFFF, 0};
  const int lane = threadIdx.x % 32;
  Extremes mine = kNothing;
  if (seen.any()) {
    mine = {KeyOf(seen.max), seen.max_id, KeyOf(seen.second), KeyOf(seen.min), KeyOf(seen.max), 0};
  }
  mine.damaged = seen.finite ? 0 : 1;
  mine = Fold(mine);
  if (lane == 0) shared.warp_extremes[threadIdx.x / 32] = mine;
  __syncthreads();
  cluster.Wait();  // all blocks run: from here on their shared memory is there
  if (threadIdx.x < 32) {
    mine = Fold(lane < kWarps ? shared.warp_extremes[lane] : kNothing);
    if (lane < cluster.size()) *cluster.At(lane, &shared.extremes[cluster.rank()]) = mine;
  }
  cluster.Sync();
  return Fold(lane < cluster.size() ? shared.extremes[lane] : kNothing);
}

// Grid: (blocks of a cluster, rows). The dynamic shared memory has a Shared and then, if `staged`,
// a block's part of the logits.
template <bool kStaged>
__global__ void __launch_bounds__(kThreads, 2) SampleKernel(const SampleArgs args, int part_size) {
  extern __shared__ __align__(16) char memory[];
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  const Cluster cluster;
  cluster.Arrive();
  WaitForPreviousKernel();
  const SampleParams params = args.params[blockIdx.y];

  const int first = min(cluster.rank() * part_size, args.vocab_size);
  const int n = min(part_size, args.vocab_size - first);
  const float* from = args.logits + static_cast<int64_t>(blockIdx.y) * args.vocab_size + first;
  float* copy = kStaged ? reinterpret_cast<float*>(memory + sizeof(Shared)) : nullptr;
  const bool aligned = reinterpret_cast<uintptr_t>(from) % 16 == 0;
  const Seen seen = ReadLogits(from, n, first, aligned, copy);
  const Extremes extremes = FoldAll(cluster, seen, shared);  // after it, all may read `copy`

  if (args.margins != nullptr && cluster.rank() == 0 && threadIdx.x == 0) {
    args.margins[blockIdx.y] = NumberOf(extremes.max_key) - NumberOf(extremes.second_key);
  }
  int32_t* token = args.tokens + blockIdx.y;
  if (extremes.damaged != 0 || params.temperature == 0) {
    if (cluster.rank() == 0 && threadIdx.x == 0) {
      *token = extremes.damaged != 0 ? kNoToken : static_cast<int32_t>(extremes.max_id);
    }
    return;
  }
  const double rate = 1.4426950408889634 / params.temperature;             // log2(e) / temperature
  const auto rate_high = static_cast<float>(fmin(rate, double{FLT_MAX}));  // of 0 it must make 0
  Row<kStaged> row = {.cluster = cluster,
                      .shared = shared,
                      .params = params,
                      .logits = from,
                      .n = n,
                      .first_id = static_cast<uint32_t>(first),
                      .best = NumberOf(extremes.max_key),
                      .bins_per_unit = 0,
                      .rate_high = rate_high,
                      .rate_low = static_cast<float>(fmin(rate - rate_high, double{FLT_MAX})),
                      .has_counts = false,
                      .has_weights = false,
                      .histogram_is_whole = false,
                      .min_weight = static_cast<uint64_t>(
                          ceil(static_cast<double>(params.min_p) * (uint64_t{1} << kWeightBits))),
                      .weight_sum = 0,
                      .likely = 0};
  const int top_k = params.top_k > 0 ? min(params.top_k, args.vocab_size) : args.vocab_size;
  const bool done = top_k <= kMaxTopK && row.SampleFromTop(top_k, seen.any(), seen.max,
                                                           NumberOf(extremes.floor_key), token);
  if (!done) {
    const uint32_t drawn = row.SampleFromAll(top_k, args.vocab_size, NumberOf(extremes.min_key));
    if (cluster.rank() == 0 && threadIdx.x == 0) *token = static_cast<int32_t>(drawn);
  }
  // A block may end here: since the Sync of the last Gather none looks at another's shared memory.
}

int Attribute(cudaDeviceAttr attribute) {
  int device = 0;
  int value = 0;
  AIOS_CUDA_CHECK(cudaGetDevice(&device));
  AIOS_CUDA_CHECK(cudaDeviceGetAttribute(&value, attribute, device));
  return value;
}

}  // namespace

void Sample(const SampleArgs& args, cudaStream_t stream) {
  if (args.vocab_size < 1 || args.vocab_size > 1 << 20) {
    throw std::invalid_argument("Sample: vocab_size must be 1 to 2^20");
  }
  if (args.n_rows == 0) return;
  const bool has_clusters = Attribute(cudaDevAttrComputeCapabilityMajor) >= 9;
  const int cluster_size = has_clusters ? kMaxCluster : 1;
  // Whole groups of four, so that all parts are aligned if the row is.
  const int part_size = (args.vocab_size + 4 * cluster_size - 1) / (4 * cluster_size) * 4;
  const size_t room = Attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  size_t shared_bytes = sizeof(Shared) + part_size * sizeof(float);
  const bool staged = shared_bytes <= room;
  if (!staged) shared_bytes = sizeof(Shared);  // then the logits are read from memory again
  const auto kernel = staged ? SampleKernel<true> : SampleKernel<false>;
  AIOS_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                       static_cast<int>(shared_bytes)));

  cudaLaunchAttribute attributes[2] = {};
  attributes[0].id = cudaLaunchAttributeClusterDimension;
  attributes[0].val.clusterDim = {static_cast<unsigned>(cluster_size), 1, 1};
  attributes[1].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[1].val.programmaticStreamSerializationAllowed = args.overlap_previous ? 1 : 0;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(cluster_size, args.n_rows);
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = has_clusters ? 2 : 0;
  AIOS_CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, args, part_size));
}

}  // namespace aios::kernels::cuda
