// The forward pass over a KvCache: whichever pages a sequence has, of whatever size, found or
// computed, shared or its own, its logits are the same; on the CPU bit by bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "common/backend/backend.h"
#include "common/mm/kv_cache.h"
#include "common/mm/page_table.h"
#include "common/model/model.h"
#include "common/model/transformer.h"
#include "common/text/tokenizer.h"

namespace aios {
namespace {

using Tokens = std::vector<TokenId>;

constexpr int32_t kContext = 128;
constexpr int32_t kPageSizes[] = {1, 5, 16, 17, 64, kContext};

// Where and in which numbers to compute, and how far logits may be from one another.
struct Lane {
  std::string backend;
  std::string dtype;
  float tolerance;
};
void PrintTo(const Lane& lane, std::ostream* out) { *out << lane.backend << "_" << lane.dtype; }

// A transformer with a cache.
class Engine {
 public:
  Engine(const Lane& lane, const Model& model, int32_t page_size, int32_t n_pages)
      : backend_(MakeBackend(
            {.backend = lane.backend, .dtype = lane.dtype, .n_threads = 2, .deterministic = true})),
        limits_{.n_tokens = kContext,
                .n_seqs = 2,
                .n_logit_rows = kContext,
                .max_pages = (kContext - 1) / page_size + 1},
        transformer_(*backend_, model.config(), model.weights(), limits_, page_size),
        cache_(*backend_, model.config(),
               {.page_size = page_size, .n_pages = n_pages, .poison_freed = true}) {}

  // Computes the tokens of `sequence` that the table has not, up to `end`. Their logits.
  std::vector<float> Run(PageTable& table, const Tokens& sequence, size_t end) {
    const auto begin = static_cast<size_t>(table.n_tokens());
    const auto n = static_cast<int32_t>(end - begin);
    const bool has_room = cache_.Reserve(table, n);
    EXPECT_TRUE(has_room);
    if (!has_room) return {};
    Batch batch = {.tokens = {sequence.begin() + static_cast<int64_t>(begin),
                              sequence.begin() + static_cast<int64_t>(end)},
                   .positions = Tokens(n),
                   .seq_offsets = {0, n},
                   .kv_lengths = {static_cast<int32_t>(end)},
                   .page_table = {table.pages().begin(), table.pages().end()},
                   .max_pages = static_cast<int32_t>(table.pages().size()),
                   .logit_rows = Tokens(n)};
    std::iota(batch.positions.begin(), batch.positions.end(), static_cast<int32_t>(begin));
    std::iota(batch.logit_rows.begin(), batch.logit_rows.end(), 0);
    const MutableTensor logits = transformer_.Forward(batch, cache_.layers());
    std::vector<float> host(logits.n_elements());
    backend_->Download(logits, host.data());
    cache_.Commit(table, batch.tokens);
    return host;
  }
  std::vector<float> Run(PageTable& table, const Tokens& sequence) {
    return Run(table, sequence, sequence.size());
  }
  // Opens a sequence, finds `n_found` of it, computes the rest and closes it.
  std::vector<float> Serve(const Tokens& sequence, int32_t n_found) {
    PageTable table = cache_.Open(sequence);
    EXPECT_EQ(table.n_tokens(), n_found);
    std::vector<float> logits = Run(table, sequence);
    cache_.Close(table);
    cache_.CheckIntegrity({});
    return logits;
  }

  KvCache& cache() { return cache_; }

 private:
  std::unique_ptr<Backend> backend_;
  BatchLimits limits_;
  Transformer transformer_;
  KvCache cache_;
};

class KvCacheForwardTest : public testing::TestWithParam<std::tuple<std::string, Lane>> {
 protected:
  void SetUp() override {
    if (lane().backend == "cuda" && !WhyNoCuda(0).empty()) GTEST_SKIP() << WhyNoCuda(0);
    model_ = std::make_unique<Model>(Model::Load("tests/golden/tiny/" + std::get<0>(GetParam())));
    sequence_ = RandomTokens(120, 1);
    // What all others are held against: no cache was there before it.
    want_ = Engine(lane(), *model_, 16, 8).Serve(sequence_, 0);
  }
  const Lane& lane() const { return std::get<Lane>(GetParam()); }

  Tokens RandomTokens(size_t n, uint32_t seed) const {
    std::mt19937 random(seed);
    Tokens tokens(n);
    for (TokenId& token : tokens) {
      token = static_cast<TokenId>(random() % static_cast<uint32_t>(model_->config().vocab_size));
    }
    return tokens;
  }
  // Tokens [0, n) of the sequence, then others.
  Tokens Branch(size_t n, size_t length, uint32_t seed) const {
    Tokens tokens(sequence_.begin(), sequence_.begin() + static_cast<int64_t>(n));
    const Tokens rest = RandomTokens(length - n, seed);
    tokens.insert(tokens.end(), rest.begin(), rest.end());
    return tokens;
  }

