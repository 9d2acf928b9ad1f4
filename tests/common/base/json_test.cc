#include "common/base/json.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <string>

#include "common/base/error.h"

namespace aios {
namespace {

std::string ErrorOf(std::string_view text) {
  try {
    (void)ParseJson(text, "f.json");
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(JsonTest, ParsesEveryKindOfValue) {
  const Json json = ParseJson(
      R"({"null":null,"yes":true,"int":-9223372036854775808,"uint":18446744073709551615,)"
      R"("float":1.5e-3,"text":"a\u00fc\ud83d\ude42\n","list":[1,[],{"x":[2]},"s"],"empty":{}})",
      "f.json");
  EXPECT_TRUE(json["null"].is_null());
  EXPECT_EQ(json["yes"], true);
  EXPECT_EQ(json["int"], INT64_MIN);
  EXPECT_EQ(json["uint"], UINT64_MAX);
  EXPECT_EQ(json["float"], 1.5e-3);
  EXPECT_EQ(json["text"], "aü🙂\n");
  EXPECT_EQ(json["list"].dump(), R"([1,[],{"x":[2]},"s"])");
  EXPECT_EQ(json["empty"], Json::object());
  EXPECT_EQ(ParseJson(" 3 ", "f.json"), 3);
  EXPECT_EQ(ParseJson("\"s\"", "f.json"), "s");
}

// The builder is ours: the tree is the one that the library's own makes.
TEST(JsonTest, BuildsTheTreeOfTheLibrary) {
  const std::string text = R"({"b":[{"x":1,"y":[true,null,[]]},2],"a":{"c":{"d":"e"},"f":[]}})";
  EXPECT_EQ(ParseJson(text, "f.json"), Json::parse(text));
}

TEST(JsonTest, SyntaxErrorsSayWhere) {
  EXPECT_EQ(ErrorOf(""), "f.json: not valid JSON at byte 1");
  EXPECT_EQ(ErrorOf("{\"a\":}"), "f.json: not valid JSON at byte 6");
  EXPECT_EQ(ErrorOf("[1,]"), "f.json: not valid JSON at byte 4");
  EXPECT_EQ(ErrorOf("{} x"), "f.json: not valid JSON at byte 4");
  EXPECT_EQ(ErrorOf("[1 // one\n]"), "f.json: not valid JSON at byte 4");
  EXPECT_EQ(ErrorOf("NaN"), "f.json: not valid JSON at byte 1");
  EXPECT_EQ(ErrorOf("\"\xFF\""), "f.json: not valid JSON at byte 2");
  EXPECT_EQ(ErrorOf("\"\\ud800\""), "f.json: not valid JSON at byte 8");
  EXPECT_EQ(ErrorOf("[1e400]"), "f.json: the number that ends at byte 6 is out of range");
}

TEST(JsonTest, DuplicateKeys) {
  EXPECT_EQ(ErrorOf(R"({"a":1,"b":2,"a":3})"), "f.json: the key 'a' stands twice in one object");
  EXPECT_EQ(ErrorOf(R"([{"x":{"a":1,"\u0061":3}}])"),
            "f.json: the key 'a' stands twice in one object");
  EXPECT_EQ(ErrorOf(R"([{"a":1},{"a":2},{"b":{"a":3},"a":4}])"), "no error");
}

TEST(JsonTest, Depth) {
  const auto nested = [](int depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_EQ(ErrorOf(nested(64)), "no error");
  EXPECT_EQ(ErrorOf(nested(65)), "f.json: nested deeper than 64 levels");
  EXPECT_EQ(ErrorOf(nested(100'000)), "f.json: nested deeper than 64 levels");
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_EQ(ErrorOf(objects), "f.json: nested deeper than 64 levels");
}

// Twice the members take about twice the time, whatever their names: no hash table to attack.
TEST(JsonTest, ManyKeys) {
  std::string text = "{";
  for (int i = 0; i < 200'000; ++i) text += fmt::format("{}\"{}\":{}", i ? "," : "", i * 7919, i);
  text += "}";
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(ParseJson(text, "f.json").size(), 200'000);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  EXPECT_LT(seconds.count(), 5);  // 0.15; room for sanitizers
}

// ---- JsonObject
// ----------------------------------------------------------------------------------

class JsonObjectTest : public testing::Test {
 protected:
  const Json json_ = ParseJson(
      R"({"int":7,"big":9223372036854775808,"float":1.5,"whole":2.0,"yes":true,"text":"t",)"
      R"("null":null,"object":{"x":1},"list":[]})",
      "f.json");
  const JsonObject object_{json_, "f.json"};

  template <typename Function>
  static std::string Error(const Function& function) {
    try {
      function();
    } catch (const InputError& error) {
      return error.what();
    }
    return "no error";
  }
};

TEST_F(JsonObjectTest, ReadsMembers) {
  EXPECT_EQ(object_.Int("int"), 7);
  EXPECT_EQ(object_.Float("float"), 1.5);
  EXPECT_EQ(object_.Float("int"), 7.0);
  EXPECT_EQ(object_.Bool("yes", false), true);
  EXPECT_EQ(object_.String("text"), "t");
  EXPECT_EQ(object_.Object("object").Int("x"), 1);
}

TEST_F(JsonObjectTest, AbsentAndNullGiveTheDefault) {
  for (const char* key : {"absent", "null"}) {
    EXPECT_EQ(object_.Find(key), nullptr);
    EXPECT_EQ(object_.Int(key, 3), 3);
    EXPECT_EQ(object_.Float(key, 0.5), 0.5);
    EXPECT_EQ(object_.Bool(key, true), true);
    EXPECT_EQ(object_.String(key, "d"), "d");
    EXPECT_EQ(Error([&] { (void)object_.Int(key); }), fmt::format("f.json: '{}' is missing", key));
  }
}

TEST_F(JsonObjectTest, WrongTypesNameTheKey) {
  EXPECT_EQ(Error([&] { (void)object_.Int("text"); }), "f.json: 'text' must be an integer");
  EXPECT_EQ(Error([&] { (void)object_.Int("float"); }), "f.json: 'float' must be an integer");
  EXPECT_EQ(Error([&] { (void)object_.Int("yes", 1); }), "f.json: 'yes' must be an integer");
  EXPECT_EQ(Error([&] { (void)object_.Int("big"); }), "f.json: 'big' is out of range");
  EXPECT_EQ(Error([&] { (void)object_.Float("text"); }), "f.json: 'text' must be a number");
  EXPECT_EQ(Error([&] { (void)object_.Bool("int", true); }), "f.json: 'int' must be true or false");
  EXPECT_EQ(Error([&] { (void)object_.String("int"); }), "f.json: 'int' must be a string");
  EXPECT_EQ(Error([&] { (void)object_.Object("list"); }), "f.json: 'list': must be a JSON object");
  EXPECT_EQ(Error([&] { (void)object_.Object("object").Int("y"); }),
            "f.json: 'object': 'y' is missing");
}

}  // namespace
}  // namespace aios
