// safetensors files, valid and hostile.
#include "common/loader/safetensors.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <string>

#include "tests/common/loader/loader_testing.h"

namespace aios {
namespace {

constexpr char kSmall[] = "tests/golden/safetensors/small.safetensors";

void Parse(std::string_view bytes) {
  const GuardedBytes guarded(bytes);
  (void)SafetensorsFile::Parse(guarded.span(), "m");
}

// The error of a file with that header and 16 bytes of data.
std::string ErrorOfHeader(std::string_view header) {
  return ErrorOf([&] { Parse(SafetensorsBytes(header, std::string(16, '\0'))); });
}

// The error of a file whose tensor 'a' is described by `members`.
std::string ErrorOfTensor(std::string_view members) {
  return ErrorOfHeader(fmt::format(R"({{"a":{{{}}}}})", members));
}

TEST(SafetensorsTest, ReadsWhatTheSafetensorsPackageWrote) {
  const SafetensorsFile file = SafetensorsFile::Open(kSmall);
  struct Want {
    DType dtype;
    Shape shape;
    int first_byte;  // the bytes count up from there
  };
  const std::map<std::string, Want> want = {
      {"scalar", {DType::kF32, {}, 0}},
      {"vector", {DType::kF16, {5}, 1}},
      {"matrix.weight", {DType::kBF16, {3, 4}, 2}},
      {"cube", {DType::kF32, {2, 3, 4}, 3}},
      {"rank 4, Grüße", {DType::kBF16, {2, 1, 2, 3}, 4}},
      {"empty", {DType::kF32, {0, 7}, 5}},
  };
  ASSERT_EQ(file.tensors().size(), want.size());
  for (const NamedTensor& got : file.tensors()) {
    ASSERT_TRUE(want.contains(got.name)) << got.name;
    const Want& w = want.at(got.name);
    EXPECT_EQ(got.tensor.dtype(), w.dtype) << got.name;
    EXPECT_EQ(got.tensor.shape(), w.shape) << got.name;
    const auto* bytes = static_cast<const uint8_t*>(got.tensor.data());
    for (int64_t i = 0; i < got.tensor.n_bytes(); ++i) ASSERT_EQ(bytes[i], w.first_byte + i);
  }
}

TEST(SafetensorsTest, DTypeThatIsNotReadIsNamed) {
  const std::string path = "tests/golden/safetensors/unsupported.safetensors";
  EXPECT_EQ(ErrorOf<UnsupportedError>([&] { SafetensorsFile::Open(path); }),
            path + ": tensor 'ids' has dtype 'I64'; AIOS reads F32, F16 and BF16");
}

TEST(SafetensorsTest, DataOfAnyAlignment) {
  // The header's length makes the data begin at an odd byte.
  const std::string bytes = SafetensorsBytes(
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}} )", std::string(9, 'x'));
  const SafetensorsFile file = SafetensorsFile::Parse(std::as_bytes(std::span(bytes)), "m");
  EXPECT_EQ(static_cast<const char*>(file.tensors()[0].tensor.data()),
            bytes.data() + bytes.size() - 8);
}

TEST(SafetensorsTest, NoTensors) { EXPECT_EQ(ErrorOfHeader("{}"), "no error"); }

TEST(SafetensorsHostileTest, EveryTruncation) {
  const std::string bytes = ReadFile(kSmall);
  for (size_t n = 0; n < bytes.size(); ++n) {
    const std::string error = ErrorOf([&] { Parse(std::string_view(bytes).substr(0, n)); });
    const bool cut_off = error.find("is cut off") != std::string::npos ||
                         error.find("must be [begin, end] within") != std::string::npos;
    EXPECT_TRUE(cut_off) << n << ": " << error;
  }
}

TEST(SafetensorsHostileTest, HeaderLength) {
  EXPECT_EQ(ErrorOf([] { Parse(Raw(uint64_t{1} << 63) + "{}"); }),
            "m: a header of 9223372036854775808 bytes; at most 100000000 are allowed (is this a "
            "safetensors file?)");
  EXPECT_EQ(ErrorOf([] { Parse(Raw(uint64_t{3}) + "{}"); }),
            "m: the header is cut off: it needs 3 bytes at byte 8, and the file ends at byte 10");
  EXPECT_EQ(ErrorOf([] { Parse("1234567"); }),
            "m: the header's length is cut off: it needs 8 bytes at byte 0, and the file ends at "
            "byte 7");
}

