// Prefill attention for Hopper, against a loop in double precision: every sequence, page and cut a
// batch can have, with NaN in every slot that holds no key.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "kernels/cuda/attention_prefill_sm90.h"
#include "tests/kernels/cuda/gpu_testing.h"

namespace aios::kernels::cuda {
namespace {

struct Heads {
  int n_heads;
  int n_kv_heads;
  int head_dim;
  int page_size;
};

// A sequence whose first kv_length - n_rows keys were computed by steps before.
struct Rows {
  int n_rows;
  int kv_length;
};

// A batch: every sequence's queries, keys and values [kv_length, heads, head_dim] as bf16 bits. A
// step computes the last rows of each.
class PrefillSm90Test : public testing::Test {
 protected:
  void SetUp() override {
    AIOS_SKIP_WITHOUT_GPU();
    AttentionArgs args{.page_size = 64, .head_dim = 128};
    args.n_heads = args.n_kv_heads = 1;
    if (!PrefillSm90Supports(args)) GTEST_SKIP() << "no GPU of compute capability 9.0, or no build";
  }

  struct Sequence {
    std::vector<uint16_t> q, k, v;
  };

  static Sequence RandomSequence(const Heads& heads, int kv_length, uint64_t seed,
                                 float q_scale = 1) {
    const size_t row = static_cast<size_t>(heads.head_dim) * kv_length;
    return {ToBF16(RandomFloats(row * heads.n_heads, 3 * seed, q_scale)),
            ToBF16(RandomFloats(row * heads.n_kv_heads, 3 * seed + 1)),
            ToBF16(RandomFloats(row * heads.n_kv_heads, 3 * seed + 2))};
  }

