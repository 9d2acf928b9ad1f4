// Steps of all sizes: a backend that pads them, records them, or computes the sequences that decode
// in another way than those that prefill, must not change a bit of what a sequence has alone, nor
// write a page that is not its own.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <ostream>
#include <random>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "common/backend/backend.h"
#include "common/mm/kv_storage.h"
#include "common/model/model.h"
#include "common/model/transformer.h"
#include "common/sample/sampler.h"

namespace aios {
namespace {

struct Lane {
  std::string backend;
  std::string dtype;
};
void PrintTo(const Lane& lane, std::ostream* out) { *out << lane.backend << "_" << lane.dtype; }

constexpr int32_t kSeqs = 40;
constexpr int32_t kPagesOfSeq = 5;
constexpr int64_t kPageSize = 16;

// A sequence's rows of a step.
struct Piece {
  int32_t sequence;
  size_t begin;
  size_t end;
};

class StepSizesTest : public testing::TestWithParam<std::tuple<std::string, Lane>> {
 protected:
  void SetUp() override {
    const auto& [checkpoint, lane] = GetParam();
    if (lane.backend == "cuda" && !WhyNoCuda(0).empty()) GTEST_SKIP() << WhyNoCuda(0);
    backend_ = MakeBackend(
        {.backend = lane.backend, .dtype = lane.dtype, .n_threads = 2, .deterministic = true});
    model_ = std::make_unique<Model>(Model::Load("tests/golden/tiny/" + checkpoint));
    transformer_ = std::make_unique<Transformer>(
        *backend_, model_->config(), model_->weights(),
        BatchLimits{
            .n_tokens = 128, .n_seqs = kSeqs, .n_logit_rows = kSeqs, .max_pages = kPagesOfSeq},
        kPageSize);
    kv_ = std::make_unique<KvStorage>(*backend_, model_->config(), kSeqs * kPagesOfSeq, kPageSize);
    for (int32_t s = 0; s < kSeqs; ++s) {
      std::mt19937 random(s);
      sequences_.emplace_back(1 + s * 7 % 61);
      for (int32_t& token : sequences_.back()) {
        token = static_cast<int32_t>(random() % model_->config().vocab_size);
      }
    }
    // Alone: all but the last token, then the last, of which these are the logits.
    for (int32_t s = 0; s < kSeqs; ++s) {
      const size_t n = sequences_[s].size();
      if (n > 1) Step({{s, 0, n - 1}});
      alone_.push_back(Step({{s, n - 1, n}}).front());
    }
  }

  // The logits of the pieces' last rows.
  std::vector<std::vector<float>> Step(const std::vector<Piece>& pieces, bool sample = false) {
    const Batch batch = BatchOf(pieces, sample);
    const MutableTensor logits = transformer_->Forward(batch, kv_->layers());
    EXPECT_EQ(logits.n_rows(), std::ssize(pieces));
    std::vector<float> all(logits.n_elements());
    backend_->Download(logits, all.data());
    std::vector<std::vector<float>> rows;
    for (auto at = all.begin(); at != all.end(); at += logits.row_size()) {
      rows.emplace_back(at, at + logits.row_size());
    }
    return rows;
  }

  Batch BatchOf(const std::vector<Piece>& pieces, bool sample) const {
    Batch batch = {.max_pages = kPagesOfSeq};
    for (const Piece& piece : pieces) {
      for (size_t i = piece.begin; i < piece.end; ++i) {
        batch.tokens.push_back(sequences_[piece.sequence][i]);
        batch.positions.push_back(static_cast<int32_t>(i));
      }
      batch.logit_rows.push_back(batch.n_tokens() - 1);
      batch.seq_offsets.push_back(batch.n_tokens());
      batch.kv_lengths.push_back(static_cast<int32_t>(piece.end));
      for (int32_t i = 0; i < kPagesOfSeq; ++i) {
        const bool used = i < PagesFor(static_cast<int64_t>(piece.end), kPageSize);
        batch.page_table.push_back(used ? i * kSeqs + piece.sequence : -1);
      }
      if (sample) {
        batch.sampling.push_back({.params = {.temperature = 0.8F, .seed = 7}, .step = 3});
      }
    }
    return batch;
  }

  // All pages of all layers.
  std::vector<std::byte> Pages() {
    std::vector<std::byte> bytes;
    for (const KvPages& layer : kv_->layers()) {
      for (const Tensor& pages : {layer.k, layer.v}) {
        std::vector<std::byte> some(pages.n_bytes());
        backend_->Download(pages, some.data());
        bytes.insert(bytes.end(), some.begin(), some.end());
      }
    }
    return bytes;
  }

