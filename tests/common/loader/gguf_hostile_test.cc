// GGUF files that lie: each is one sentence that names what is wrong, in little time and memory.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "common/loader/gguf.h"
#include "tests/common/loader/loader_testing.h"

namespace aios {
namespace {

constexpr uint32_t kU32 = 4;
constexpr uint32_t kBool = 7;
constexpr uint32_t kString = 8;
constexpr uint32_t kArray = 9;
constexpr uint32_t kU64 = 10;
constexpr uint32_t kF32Tensor = 0;
constexpr uint32_t kQ4_0Tensor = 2;
constexpr uint64_t kHuge = uint64_t{1} << 63;

void Parse(std::string_view bytes) {
  const GuardedBytes guarded(bytes);
  (void)GgufFile::Parse(guarded.span(), "m.gguf");
}

std::string ErrorOfParts(const GgufParts& parts) {
  return ErrorOf([&] { Parse(parts.Bytes()); });
}

// Array of `n` elements of a type, and the bytes that follow.
std::string Array(uint32_t element_type, uint64_t n, const std::string& elements) {
  return Raw(element_type) + Raw(n) + elements;
}

// A valid file with one tensor of 8 f32 numbers.
GgufParts OneTensor() {
  GgufParts parts;
  parts.infos = {GgufTensorInfo("a", {8}, kF32Tensor, 0)};
  parts.data = std::string(32, '\0');
  return parts;
}

GgufParts WithMetadata(const std::string& pair) {
  GgufParts parts;
  parts.metadata = {pair};
  return parts;
}

TEST(GgufHostileTest, TheUnchangedFileIsValid) { EXPECT_EQ(ErrorOfParts(OneTensor()), "no error"); }

TEST(GgufHostileTest, EveryTruncation) {
  for (const int version : {2, 3}) {
    const std::string bytes =
        ReadFile(fmt::format("tests/golden/gguf/all_types.v{}.gguf", version));
    const GgufFile whole = GgufFile::Parse(std::as_bytes(std::span(bytes)), "whole");
    const Tensor& last = whole.tensors().back().tensor;
    const size_t end = static_cast<const char*>(last.data()) + last.n_bytes() - bytes.data();
    ASSERT_GT(end, bytes.size() - 32);  // only padding follows
    for (size_t n = 0; n < bytes.size(); ++n) {
      const std::string error = ErrorOf([&] { Parse(std::string_view(bytes).substr(0, n)); });
      if (n >= end) {
        EXPECT_EQ(error, "no error") << n;
        continue;
      }
      const bool cut_off = error.find("is cut off") != std::string::npos ||
                           error.find("do not fit in its") != std::string::npos ||
                           error.find("of the tensor data, which has") != std::string::npos;
      EXPECT_TRUE(cut_off) << n << ": " << error;
    }
  }
}

TEST(GgufHostileTest, MagicAndVersion) {
  GgufParts parts;
  parts.magic = "GGML";
  EXPECT_EQ(ErrorOfParts(parts), "m.gguf: not a GGUF file: it does not begin with 'GGUF'");
  parts.magic = "GGUF";
  for (const uint32_t version : {0u, 1u, 4u}) {
    parts.version = version;
    EXPECT_EQ(ErrorOf<UnsupportedError>([&] { Parse(parts.Bytes()); }),
              fmt::format("m.gguf: GGUF version {}; AIOS reads versions 2 and 3", version));
  }
  parts.version = 0x03000000;
  EXPECT_EQ(ErrorOf<UnsupportedError>([&] { Parse(parts.Bytes()); }),
            "m.gguf: a big-endian GGUF file; AIOS reads little-endian ones");
}

TEST(GgufHostileTest, Counts) {
  GgufParts parts;
  parts.extra_tensors = kHuge;
  EXPECT_EQ(ErrorOfParts(parts),
            "m.gguf: 0 metadata values and 9223372036854775808 tensors do not fit in its 32 bytes");
  parts.extra_tensors = 0;
  parts.extra_metadata = kHuge;
  EXPECT_EQ(ErrorOfParts(parts),
            "m.gguf: 9223372036854775808 metadata values and 0 tensors do not fit in its 32 bytes");
  // As many as might fit, but do not.
  parts = OneTensor();
  parts.extra_tensors = 1;
  EXPECT_EQ(ErrorOfParts(parts), "m.gguf: a tensor's name has 0 bytes; 1 to 65535 are allowed");
}

TEST(GgufHostileTest, Keys) {
  const std::string one = Raw(uint32_t{1});
  EXPECT_EQ(ErrorOfParts(WithMetadata(GgufPair("", kU32, one))),
            "m.gguf: a metadata key of 0 bytes; 1 to 65535 are allowed");
  EXPECT_EQ(ErrorOfParts(WithMetadata(GgufPair(std::string(65535, 'k'), kU32, one))), "no error");
  EXPECT_EQ(ErrorOfParts(WithMetadata(GgufPair(std::string(65536, 'k'), kU32, one))),
            "m.gguf: a metadata key of 65536 bytes; 1 to 65535 are allowed");
  EXPECT_EQ(
      ErrorOfParts(WithMetadata(GgufPair("k\xFF", kU32, one))),
      "m.gguf: the metadata key 'k\\xff' is not valid UTF-8: byte 1 (0xff) cannot stand there");
  GgufParts twice;
  twice.metadata = {GgufPair("k", kU32, one), GgufPair("l", kU32, one), GgufPair("k", kU32, one)};
  EXPECT_EQ(ErrorOfParts(twice), "m.gguf: metadata 'k' stands twice");
}

TEST(GgufHostileTest, LengthsOfStringsAndArrays) {
  const auto cut_off = [](std::string_view amount, int at, int size) {
    return fmt::format(
        "m.gguf: metadata 'k' is cut off: it needs {} bytes at byte {}, and the file ends at byte "
        "{}",
        amount, at, size);
  };
  EXPECT_EQ(ErrorOfParts(WithMetadata(GgufPair("k", kString, Raw(kHuge) + "abc"))),
            cut_off("9223372036854775808", 45, 64));
  EXPECT_EQ(ErrorOfParts(WithMetadata(GgufPair("k", kString, Raw(UINT64_MAX)))),
            cut_off("18446744073709551615", 45, 64));
  EXPECT_EQ(ErrorOfParts(WithMetadata(GgufPair("k", kArray, Array(kU32, kHuge, "")))),
            cut_off("9223372036854775808 x 4", 49, 64));
  // 2^61 * 8 wraps to 0, 2^62 * 4 too.
  EXPECT_EQ(ErrorOfParts(WithMetadata(GgufPair("k", kArray, Array(kU64, kHuge / 4, "")))),
            cut_off("2305843009213693952 x 8", 49, 64));
  EXPECT_EQ(ErrorOfParts(WithMetadata(GgufPair("k", kArray, Array(kU32, kHuge / 2, "")))),
            cut_off("4611686018427387904 x 4", 49, 64));
  // The padding holds one empty string; the second does not fit.
  EXPECT_EQ(ErrorOfParts(WithMetadata(GgufPair("k", kArray, Array(kString, kHuge, "")))),
            cut_off("8", 57, 64));
  EXPECT_EQ(ErrorOfParts(WithMetadata(GgufPair("k", kString, Raw(uint64_t{1000})))),
            cut_off("1000", 45, 64));
}

TEST(GgufHostileTest, Types) {
  EXPECT_EQ(ErrorOfParts(WithMetadata(GgufPair("k", 13, ""))),
            "m.gguf: metadata 'k' has the unknown type 13");
  EXPECT_EQ(ErrorOfParts(WithMetadata(GgufPair("k", kArray, Array(77, 0, "")))),
            "m.gguf: metadata 'k' has the unknown type 77");
  EXPECT_EQ(ErrorOfParts(WithMetadata(GgufPair("k", kArray, Array(77, kHuge, "")))),
            "m.gguf: metadata 'k' has the unknown type 77");
  const std::string not_a_bool = "m.gguf: metadata 'k' holds a Boolean that is neither 0 nor 1";
  EXPECT_EQ(ErrorOfParts(WithMetadata(GgufPair("k", kBool, "\x02"))), not_a_bool);
  EXPECT_EQ(ErrorOfParts(WithMetadata(GgufPair("k", kArray, Array(kBool, 2, "\x01\x02")))),
            not_a_bool);
}

TEST(GgufHostileTest, NestedArrays) {
  std::string value = Array(kU32, 0, "");
  for (int depth = 2; depth <= 4; ++depth) {
    value = Array(kArray, 1, value);
    EXPECT_EQ(ErrorOfParts(WithMetadata(GgufPair("k", kArray, value))), "no error") << depth;
  }
  // 100,000 levels would overflow the stack of a reader that follows them.
  std::string deep;
  for (int depth = 0; depth < 100'000; ++depth) deep += Raw(kArray) + Raw(uint64_t{1});
  value = deep + value;
  EXPECT_EQ(ErrorOfParts(WithMetadata(GgufPair("k", kArray, value))),
            "m.gguf: metadata 'k' nests arrays deeper than 4 levels");
}

TEST(GgufHostileTest, Alignment) {
  const auto with = [](uint32_t type, const std::string& value) {
    GgufParts parts = OneTensor();
    parts.metadata = {GgufPair("general.alignment", type, value)};
    return parts;
  };
  for (const uint32_t alignment : {0u, 1u, 4u, 13u, 24u, 0xFFFFFFFFu}) {
    EXPECT_EQ(
        ErrorOfParts(with(kU32, Raw(alignment))),
        fmt::format("m.gguf: metadata 'general.alignment' is {}; it must be a power of two, and "
                    "at least 8",
                    alignment));
  }
  EXPECT_EQ(ErrorOfParts(with(kU32, Raw(uint32_t{8}))), "no error");
  EXPECT_EQ(ErrorOfParts(with(kU64, Raw(uint64_t{32}))),
            "m.gguf: metadata 'general.alignment' must be a 32-bit unsigned integer");
  // The data would begin past the end of the file.
  EXPECT_EQ(ErrorOfParts(with(kU32, Raw(uint32_t{1} << 31))),
            "m.gguf: tensor 'a' needs 32 bytes at offset 0 of the tensor data, which has 0 bytes");
}

TEST(GgufHostileTest, SplitModel) {
  const std::string three = Raw(uint32_t{3});
  EXPECT_EQ(
      ErrorOf<UnsupportedError>(
          [&] { Parse(WithMetadata(GgufPair("split.count", kU32, three)).Bytes()); }),
      "m.gguf: one of the 3 parts of a split model; merge them with `llama-gguf-split --merge`");
  EXPECT_EQ(ErrorOfParts(WithMetadata(GgufPair("split.count", kString, GgufString("3")))),
            "m.gguf: metadata 'split.count' must be an integer below 2^63");
}

// ---- Tensors
// --------------------------------------------------------------------------------------

// The error of a file with these tensor infos and `n_data` bytes of data.
std::string ErrorOfInfos(const std::vector<std::string>& infos, size_t n_data = 32) {
  GgufParts parts;
  parts.infos = infos;
  parts.data = std::string(n_data, '\0');
  return ErrorOfParts(parts);
}

TEST(GgufHostileTest, TensorNames) {
  const auto named = [](std::string_view name) { return GgufTensorInfo(name, {8}, kF32Tensor, 0); };
  EXPECT_EQ(ErrorOfInfos({named("")}),
            "m.gguf: a tensor's name has 0 bytes; 1 to 65535 are allowed");
  EXPECT_EQ(ErrorOfInfos({named(std::string(65536, 'n'))}),
            "m.gguf: a tensor's name has 65536 bytes; 1 to 65535 are allowed");
  EXPECT_EQ(
      ErrorOfInfos({named("\xC0\xAF")}),
      "m.gguf: the name of tensor '\\xc0\\xaf' is not valid UTF-8: byte 0 (0xc0) cannot stand "
      "there");
  EXPECT_EQ(ErrorOfInfos({named("a"), GgufTensorInfo("a", {8}, kF32Tensor, 32)}, 64),
            "m.gguf: tensor 'a' stands twice");
}

TEST(GgufHostileTest, Dimensions) {
  const auto error = [](const std::vector<uint64_t>& dims, uint32_t type = kF32Tensor) {
    return ErrorOfInfos({GgufTensorInfo("a", dims, type, 0)});
  };
  EXPECT_EQ(error({}), "m.gguf: tensor 'a' has 0 dimensions; 1 to 4 are allowed");
  EXPECT_EQ(error({1, 1, 1, 1, 1}), "m.gguf: tensor 'a' has 5 dimensions; 1 to 4 are allowed");
  EXPECT_EQ(error({8, 0}), "m.gguf: tensor 'a' has a dimension of 0");
  EXPECT_EQ(error({kHuge}), "m.gguf: tensor 'a' has a dimension of 9223372036854775808");
  const std::string too_large =
      "m.gguf: tensor 'a' is too large: its dimensions multiply past 2^63";
  EXPECT_EQ(error({uint64_t{1} << 32, uint64_t{1} << 32}), too_large);  // 2^64 wraps to 0
  EXPECT_EQ(error({uint64_t{1} << 40, 1, uint64_t{1} << 23}), too_large);
  EXPECT_EQ(error({uint64_t{1} << 62}), too_large);  // fits as a count, not as bytes
  EXPECT_EQ(
      error({uint64_t{1} << 40}),
      "m.gguf: tensor 'a' needs 4398046511104 bytes at offset 0 of the tensor data, which has "
      "32 bytes");
  EXPECT_EQ(error({33}, kQ4_0Tensor),
            "m.gguf: tensor 'a' has rows of 33 numbers, no multiple of the 32 in a block of Q4_0");
  // 32 numbers, but in rows of 16.
  EXPECT_EQ(error({16, 2}, kQ4_0Tensor),
            "m.gguf: tensor 'a' has rows of 16 numbers, no multiple of the 32 in a block of Q4_0");
}

TEST(GgufHostileTest, TensorTypes) {
  const auto error = [](uint32_t type) {
    return ErrorOfInfos({GgufTensorInfo("a", {256}, type, 0)});
  };
  EXPECT_EQ(error(10), "m.gguf: tensor 'a' has type Q2_K, which AIOS does not read");
  EXPECT_EQ(error(23), "m.gguf: tensor 'a' has type IQ4_XS, which AIOS does not read");
  EXPECT_EQ(error(39), "m.gguf: tensor 'a' has type MXFP4, which AIOS does not read");
  EXPECT_EQ(error(42), "m.gguf: tensor 'a' has the unknown type 42");
  EXPECT_EQ(error(UINT32_MAX), "m.gguf: tensor 'a' has the unknown type 4294967295");
}

TEST(GgufHostileTest, Offsets) {
  const auto error = [](uint64_t offset) {
    return ErrorOfInfos({GgufTensorInfo("a", {8}, kF32Tensor, offset)}, 64);
  };
  EXPECT_EQ(error(32), "no error");
  EXPECT_EQ(error(8), "m.gguf: tensor 'a' begins at offset 8, no multiple of the alignment 32");
  EXPECT_EQ(
      error(64),
      "m.gguf: tensor 'a' needs 32 bytes at offset 64 of the tensor data, which has 64 bytes");
  // offset + 32 wraps to 0.
  EXPECT_EQ(error(UINT64_MAX - 31),
            "m.gguf: tensor 'a' needs 32 bytes at offset 18446744073709551584 of the tensor data, "
            "which has 64 bytes");
}

TEST(GgufHostileTest, OverlappingTensors) {
  const auto tensor = [](std::string_view name, uint64_t n, uint64_t offset) {
    return GgufTensorInfo(name, {n}, kF32Tensor, offset);
  };
  EXPECT_EQ(ErrorOfInfos({tensor("b", 8, 32), tensor("a", 8, 0)}, 64), "no error");
  EXPECT_EQ(ErrorOfInfos({tensor("b", 8, 32), tensor("a", 9, 0)}, 64),
            "m.gguf: tensors 'a' and 'b' overlap");
  EXPECT_NE(ErrorOfInfos({tensor("b", 8, 32), tensor("a", 8, 32)}, 64), "no error");
}

}  // namespace
}  // namespace aios