  // The kernel's output for the step's rows, one sequence after the other.
  static std::vector<uint16_t> Run(const Heads& heads, const std::vector<Rows>& rows,
                                   const std::vector<Sequence>& sequences, bool workspace = true,
                                   int min_rows = 1, bool in_a_graph = false) {
    const size_t head_dim = heads.head_dim;
    std::vector<int32_t> offsets = {0};
    std::vector<int32_t> lengths;
    int max_pages = 1, max_rows = 0, max_length = 0, n_pages = 0;
    for (const Rows& r : rows) {
      offsets.push_back(offsets.back() + r.n_rows);
      lengths.push_back(r.kv_length);
      const int pages = (r.kv_length + heads.page_size - 1) / heads.page_size;
      n_pages += pages;
      max_pages = std::max(max_pages, pages);
      max_rows = std::max(max_rows, r.n_rows);
      max_length = std::max(max_length, r.kv_length);
    }
    // Pages in random order; entries that mean nothing point far outside.
    std::vector<int32_t> order(n_pages);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937(7));
    std::vector<int32_t> table(rows.size() * max_pages, 1 << 20);
    const size_t page_numbers = heads.n_kv_heads * heads.page_size * head_dim;
    std::vector<uint16_t> q, k(n_pages * page_numbers, 0xFFFF), v(n_pages * page_numbers, 0xFFFF);
    int next = 0;
    for (size_t s = 0; s < rows.size(); ++s) {
      const size_t q_row = heads.n_heads * head_dim;
      q.insert(q.end(), sequences[s].q.begin() + (rows[s].kv_length - rows[s].n_rows) * q_row,
               sequences[s].q.begin() + rows[s].kv_length * q_row);
      for (int p = 0; p < rows[s].kv_length; ++p) {
        int32_t& page = table[s * max_pages + p / heads.page_size];
        if (p % heads.page_size == 0) page = order[next++];
        for (int h = 0; h < heads.n_kv_heads; ++h) {
          const size_t to =
              page * page_numbers + (h * heads.page_size + p % heads.page_size) * head_dim;
          const size_t from = (static_cast<size_t>(p) * heads.n_kv_heads + h) * head_dim;
          std::copy_n(sequences[s].k.begin() + from, head_dim, k.begin() + to);
          std::copy_n(sequences[s].v.begin() + from, head_dim, v.begin() + to);
        }
      }
    }
    const TestBuffer<uint16_t> device_q(q), device_k(k), device_v(v);
    const TestBuffer<uint16_t> out(q.size());
    const TestBuffer<int32_t> device_table(table), device_offsets(offsets), device_lengths(lengths);
    const TestBuffer<int32_t> device_workspace(4);
    AttentionArgs args{.q = device_q.data(),
                       .k_pages = device_k.data(),
                       .v_pages = device_v.data(),
                       .out = out.data(),
                       .page_table = device_table.data(),
                       .page_table_stride = max_pages,
                       .seq_offsets = device_offsets.data(),
                       .kv_lengths = device_lengths.data(),
                       .n_seqs = static_cast<int>(rows.size()),
                       .n_tokens = offsets.back(),
                       .max_rows = max_rows,
                       .max_kv_length = max_length,
                       .page_size = heads.page_size,
                       .n_heads = heads.n_heads,
                       .n_kv_heads = heads.n_kv_heads,
                       .head_dim = heads.head_dim,
                       .scale = 1 / std::sqrt(static_cast<float>(heads.head_dim))};
    if (workspace) {
      args.workspace = device_workspace.data();
      args.workspace_bytes = 16;
    }
    EXPECT_TRUE(PrefillSm90Supports(args));
    if (in_a_graph) {
      cudaStream_t stream;
      cudaGraph_t graph;
      cudaGraphExec_t executable;
      AIOS_CUDA_CHECK(cudaStreamCreate(&stream));
      AIOS_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
      AttentionPrefillSm90(args, stream, min_rows);
      AIOS_CUDA_CHECK(cudaStreamEndCapture(stream, &graph));
      AIOS_CUDA_CHECK(cudaGraphInstantiate(&executable, graph, 0));
      for (int replay = 0; replay < 2; ++replay) {  // The second finds the counter used.
        AIOS_CUDA_CHECK(cudaMemsetAsync(out.data(), 0xFF, out.size() * 2, stream));
        AIOS_CUDA_CHECK(cudaGraphLaunch(executable, stream));
      }
      AIOS_CUDA_CHECK(cudaStreamSynchronize(stream));
      AIOS_CUDA_CHECK(cudaGraphExecDestroy(executable));
      AIOS_CUDA_CHECK(cudaGraphDestroy(graph));
      AIOS_CUDA_CHECK(cudaStreamDestroy(stream));
    } else {
      AttentionPrefillSm90(args, nullptr, min_rows);
    }
    AIOS_CUDA_CHECK(cudaDeviceSynchronize());
    return out.Download();
  }

  // The largest error of a row of one head, relative to the row, in the norm of its head_dim.
  static double Error(const Heads& heads, const Rows& rows, const Sequence& sequence,
                      const uint16_t* got) {
    const int head_dim = heads.head_dim;
    double largest = 0;
    std::vector<double> p(rows.kv_length), want(head_dim);
    for (int row = 0; row < rows.n_rows; ++row) {
      const int position = rows.kv_length - rows.n_rows + row;
      for (int h = 0; h < heads.n_heads; ++h) {
        const int kv_head = h / (heads.n_heads / heads.n_kv_heads);
        const uint16_t* q =
            &sequence.q[(static_cast<size_t>(position) * heads.n_heads + h) * head_dim];
        double max = -INFINITY, sum = 0;
        for (int key = 0; key <= position; ++key) {
          const uint16_t* k =
              &sequence.k[(static_cast<size_t>(key) * heads.n_kv_heads + kv_head) * head_dim];
          double dot = 0;
          for (int d = 0; d < head_dim; ++d) {
            dot += static_cast<double>(BF16ToFloat(q[d])) * BF16ToFloat(k[d]);
          }
          p[key] = dot / std::sqrt(static_cast<double>(head_dim));
          max = std::max(max, p[key]);
        }
        std::fill(want.begin(), want.end(), 0);
        for (int key = 0; key <= position; ++key) {
          const double weight = std::exp(p[key] - max);
          sum += weight;
          const uint16_t* v =
              &sequence.v[(static_cast<size_t>(key) * heads.n_kv_heads + kv_head) * head_dim];
          for (int d = 0; d < head_dim; ++d) want[d] += weight * BF16ToFloat(v[d]);
        }
        double error = 0, norm = 0;
        for (int d = 0; d < head_dim; ++d) {
          const double x = want[d] / sum;
          const double y = BF16ToFloat(got[(row * heads.n_heads + h) * head_dim + d]);
          if (std::isnan(y)) return INFINITY;
          error += (x - y) * (x - y);
          norm += x * x;
        }
        largest = std::max(largest, std::sqrt(error / norm));
      }
    }
    return largest;
  }