  static bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  }

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Transformer> transformer_;
  std::unique_ptr<KvStorage> kv_;
  std::vector<std::vector<int32_t>> sequences_;
  std::vector<std::vector<float>> alone_;  // the logits of each one's last row
};

// Thrice: computed, recorded, replayed. The sequences that decode compute again what they had.
TEST_P(StepSizesTest, DecodesOfAllSizesHaveTheBitsOfEachAlone) {
  const std::vector<std::byte> pages = Pages();
  for (const int32_t n : {1, 2, 5, 8, 9, 12, 16, 17, 31, 33, kSeqs}) {
    for (int32_t repeat = 0; repeat < 3; ++repeat) {
      std::vector<Piece> pieces;
      pieces.reserve(n);
      for (int32_t i = 0; i < n; ++i) {
        const int32_t s = (n + repeat * 11 + i) % kSeqs;
        pieces.push_back({s, sequences_[s].size() - 1, sequences_[s].size()});
      }
      const std::vector<std::vector<float>> got = Step(pieces, /*sample=*/true);
      std::vector<Sampled> sampled(n);
      backend_->TakeSampled(sampled);
      for (int32_t i = 0; i < n; ++i) {
        const std::vector<float>& want = alone_[pieces[i].sequence];
        ASSERT_TRUE(SameBits(got[i], want)) << "sequence " << i << " of " << n;
        EXPECT_EQ(sampled[i].token, Sample(want, {.temperature = 0.8F, .seed = 7}, 3)) << i;
      }
    }
  }
  EXPECT_TRUE(Pages() == pages);
}

// Sequences that decode come first, then chunks of prompts.
TEST_P(StepSizesTest, DecodesBesideChunksHaveTheBitsOfEachAlone) {
  const std::vector<std::byte> pages = Pages();
  for (const int32_t n_decoding : {0, 1, 3, 9}) {
    std::vector<Piece> pieces;
    for (int32_t s = 0; s < n_decoding; ++s) {
      pieces.push_back({s, sequences_[s].size() - 1, sequences_[s].size()});
    }
    for (const int32_t s : {20, 25, 31, 34}) {  // the last 1, 2, 20 or all tokens
      const size_t n = sequences_[s].size();
      const size_t n_rows = s == 20 ? 20 : s == 25 ? 1 : s == 31 ? 2 : n;
      pieces.push_back({s, n - std::min(n, n_rows), n});
    }
    const std::vector<std::vector<float>> got = Step(pieces);
    for (size_t i = 0; i < pieces.size(); ++i) {
      EXPECT_TRUE(SameBits(got[i], alone_[pieces[i].sequence])) << i << " beside " << n_decoding;
    }
  }
  EXPECT_TRUE(Pages() == pages);
}

// A step that goes on from choices which the host does not know yet, of rows that change places.
TEST_P(StepSizesTest, ChoicesOfAPaddedStepArePassedOn) {
  constexpr int32_t kDecoding = 11;
  std::vector<Piece> pieces;
  pieces.reserve(kDecoding);
  for (int32_t s = 0; s < kDecoding; ++s) {
    pieces.push_back({s, sequences_[s].size() - 1, sequences_[s].size()});
  }
  Step(pieces, /*sample=*/true);
  // The next token of sequence s, now at row kDecoding - 1 - s.
  std::ranges::reverse(pieces);
  for (Piece& piece : pieces) {
    sequences_[piece.sequence].push_back(0);
    ++piece.begin, ++piece.end;
  }
  Batch batch = BatchOf(pieces, /*sample=*/true);
  for (int32_t i = 0; i < kDecoding; ++i) batch.tokens[i] = -1 - (kDecoding - 1 - i);
  const MutableTensor logits = transformer_->Forward(batch, kv_->layers());
  std::vector<float> unknown(logits.n_elements());
  backend_->Download(logits, unknown.data());
  std::vector<Sampled> first(kDecoding), second(kDecoding);
  backend_->TakeSampled(first);
  backend_->TakeSampled(second);

  for (int32_t i = 0; i < kDecoding; ++i) {
    sequences_[pieces[i].sequence].back() = first[kDecoding - 1 - i].token;
  }
  const std::vector<std::vector<float>> known = Step(pieces);
  for (int32_t i = 0; i < kDecoding; ++i) {
    const auto begin = unknown.begin() + i * logits.row_size();
    EXPECT_TRUE(SameBits(known[i], {begin, begin + logits.row_size()})) << i;
  }
}

std::string NameOf(const testing::TestParamInfo<std::tuple<std::string, Lane>>& info) {
  const auto& [checkpoint, lane] = info.param;
  return checkpoint + "_" + lane.backend + "_" + lane.dtype;
}
const Lane kLanes[] = {{"cpu", "f32"}, {"cuda", "f32"}, {"cuda", "bf16"}};
INSTANTIATE_TEST_SUITE_P(AllLanes, StepSizesTest,
                         testing::Combine(testing::Values("llama_tied", "qwen2", "qwen3"),
                                          testing::ValuesIn(kLanes)),
                         NameOf);

}  // namespace
}  // namespace aios
