// Tens of thousands of damaged files, always the same ones: each is read or is an InputError,
// within bounds, with little memory, in little time. gguf_fuzz.cc and safetensors_fuzz.cc look
// further than this does.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>
#include <string>

#include "common/loader/gguf.h"
#include "common/loader/safetensors.h"
#include "tests/common/loader/allocation_meter.h"
#include "tests/common/loader/loader_testing.h"

namespace aios {
namespace {

constexpr int kMutations = 20'000;

// Touches every byte of every tensor.
void ReadAll(std::span<const NamedTensor> tensors) {
  unsigned sum = 0;
  for (const NamedTensor& t : tensors) {
    const auto* bytes = static_cast<const uint8_t*>(t.tensor.data());
    for (int64_t i = 0; i < t.tensor.n_bytes(); ++i) sum += bytes[i];
  }
  [[maybe_unused]] static volatile unsigned sink = 0;  // or the compiler would drop the loop
  sink = sum;
}

// `i`: whose turn it is among the keys. Most getters throw for most keys, and exceptions are slow
// under the sanitizers.
void ReadGguf(std::span<const std::byte> bytes, int i) {
  const GgufFile file = GgufFile::Parse(bytes, "damaged");
  ReadAll(file.tensors());
  if (file.keys().empty()) return;
  const std::string_view key = file.keys()[i % file.keys().size()];
  (void)ErrorOf([&] { (void)file.Int(key); });
  (void)ErrorOf([&] { (void)file.Float(key); });
  (void)ErrorOf([&] { (void)file.Bool(key); });
  (void)ErrorOf([&] { (void)file.String(key); });
  (void)ErrorOf([&] { (void)file.Strings(key); });
  (void)ErrorOf([&] { (void)file.Ints(key); });
  (void)ErrorOf([&] { (void)file.Floats(key); });
}

void ReadSafetensors(std::span<const std::byte> bytes, int) {
  ReadAll(SafetensorsFile::Parse(bytes, "damaged").tensors());
}

// One to four times: a bit flipped, a byte or a 64-bit number replaced by one that is often
// trouble, some bytes removed or repeated.
std::string Mutate(std::string bytes, std::mt19937_64& random) {
  constexpr uint64_t kTrouble[] = {0,
                                   1,
                                   0x7F,
                                   0x80,
                                   0xFF,
                                   0x7FFFFFFF,
                                   0xFFFFFFFF,
                                   uint64_t{1} << 32,
                                   uint64_t{1} << 62,
                                   INT64_MAX,
                                   uint64_t{1} << 63,
                                   UINT64_MAX};
  const auto trouble = [&] { return kTrouble[random() % std::size(kTrouble)]; };
  for (uint64_t n = 1 + random() % 4; n > 0 && !bytes.empty(); --n) {
    const size_t at = random() % bytes.size();
    const size_t length = std::min<size_t>(1 + random() % 16, bytes.size() - at);
    switch (random() % 5) {
      case 0:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
        break;
      case 1:
        bytes[at] = static_cast<char>(trouble());
        break;
      case 2:
        bytes.replace(at, std::min<size_t>(8, bytes.size() - at), Raw(trouble()));
        break;
      case 3:
        bytes.erase(at, length);
        break;
      case 4:
        bytes.insert(at, bytes.substr(at, length));
        break;
    }
  }
  return bytes;
}

template <typename Read>
void SurvivesMutations(const std::string& path, const Read& read) {
  const std::string valid = ReadFile(path);
  std::mt19937_64 random(1);
  int n_valid = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < kMutations; ++i) {
    const GuardedBytes damaged(Mutate(valid, random));
    const AllocationMeter meter;
    const std::string error = ErrorOf([&] { read(damaged.span(), i); });
    n_valid += error == "no error";
    // A few times what it takes to read the undamaged file.
    ASSERT_LT(meter.Peak(), 40 * valid.size()) << i << ": " << error;
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  EXPECT_LT(seconds.count() / kMutations, 0.002);
  // Both happen, or the mutations are too weak or too strong to find anything.
  EXPECT_GT(n_valid, kMutations / 100);
  EXPECT_LT(n_valid, kMutations * 9 / 10);
}

TEST(MutationTest, Gguf) { SurvivesMutations("tests/golden/gguf/all_types.v3.gguf", ReadGguf); }

TEST(MutationTest, Safetensors) {
  SurvivesMutations("tests/golden/safetensors/small.safetensors", ReadSafetensors);
}

// The most that a byte of a hostile file can cost: a file of nothing but the smallest parts.
TEST(MutationTest, MemoryIsInProportionToTheFile) {
  GgufParts parts;
  for (int i = 0; i < 20'000; ++i) {
    parts.metadata.push_back(GgufPair(fmt::format("{}", i), 0, "x"));
    parts.infos.push_back(GgufTensorInfo(fmt::format("{}", i), {1}, 0, 32 * i));
  }
  parts.data = std::string(32 * parts.infos.size(), '\0');
  const std::string bytes = parts.Bytes();
  const size_t n_header = bytes.size() - parts.data.size();
  const AllocationMeter meter;
  ReadGguf(std::as_bytes(std::span(bytes)), 0);
  EXPECT_LT(meter.Peak(), 10 * n_header);
}

}  // namespace
}  // namespace aios