  static void Check(const Heads& heads, const std::vector<Rows>& rows, float q_scale = 1) {
    std::vector<Sequence> sequences;
    for (size_t s = 0; s < rows.size(); ++s) {
      sequences.push_back(RandomSequence(heads, rows[s].kv_length, s + 1, q_scale));
    }
    const std::vector<uint16_t> got = Run(heads, rows, sequences);
    size_t at = 0;
    for (size_t s = 0; s < rows.size(); ++s) {
      // bf16 probabilities and outputs: 2^-9 of each number, at most.
      EXPECT_LT(Error(heads, rows[s], sequences[s], got.data() + at), 6e-3)
          << "sequence " << s << ": " << rows[s].n_rows << " rows, " << rows[s].kv_length
          << " keys, " << heads.n_heads << "/" << heads.n_kv_heads << " heads of " << heads.head_dim
          << ", pages of " << heads.page_size;
      at += static_cast<size_t>(rows[s].n_rows) * heads.n_heads * heads.head_dim;
    }
  }
};

TEST_F(PrefillSm90Test, LengthsAroundTheTiles) {
  for (const int head_dim : {64, 128}) {
    for (const int n : {1, 3, 17, 63, 64, 65, 127, 128, 129, 255, 256, 257, 300, 513}) {
      Check({2, 2, head_dim, 64}, {{n, n}});
    }
  }
}

TEST_F(PrefillSm90Test, RaggedBatches) {
  for (const int head_dim : {64, 128}) {
    Check({3, 1, head_dim, 64}, {{5, 5}, {128, 300}, {1, 257}, {130, 130}, {64, 700}, {77, 78}});
  }
  // More sequences than a warp counts at a time, some without rows.
  std::vector<Rows> many;
  for (int s = 0; s < 75; ++s) many.push_back({s * 7 % 13, 20 + s * 31 % 150});
  Check({4, 2, 128, 16}, many);
}

// More tiles than multiprocessors: blocks take them by a counter, which each launch must reset.
TEST_F(PrefillSm90Test, ManyTilesABlock) {
  const Heads heads{16, 4, 64, 64};
  const std::vector<Rows> rows = {{1100, 1100}, {500, 700}};
  Check(heads, rows);
  const std::vector<Sequence> sequences = {RandomSequence(heads, 1100, 1),
                                           RandomSequence(heads, 700, 2)};
  EXPECT_EQ(Run(heads, rows, sequences, true, 1, /*in_a_graph=*/true),
            Run(heads, rows, sequences, /*workspace=*/false));
}

// The same with little work, for compute-sanitizer's racecheck: tiles of one key tile, where
// nothing but the hand-over of the tile lies between two of them, and of several.
TEST_F(PrefillSm90Test, ManySmallTilesABlock) {
  for (const int head_dim : {64, 128}) {
    Check({32, 4, head_dim, 64}, {{5, 5}, {3, 200}, {20, 140}, {1, 1}, {130, 130}, {9, 300}});
  }
}

TEST_F(PrefillSm90Test, PageSizes) {
  // Also one page a sequence, at the end of which a tile reaches past it.
  for (const int page_size : {16, 32, 64, 128, 256, 384, 333, 1000}) {
    for (const int head_dim : {64, 128}) {
      Check({4, 2, head_dim, page_size}, {{300, 300}, {100, 333}, {129, 129}});
    }
  }
  Check({4, 2, 128, 384}, {{300, 300}, {100, 1150}, {385, 800}});
}

TEST_F(PrefillSm90Test, GroupsOfHeads) {
  for (const Heads heads :
       {Heads{9, 3, 64, 64}, Heads{7, 7, 128, 64}, Heads{24, 1, 64, 64}, Heads{40, 8, 128, 64}}) {
    Check(heads, {{150, 150}, {20, 290}});
  }
}

// Scores of some hundreds: softmax is nearly one-hot, and must not overflow.
TEST_F(PrefillSm90Test, LargeScores) { Check({2, 2, 128, 64}, {{300, 300}}, 100); }

// However a prefill is cut and whatever else is in the batch, a row has the same bits.
TEST_F(PrefillSm90Test, CutsAndBatchesDoNotChangeBits) {
  for (const int head_dim : {64, 128}) {
    const Heads heads{4, 2, head_dim, 64};
    const int n = 700;
    const size_t row = static_cast<size_t>(heads.n_heads) * head_dim;
    const Sequence sequence = RandomSequence(heads, n, 11);
    const Sequence other = RandomSequence(heads, 333, 12);
    const std::vector<uint16_t> whole = Run(heads, {{n, n}}, {sequence});
    for (const std::vector<int>& cuts :
         {std::vector<int>{1, 700}, {128, 256, 700}, {77, 78, 300, 301, 429, 700}, {699, 700}}) {
      int begin = 0;
      for (const int end : cuts) {
        const std::vector<uint16_t> part =
            Run(heads, {{200, 333}, {end - begin, end}, {3, 3}}, {other, sequence, other});
        EXPECT_TRUE(std::equal(part.begin() + 200 * row, part.begin() + (200 + end - begin) * row,
                               whole.begin() + begin * row))
            << "rows " << begin << " to " << end << ", head_dim " << head_dim;
        begin = end;
      }
    }
    EXPECT_EQ(Run(heads, {{n, n}}, {sequence}, /*workspace=*/false), whole);
  }
}

TEST_F(PrefillSm90Test, LeavesSequencesWithFewRowsAlone) {
  const Heads heads{2, 2, 128, 64};
  const std::vector<Rows> rows = {{3, 100}, {64, 100}, {63, 63}};
  const std::vector<Sequence> sequences = {
      RandomSequence(heads, 100, 1), RandomSequence(heads, 100, 2), RandomSequence(heads, 63, 3)};
  const std::vector<uint16_t> got = Run(heads, rows, sequences, true, /*min_rows=*/64);
  const size_t row = 2 * 128;
  EXPECT_TRUE(
      std::all_of(got.begin(), got.begin() + 3 * row, [](uint16_t x) { return x == 0xFFFF; }));
  EXPECT_LT(Error(heads, rows[1], sequences[1], got.data() + 3 * row), 6e-3);
  EXPECT_TRUE(
      std::all_of(got.begin() + 67 * row, got.end(), [](uint16_t x) { return x == 0xFFFF; }));
}

TEST_F(PrefillSm90Test, RefusesWhatItCannot) {
  AttentionArgs args{.page_size = 64, .head_dim = 128};
  EXPECT_TRUE(PrefillSm90Supports(args));
  args.head_dim = 80;
  EXPECT_FALSE(PrefillSm90Supports(args));
  args = {.dtype = Format::kF32, .page_size = 64, .head_dim = 128};
  EXPECT_FALSE(PrefillSm90Supports(args));
  for (const int page_size : {1, 8, 17, 48, 200}) {  // A tile would meet parts of pages.
    args = {.max_kv_length = 1000, .page_size = page_size, .head_dim = 128};
    EXPECT_FALSE(PrefillSm90Supports(args)) << page_size;
  }
}

}  // namespace
}  // namespace aios::kernels::cuda
