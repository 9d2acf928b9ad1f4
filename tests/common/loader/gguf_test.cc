// Reading valid GGUF files. gguf_hostile_test.cc has the invalid ones.
#include "common/loader/gguf.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>

#include "common/base/json.h"
#include "tests/common/loader/loader_testing.h"

namespace aios {
namespace {

constexpr char kGolden[] = "tests/golden/gguf/";

class GgufVersionTest : public testing::TestWithParam<int> {
 protected:
  GgufFile Open() const {
    return GgufFile::Open(fmt::format("{}all_types.v{}.gguf", kGolden, GetParam()));
  }
  const Json golden_ =
      ParseJson(ReadFile(std::string(kGolden) + "all_types.json"), "all_types.json");
};

INSTANTIATE_TEST_SUITE_P(Versions, GgufVersionTest, testing::Values(2, 3));

TEST_P(GgufVersionTest, ReadsTheTensorsThatTheGgufPackageWrote) {
  const GgufFile file = Open();
  EXPECT_EQ(file.version(), GetParam());
  const Json& want = golden_["tensors"];
  ASSERT_EQ(file.tensors().size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    const NamedTensor& got = file.tensors()[i];
    EXPECT_EQ(got.name, want[i]["name"].get<std::string>());
    EXPECT_EQ(Name(got.tensor.dtype()), want[i]["dtype"].get<std::string>());
    EXPECT_EQ(got.tensor.shape(), Shape(want[i]["shape"].get<std::vector<int64_t>>())) << got.name;
    const auto bytes = want[i]["bytes"].get<std::vector<uint8_t>>();
    ASSERT_EQ(got.tensor.n_bytes(), std::ssize(bytes)) << got.name;
    EXPECT_EQ(std::memcmp(got.tensor.data(), bytes.data(), bytes.size()), 0) << got.name;
  }
}

TEST_P(GgufVersionTest, ReadsScalars) {
  const GgufFile file = Open();
  const Json& want = golden_["metadata"];
  for (const char* key : {"u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64"}) {
    const std::string name = std::string("test.") + key;
    EXPECT_EQ(file.Int(name), want[name].get<int64_t>()) << name;
    EXPECT_EQ(ErrorOf([&] { (void)file.Float(name); }),
              fmt::format("{}: metadata '{}' must be a floating-point number", file.name(), name));
  }
  EXPECT_EQ(ErrorOf([&] { (void)file.Int("test.u64_above_i64"); }),
            file.name() + ": metadata 'test.u64_above_i64' must be an integer below 2^63");
  EXPECT_EQ(file.Float("test.f32"), 0.15625);
  EXPECT_EQ(file.Float("test.f64"), 0.1);
  EXPECT_EQ(file.Bool("test.true"), true);
  EXPECT_EQ(file.Bool("test.false"), false);
  EXPECT_EQ(file.String("test.empty"), "");
  EXPECT_EQ(file.String("test.string"), want["test.string"].get<std::string>());
}

TEST_P(GgufVersionTest, ReadsArrays) {
  const GgufFile file = Open();
  const Json& want = golden_["metadata"];
  for (const char* key : {"u8", "i8", "u16", "i16", "i32", "u32", "u64", "i64"}) {
    const std::string name = std::string("array.") + key;
    EXPECT_EQ(file.Ints(name), want[name].get<std::vector<int32_t>>()) << name;
  }
  for (const char* key : {"f32", "f64"}) {
    const std::string name = std::string("array.") + key;
    EXPECT_EQ(file.Floats(name), want[name].get<std::vector<float>>()) << name;
  }
  const auto strings = want["array.string"].get<std::vector<std::string>>();
  const auto got = file.Strings("array.string");
  ASSERT_TRUE(got.has_value());
  EXPECT_TRUE(std::equal(got->begin(), got->end(), strings.begin(), strings.end()));
  EXPECT_TRUE(file.Has("array.nested"));
}

TEST_P(GgufVersionTest, AbsentKeysAreNulloptAndOtherTypesAreErrors) {
  const GgufFile file = Open();
  EXPECT_FALSE(file.Has("no.such.key"));
  EXPECT_EQ(file.Int("no.such.key"), std::nullopt);
  EXPECT_EQ(file.Float("no.such.key"), std::nullopt);
  EXPECT_EQ(file.Bool("no.such.key"), std::nullopt);
  EXPECT_EQ(file.String("no.such.key"), std::nullopt);
  EXPECT_EQ(file.Strings("no.such.key"), std::nullopt);
  EXPECT_EQ(file.Ints("no.such.key"), std::nullopt);
  EXPECT_EQ(file.Floats("no.such.key"), std::nullopt);

  const auto must_be = [&](std::string_view key, std::string_view what) {
    return fmt::format("{}: metadata '{}' must be {}", file.name(), key, what);
  };
  EXPECT_EQ(ErrorOf([&] { (void)file.Int("test.f32"); }),
            must_be("test.f32", "an integer below 2^63"));
  EXPECT_EQ(ErrorOf([&] { (void)file.Int("test.true"); }),
            must_be("test.true", "an integer below 2^63"));
  EXPECT_EQ(ErrorOf([&] { (void)file.Bool("test.u8"); }), must_be("test.u8", "a Boolean"));
  EXPECT_EQ(ErrorOf([&] { (void)file.String("array.string"); }),
            must_be("array.string", "a string"));
  EXPECT_EQ(ErrorOf([&] { (void)file.Strings("test.string"); }),
            must_be("test.string", "an array of strings"));
  EXPECT_EQ(ErrorOf([&] { (void)file.Strings("array.i32"); }),
            must_be("array.i32", "an array of strings"));
  EXPECT_EQ(ErrorOf([&] { (void)file.Ints("array.bool"); }),
            must_be("array.bool", "an array of integers"));
  EXPECT_EQ(ErrorOf([&] { (void)file.Ints("array.nested"); }),
            must_be("array.nested", "an array of integers"));
  EXPECT_EQ(ErrorOf([&] { (void)file.Floats("array.i32"); }),
            must_be("array.i32", "an array of floating-point numbers"));
}

TEST_P(GgufVersionTest, KeysAreSorted) {
  const GgufFile file = Open();
  const auto keys = file.keys();
  EXPECT_EQ(keys.size(), golden_["metadata"].size() + 2);  // general.architecture, array.nested
  EXPECT_TRUE(std::is_sorted(keys.begin(), keys.end()));
}

TEST(GgufTest, AlignmentOfTheFile) {
  const GgufFile file = GgufFile::Open(std::string(kGolden) + "aligned.gguf");
  ASSERT_EQ(file.tensors().size(), 2);
  for (const NamedTensor& t : file.tensors()) {
    // The file is mapped at the beginning of a page.
    EXPECT_EQ(reinterpret_cast<uintptr_t>(t.tensor.data()) % 4096, 0) << t.name;
  }
}

TEST(GgufTest, TensorTypeThatIsNotReadIsNamed) {
  const std::string path = std::string(kGolden) + "unsupported.gguf";
  EXPECT_EQ(ErrorOf<UnsupportedError>([&] { GgufFile::Open(path); }),
            path + ": tensor 'blk.1.q2_k.weight' has type Q2_K, which AIOS does not read");
}

TEST(GgufTest, FileWithoutTensors) {
  const std::string bytes = GgufParts{}.Bytes();
  const GgufFile file = GgufFile::Parse(std::as_bytes(std::span(bytes)), "empty");
  EXPECT_TRUE(file.tensors().empty());
  EXPECT_TRUE(file.keys().empty());
}

// The views stay valid when the file moves.
TEST(GgufTest, Moves) {
  GgufFile file = GgufFile::Open(std::string(kGolden) + "all_types.v3.gguf");
  const void* data = file.tensors()[0].tensor.data();
  const std::string_view text = *file.String("test.string");
  const GgufFile moved = std::move(file);
  EXPECT_EQ(moved.tensors()[0].tensor.data(), data);
  EXPECT_EQ(moved.String("test.string"), text);
}

TEST(GgufTest, OpensTheDefaultModelInMilliseconds) {
  const char* path = std::getenv("SMOLLM2");
  ASSERT_NE(path, nullptr);
  (void)GgufFile::Open(path);  // the first touch of its pages is the disk's time
  const auto begin = std::chrono::steady_clock::now();
  const GgufFile file = GgufFile::Open(path);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  EXPECT_EQ(file.tensors().size(), 272);
  EXPECT_EQ(file.String("general.architecture"), "llama");
  EXPECT_EQ(file.Int("llama.block_count"), 30);
  EXPECT_EQ(file.Strings("tokenizer.ggml.tokens")->size(), 49152);
  EXPECT_LT(seconds.count(), 0.1);  // about 0.001; room for sanitizers and busy machines
}

}  // namespace
}  // namespace aios
