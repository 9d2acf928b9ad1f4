#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

#include "kernels/cuda/embed.h"
#include "tests/kernels/cuda/gpu_testing.h"

namespace aios::kernels::cuda {
namespace {

class EmbedTest : public ::testing::Test {
 protected:
  void SetUp() override { AIOS_SKIP_WITHOUT_GPU(); }
};

// Tokens in no order, the first and the last of the table among them.
std::vector<int32_t> Tokens(int n_tokens, int vocab_size) {
  std::vector<int32_t> tokens;
  for (int t = 0; t < n_tokens; ++t) tokens.push_back((vocab_size - 1) * (t + 1) % vocab_size);
  if (n_tokens > 1) tokens[1] = 0;
  return tokens;
}

// shift: numbers by which table and output are off their alignment.
template <typename T>
void Check(Format dtype, int n_tokens, int64_t d_model, int shift, bool overlap) {
  constexpr int kVocab = 37;
  const auto values = RandomFloats(kVocab * d_model, d_model + n_tokens);
  std::vector<T> table;
  std::vector<float> want_of_table;
  for (const float x : values) {
    if constexpr (sizeof(T) == 2) {
      table.push_back(FloatToBF16(x));
      want_of_table.push_back(BF16ToFloat(table.back()));
    } else {
      table.push_back(x);
      want_of_table.push_back(x);
    }
  }
  table.insert(table.begin(), shift, T{});
  const TestBuffer<T> device_table(table);
  const auto tokens = Tokens(n_tokens, kVocab);
  const TestBuffer<int32_t> device_tokens(tokens);
  const TestBuffer<float> out(n_tokens * d_model + shift);
  Embed({.table_dtype = dtype,
         .table = device_table.data() + shift,
         .tokens = device_tokens.data(),
         .n_tokens = n_tokens,
         .d_model = d_model,
         .out = out.data() + shift,
         .overlap_previous = overlap},
        nullptr);
  const auto got = out.Download();
  for (int t = 0; t < n_tokens; ++t) {
    for (int64_t i = 0; i < d_model; ++i) {
      ASSERT_EQ(got[shift + t * d_model + i], want_of_table[tokens[t] * d_model + i])
          << n_tokens << " x " << d_model << " token " << t << " at " << i;
    }
  }
}

TEST_F(EmbedTest, CopiesRowsExactly) {
  for (const int n_tokens : {1, 3, 17, 300}) {
    for (const int64_t d_model : {1, 4, 7, 8, 64, 576, 4096}) {
      for (const int shift : {0, 1}) {
        Check<float>(Format::kF32, n_tokens, d_model, shift, false);
        Check<uint16_t>(Format::kBF16, n_tokens, d_model, shift, true);
      }
    }
  }
}

// Ids below 0 are rows of the last Sample; where it found no token, that is token 0.
TEST_F(EmbedTest, TokensThatWereSampled) {
  constexpr int64_t kModel = 72;
  const auto values = RandomFloats(50 * kModel, 3);
  const TestBuffer<float> table(values);
  const TestBuffer<int32_t> tokens(std::vector<int32_t>{-3, 7, -1, -2, 49, -4});
  const TestBuffer<int32_t> sampled(std::vector<int32_t>{41, -1, 0, 13});
  const int32_t want[] = {0, 7, 41, 0, 49, 13};
  const TestBuffer<float> out(6 * kModel);
  Embed({.table_dtype = Format::kF32,
         .table = table.data(),
         .tokens = tokens.data(),
         .sampled = sampled.data(),
         .n_tokens = 6,
         .d_model = kModel,
         .out = out.data()},
        nullptr);
  const auto got = out.Download();
  for (int t = 0; t < 6; ++t) {
    for (int i = 0; i < kModel; ++i) {
      ASSERT_EQ(got[t * kModel + i], values[want[t] * kModel + i]) << t << " at " << i;
    }
  }
}

TEST_F(EmbedTest, RefusesOtherTables) {
  EXPECT_THROW(Embed({.table_dtype = Format::kQ8_0, .n_tokens = 1, .d_model = 32}, nullptr),
               std::invalid_argument);
}

}  // namespace
}  // namespace aios::kernels::cuda