  // Whether `logits` are the last rows of `want`.
  void ExpectLastRows(const std::vector<float>& logits, const std::vector<float>& want) const {
    ASSERT_FALSE(logits.empty());
    ASSERT_LE(logits.size(), want.size());
    const float* last = want.data() + (want.size() - logits.size());
    for (size_t i = 0; i < logits.size(); ++i) {
      if (lane().tolerance == 0) {
        ASSERT_EQ(logits[i], last[i]) << i;
      } else {
        ASSERT_NEAR(logits[i], last[i], lane().tolerance) << i;
      }
    }
  }

  std::unique_ptr<Model> model_;
  Tokens sequence_;
  std::vector<float> want_;  // the logits of sequence_
};

TEST_P(KvCacheForwardTest, PagesOfAnySizeAndChunksOfAnySize) {
  for (const int32_t page_size : kPageSizes) {
    SCOPED_TRACE(page_size);
    Engine engine(lane(), *model_, page_size, 2 * ((kContext - 1) / page_size + 1));
    PageTable in_the_way = engine.cache().Open(Tokens{0});  // so that the pages are not in order
    PageTable table = engine.cache().Open(sequence_);
    const size_t row_size = want_.size() / sequence_.size();
    size_t end = 0;
    for (const size_t chunk : {1, 37, 3, 17, 1, 1, 60}) {
      ASSERT_TRUE(engine.cache().Reserve(in_the_way, static_cast<int64_t>(end) + 1));
      end += chunk;
      ExpectLastRows(engine.Run(table, sequence_, end),
                     {want_.begin(), want_.begin() + static_cast<int64_t>(end * row_size)});
    }
    ASSERT_EQ(end, sequence_.size());
  }
}

TEST_P(KvCacheForwardTest, FoundPrefixes) {
  for (const int32_t page_size : kPageSizes) {
    SCOPED_TRACE(page_size);
    const auto whole_pages = [&](int32_t n) { return n / page_size * page_size; };
    Engine engine(lane(), *model_, page_size, 4 * ((kContext - 1) / page_size + 1));
    ExpectLastRows(engine.Serve(sequence_, 0), want_);
    ExpectLastRows(engine.Serve(sequence_, whole_pages(119)), want_);
    const Tokens branch = Branch(70, 100, 2);
    const std::vector<float> want = Engine(lane(), *model_, 16, 8).Serve(branch, 0);
    ExpectLastRows(engine.Serve(branch, whole_pages(70)), want);
    ExpectLastRows(engine.Serve(branch, whole_pages(99)), want);
    ExpectLastRows(engine.Serve(sequence_, whole_pages(119)), want_);
  }
}

TEST_P(KvCacheForwardTest, Forks) {
  for (const int32_t page_size : kPageSizes) {
    SCOPED_TRACE(page_size);
    Engine engine(lane(), *model_, page_size, 3 * ((kContext - 1) / page_size + 1));
    PageTable parent = engine.cache().Open(sequence_);
    engine.Run(parent, sequence_, 70);
    PageTable child = engine.cache().Fork(parent);
    PageTable other = engine.cache().Fork(parent);
    const Tokens branch = Branch(70, 100, 3);
    const std::vector<float> want = Engine(lane(), *model_, 16, 8).Serve(branch, 0);
    ExpectLastRows(engine.Run(child, branch), want);
    ExpectLastRows(engine.Run(parent, sequence_), want_);
    engine.cache().Close(parent);
    ExpectLastRows(engine.Run(other, sequence_), want_);
    engine.cache().CheckIntegrity({{&child, &other}});
  }
}

// A cache of one sequence's size: each evicts what the one before it left.
TEST_P(KvCacheForwardTest, Evictions) {
  Engine engine(lane(), *model_, 17, 8);
  for (uint32_t seed = 5; seed < 8; ++seed) {
    ExpectLastRows(engine.Serve(sequence_, 0), want_);
    const Tokens other = RandomTokens(120, seed);
    ExpectLastRows(engine.Serve(other, 0), Engine(lane(), *model_, 16, 8).Serve(other, 0));
  }
  EXPECT_GE(engine.cache().stats().n_evicted, 5 * 7);
}

std::string NameOf(const testing::TestParamInfo<std::tuple<std::string, Lane>>& info) {
  const auto& [checkpoint, lane] = info.param;
  return checkpoint + "_" + lane.backend + "_" + lane.dtype;
}
const std::string kCheckpoints[] = {"llama_tied", "qwen3"};
const Lane kLanes[] = {{"cpu", "f32", 0}, {"cuda", "f32", 2e-3F}, {"cuda", "bf16", 0.3F}};
INSTANTIATE_TEST_SUITE_P(AllLanes, KvCacheForwardTest,
                         testing::Combine(testing::ValuesIn(kCheckpoints),
                                          testing::ValuesIn(kLanes)),
                         NameOf);

}  // namespace
}  // namespace aios
