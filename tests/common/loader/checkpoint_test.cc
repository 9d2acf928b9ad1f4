#include "common/loader/checkpoint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/common/loader/loader_testing.h"

namespace aios {
namespace {

namespace fs = std::filesystem;

constexpr char kTiny[] = "tests/golden/tiny/";

// A directory of the test's own, removed at its end.
class CheckpointDirTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    dir_ = fs::path(testing::TempDir()) / (std::string("checkpoint_") + test->name());
    fs::remove_all(dir_);
    fs::create_directories(dir_);
    Write("config.json", "{}");
  }
  void TearDown() override { fs::remove_all(dir_); }

  void Write(std::string_view name, std::string_view text) const {
    std::ofstream(dir_ / name, std::ios::binary) << text;
  }
  // A shard with one-number tensors of these names.
  void WriteShard(std::string_view file, const std::vector<std::string>& names) const {
    Json header = Json::object();
    size_t end = 0;
    for (const std::string& name : names) {
      header[name] = {{"dtype", "F32"}, {"shape", {1}}, {"data_offsets", {end, end + 4}}};
      end += 4;
    }
    Write(file, SafetensorsBytes(header.dump(), std::string(end, '\0')));
  }
  void WriteIndex(const Json& weight_map) const {
    Write("model.safetensors.index.json", Json{{"weight_map", weight_map}}.dump());
  }
  // The error of opening it, without the directory's name.
  std::string Error() const {
    std::string error = ErrorOf([&] { Checkpoint::Open(dir_); });
    for (size_t at; (at = error.find(dir_.string())) != std::string::npos;) {
      error.replace(at, dir_.string().size(), "DIR");
    }
    return error;
  }

  fs::path dir_;
};

class TinyCheckpointTest : public testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(Golden, TinyCheckpointTest,
                         testing::Values("llama3_scaled", "llama_bf16", "llama_sharded",
                                         "llama_tied", "mistral", "qwen2", "qwen3", "qwen3_moe"),
                         [](const auto& test) { return std::string(test.param); });

TEST_P(TinyCheckpointTest, Opens) {
  const Checkpoint checkpoint = Checkpoint::Open(std::string(kTiny) + GetParam());
  EXPECT_EQ(checkpoint.gguf(), nullptr);
  EXPECT_TRUE(checkpoint.config().contains("hidden_size"));
  EXPECT_TRUE(checkpoint.ReadJson("generation_config.json").has_value());
  EXPECT_FALSE(checkpoint.ReadJson("tokenizer.json").has_value());

  const auto names = checkpoint.names();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  const auto d_model = checkpoint.config()["hidden_size"].get<int64_t>();
  const auto vocab_size = checkpoint.config()["vocab_size"].get<int64_t>();
  const Tensor* embeddings = checkpoint.Find("model.embed_tokens.weight");
  ASSERT_NE(embeddings, nullptr);
  EXPECT_EQ(embeddings->shape(), Shape({vocab_size, d_model}));
  EXPECT_EQ(checkpoint.Find("model.embed_tokens"), nullptr);
}

// What the index of the four shards says.
TEST(CheckpointTest, Shards) {
  const Checkpoint checkpoint = Checkpoint::Open(std::string(kTiny) + "llama_sharded");
  EXPECT_EQ(checkpoint.names().size(), 21);
  EXPECT_EQ(checkpoint.n_bytes(), 607488);
}

TEST(CheckpointTest, GgufFile) {
  Checkpoint opened = Checkpoint::Open("tests/golden/gguf/all_types.v3.gguf");
  const GgufFile* gguf = opened.gguf();
  const Checkpoint checkpoint = std::move(opened);
  ASSERT_NE(checkpoint.gguf(), nullptr);
  EXPECT_EQ(checkpoint.gguf(), gguf);  // the views stay valid when it moves
  EXPECT_EQ(checkpoint.names().size(), 11);
  EXPECT_EQ(checkpoint.Find("blk.0.f32.weight")->data(), gguf->tensors()[0].tensor.data());
  EXPECT_TRUE(checkpoint.config().is_null());
  EXPECT_FALSE(checkpoint.ReadJson("all_types.json").has_value());
}

TEST(CheckpointTest, NeitherForm) {
  EXPECT_EQ(ErrorOf([] { Checkpoint::Open("no/such/model"); }),
            "no/such/model: no such file or directory");
  EXPECT_EQ(ErrorOf([] { Checkpoint::Open(""); }), "'': no such file or directory");
  const std::string config = std::string(kTiny) + "qwen2/config.json";
  EXPECT_EQ(ErrorOf([&] { Checkpoint::Open(config); }),
            config + ": not a GGUF file: it does not begin with 'GGUF'");
  const std::string weights = std::string(kTiny) + "qwen2/model.safetensors";
  EXPECT_EQ(
      ErrorOf([&] { Checkpoint::Open(weights); }),
      weights + ": one part of a model; give the directory, which also holds its config.json");
  EXPECT_EQ(ErrorOf([] { Checkpoint::Open("/dev/null"); }), "/dev/null: not a regular file");
}

TEST_F(CheckpointDirTest, NoConfig) {
  fs::remove(dir_ / "config.json");
  EXPECT_EQ(Error(),
            "DIR: has no config.json; give a GGUF file, or a directory of Hugging Face's "
            "form");
}