TEST(SafetensorsHostileTest, Json) {
  EXPECT_EQ(ErrorOfHeader(""), "m: header: not valid JSON at byte 1");
  EXPECT_EQ(ErrorOfHeader("[]"), "m: the header must be a JSON object");
  EXPECT_EQ(ErrorOfHeader("{\"a\xFF\":1}"), "m: header: not valid JSON at byte 4");
  EXPECT_EQ(ErrorOfHeader(R"({"a":1,"a":2})"), "m: header: the key 'a' stands twice in one object");
  EXPECT_EQ(ErrorOfHeader(std::string(100'000, '[')), "m: header: nested deeper than 64 levels");
  EXPECT_EQ(ErrorOfHeader(R"({"a":1})"), "m: tensor 'a': must be a JSON object");
}

TEST(SafetensorsHostileTest, Members) {
  EXPECT_EQ(ErrorOfTensor(R"("shape":[1],"data_offsets":[0,4])"),
            "m: tensor 'a': 'dtype' is missing");
  EXPECT_EQ(ErrorOfTensor(R"("dtype":4,"shape":[1],"data_offsets":[0,4])"),
            "m: tensor 'a': 'dtype' must be a string");
  EXPECT_EQ(ErrorOfTensor(R"("dtype":"F32","data_offsets":[0,4])"),
            "m: tensor 'a': 'shape' must be a list of at most 4 integers");
  EXPECT_EQ(ErrorOfTensor(R"("dtype":"F32","shape":[1,1,1,1,1],"data_offsets":[0,4])"),
            "m: tensor 'a': 'shape' must be a list of at most 4 integers");
  for (const char* dim : {"-1", "1.5", "true", "\"1\"", "9223372036854775808"}) {
    EXPECT_EQ(ErrorOfTensor(fmt::format(R"("dtype":"F32","shape":[{}],"data_offsets":[0,4])", dim)),
              "m: tensor 'a': 'shape' must hold integers from 0 to 2^63 - 1");
  }
}

TEST(SafetensorsHostileTest, Shapes) {
  const auto error = [](std::string_view shape) {
    return ErrorOfTensor(fmt::format(R"("dtype":"F32","shape":{},"data_offsets":[0,16])", shape));
  };
  EXPECT_EQ(error("[4]"), "no error");
  EXPECT_EQ(error("[5]"), "m: tensor 'a': 'data_offsets' span 16 bytes, dtype and shape need 20");
  const std::string too_large = "m: tensor 'a' is too large: its dimensions multiply past 2^63";
  EXPECT_EQ(error("[4294967296,4294967296]"), too_large);  // 2^64 wraps to 0
  EXPECT_EQ(error("[4294967296,2147483648,2]"), too_large);
  EXPECT_EQ(error("[4611686018427387904]"), too_large);    // 2^62 numbers, 2^64 bytes
  EXPECT_EQ(error("[4611686018427387905,4]"), too_large);  // 2^64 + 4 wraps to 4
  EXPECT_EQ(error("[9223372036854775807,9223372036854775807,0]"), too_large);
}

TEST(SafetensorsHostileTest, Offsets) {
  const auto error = [](std::string_view offsets) {
    return ErrorOfTensor(fmt::format(R"("dtype":"F32","shape":[2],"data_offsets":{})", offsets));
  };
  EXPECT_EQ(error("[8,16]"), "no error");
  const std::string outside =
      "m: tensor 'a': 'data_offsets' must be [begin, end] within the 16 bytes of data";
  for (const char* offsets :
       {"[8,0]", "[16,24]", "[0]", "[]", "[9223372036854775800,9223372036854775807]"}) {
    EXPECT_EQ(error(offsets), outside) << offsets;
  }
  EXPECT_EQ(error("[-8,0]"), "m: tensor 'a': 'data_offsets' must hold integers from 0 to 2^63 - 1");
  EXPECT_EQ(error("[0,8,16]"),
            "m: tensor 'a': 'data_offsets' must be a list of at most 2 integers");
}

TEST(SafetensorsHostileTest, OverlappingTensors) {
  EXPECT_EQ(ErrorOfHeader(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                          R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})"),
            "m: tensors 'a' and 'b' overlap");
  // A hole between them is nobody's loss.
  EXPECT_EQ(ErrorOfHeader(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                          R"("b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})"),
            "no error");
}

}  // namespace
}  // namespace aios
