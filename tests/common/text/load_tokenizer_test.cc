// Which files a path stands for, and what stands beside the vocabulary.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/common/text/text_testing.h"

namespace aios {
namespace {

namespace fs = std::filesystem;

class LoadTokenizerTest : public testing::Test {
 protected:
  LoadTokenizerTest() { fs::create_directories(directory_); }
  ~LoadTokenizerTest() override { fs::remove_all(directory_); }

  void Copy(const std::string& golden, const std::string& name) {
    fs::copy_file("tests/golden/" + golden, directory_ / name);
  }
  void Write(const std::string& name, const std::string& text) {
    std::ofstream(directory_ / name) << text;
  }

  const fs::path directory_ =
      fs::path(testing::TempDir()) / testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(LoadTokenizerTest, DirectoryWithoutATokenizer) {
  EXPECT_EQ(ErrorOf([&] { LoadTokenizerFromPath(directory_); }),
            directory_.string() + ": there is no tokenizer in it");
  EXPECT_NE(ErrorOf([&] { LoadTokenizerFromPath(directory_ / "none.json"); }), "no error");
}

TEST_F(LoadTokenizerTest, TokenizerConfigDecidesOnBosAndTemplate) {
  Copy("tokenizers/flags/tokenizer.json", "tokenizer.json");
  const auto load = [&] { return LoadTokenizerFromPath(directory_); };
  const std::optional<TokenId> bos = load()->FindSpecial("<s>");
  ASSERT_TRUE(bos.has_value());
  EXPECT_EQ(load()->bos, bos);  // by the file's own template
  EXPECT_EQ(load()->chat_template, "");

  Write("tokenizer_config.json", R"({"add_bos_token": false, "chat_template": "one"})");
  EXPECT_EQ(load()->bos, std::nullopt);
  EXPECT_EQ(load()->chat_template, "one");

  Write("tokenizer_config.json", R"({"add_bos_token": true, "bos_token": {"content": "<left>"},
      "chat_template": [{"name": "tools", "template": "x"}, {"name": "default", "template": "y"}]})");
  EXPECT_EQ(load()->bos, load()->FindSpecial("<left>"));
  EXPECT_EQ(load()->chat_template, "y");

  Write("chat_template.jinja", "z");
  EXPECT_EQ(load()->chat_template, "z");

  Write("tokenizer_config.json", R"({"add_bos_token": true, "bos_token": "nothing"})");
  EXPECT_TRUE(ErrorOf(load).ends_with("the bos_token 'nothing' is no special token"));
}

TEST_F(LoadTokenizerTest, SentencePieceWhereTokenizerJsonOnlyImitatesIt) {
  Write("tokenizer.json",
        R"({"model": {"type": "BPE", "byte_fallback": true, "vocab": {}, "merges": []}})");
  EXPECT_TRUE(ErrorOf([&] { LoadTokenizerFromPath(directory_); }).ends_with("is not supported"));
  Copy("sentencepiece/tokenizer.model", "tokenizer.model");
  EXPECT_TRUE(LoadTokenizerFromPath(directory_)->drops_leading_space());
}

// A file cut short or with a byte changed, in many places: an error or a tokenizer.
TEST_F(LoadTokenizerTest, DamagedFiles) {
  std::mt19937 random(1);
  for (const std::string name : {"tokenizer.model", "tokenizer.gguf"}) {
    const std::string whole = ReadFile("tests/golden/sentencepiece/" + name);
    const auto try_to_load = [&](const std::string& bytes) {
      Write(name, bytes);
      try {
        LoadTokenizerFromPath(directory_ / name)
            ->Encode("Why is\tthe <s> sky?", SpecialTokens::kRecognize);
      } catch (const InputError&) {
      }
    };
    for (size_t n = 0; n < whole.size(); n += 37) try_to_load(whole.substr(0, n));
    for (size_t i = 0; i < whole.size(); i += 31) {
      std::string damaged = whole;
      damaged[i] = static_cast<char>(random());
      try_to_load(damaged);
    }
  }
}

}  // namespace
}  // namespace aios