TEST_F(CheckpointDirTest, BadConfig) {
  WriteShard("model.safetensors", {"a"});
  Write("config.json", "[]");
  EXPECT_EQ(Error(), "DIR/config.json: must be a JSON object");
  Write("config.json", "{\"a\":1,}");
  EXPECT_EQ(Error(), "DIR/config.json: not valid JSON at byte 8");
  Write("config.json", "");
  EXPECT_EQ(Error(), "DIR/config.json: not valid JSON at byte 1");
}

TEST_F(CheckpointDirTest, NoWeights) {
  EXPECT_EQ(Error(), "DIR: has neither model.safetensors nor model.safetensors.index.json");
  Write("pytorch_model.bin", "");
  EXPECT_EQ(Error(),
            "DIR: has neither model.safetensors nor model.safetensors.index.json; AIOS "
            "does not read pytorch_model.bin, convert it to safetensors");
  fs::remove(dir_ / "config.json");
  Write("model-Q4_0.gguf", "");
  EXPECT_EQ(Error(), "DIR: has no config.json; give the file model-Q4_0.gguf in it");
}

TEST_F(CheckpointDirTest, OneFile) {
  WriteShard("model.safetensors", {"a", "b"});
  EXPECT_EQ(Error(), "no error");
  const Checkpoint checkpoint = Checkpoint::Open(dir_);
  EXPECT_EQ(checkpoint.path(), dir_);
  EXPECT_EQ(checkpoint.names(), (std::vector<std::string_view>{"a", "b"}));
  EXPECT_EQ(checkpoint.n_bytes(), 8);
}

TEST_F(CheckpointDirTest, ShardNamesStayInTheDirectory) {
  fs::create_directories(dir_ / "sub");
  WriteShard("sub/1", {"a"});
  for (const char* shard :
       {"../model.safetensors", "sub/1", "/etc/passwd", "..", ".", "", "sub\\1"}) {
    WriteIndex({{"a", shard}});
    EXPECT_EQ(Error(), fmt::format("DIR/model.safetensors.index.json: the file of tensor 'a' is "
                                   "'{}'; it must be a file in the same directory",
                                   shard));
  }
  WriteIndex({{"a", std::string("1\0.safetensors", 14)}});
  EXPECT_NE(Error().find("'1\\x00.safetensors'; it must be a file"), std::string::npos);
  WriteIndex({{"a", "sub"}});
  EXPECT_EQ(Error(), "DIR/sub: not a regular file");
}

TEST_F(CheckpointDirTest, IndexAndShardsMustAgree) {
  WriteShard("1", {"a", "b"});
  WriteShard("2", {"c"});
  WriteIndex({{"a", "1"}, {"b", "1"}, {"c", "2"}});
  EXPECT_EQ(Error(), "no error");

  WriteIndex({{"a", "1"}, {"b", "1"}, {"c", "3"}});
  EXPECT_EQ(Error(), "DIR/3: cannot open: No such file or directory");
  WriteIndex({{"a", "1"}, {"c", "2"}});
  EXPECT_EQ(Error(), "DIR/1: tensor 'b' is not in model.safetensors.index.json");
  WriteIndex({{"a", "1"}, {"b", "2"}, {"c", "2"}});
  EXPECT_EQ(Error(),
            "DIR/1: tensor 'b' is here, but model.safetensors.index.json says it is in '2'");
  WriteIndex({{"a", "1"}, {"b", "1"}, {"c", "2"}, {"d", "2"}});
  EXPECT_EQ(Error(), "DIR/2: has no tensor 'd', which model.safetensors.index.json says it has");
  // The same tensor in two shards: the index can name one of them only.
  WriteShard("2", {"a", "c"});
  WriteIndex({{"a", "1"}, {"b", "1"}, {"c", "2"}});
  EXPECT_EQ(Error(),
            "DIR/2: tensor 'a' is here, but model.safetensors.index.json says it is in '1'");
}

TEST_F(CheckpointDirTest, BadIndex) {
  const std::string index = "DIR/model.safetensors.index.json: ";
  const std::string no_map = index + "'weight_map' must be an object that gives each tensor's file";
  for (const char* text : {"{}", R"({"weight_map":[]})", R"({"weight_map":{}})"}) {
    Write("model.safetensors.index.json", text);
    EXPECT_EQ(Error(), no_map) << text;
  }
  Write("model.safetensors.index.json", "3");
  EXPECT_EQ(Error(), index + "must be a JSON object");
  WriteIndex({{"a", 1}});
  EXPECT_EQ(Error(), index + "the file of tensor 'a' must be a string");
  Write("model.safetensors.index.json", R"({"weight_map":{"a":"1","a":"2"}})");
  EXPECT_EQ(Error(), index + "the key 'a' stands twice in one object");
}

TEST_F(CheckpointDirTest, ReadJson) {
  WriteShard("model.safetensors", {"a"});
  Write("good.json", "{\"x\":1}");
  Write("bad.json", "{");
  const Checkpoint checkpoint = Checkpoint::Open(dir_);
  EXPECT_EQ((*checkpoint.ReadJson("good.json"))["x"], 1);
  EXPECT_EQ(ErrorOf([&] { (void)checkpoint.ReadJson("bad.json"); }),
            (dir_ / "bad.json").string() + ": not valid JSON at byte 2");
  EXPECT_EQ(checkpoint.ReadJson("absent.json"), std::nullopt);
}

}  // namespace
}  // namespace aios
