// Small checkpoints that a test writes by hand, in both forms: a Hugging Face folder and a GGUF
// file. Their tensors are zeros.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/json.h"
#include "tests/common/loader/loader_testing.h"

namespace aios {

// Names and row-major shapes, in F32.
using TensorShapes = std::map<std::string, std::vector<int64_t>>;

inline size_t F32Bytes(const std::vector<int64_t>& shape) {
  size_t n = sizeof(float);
  for (const int64_t dim : shape) n *= dim;
  return n;
}

inline void WriteFile(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// An empty folder for the test that runs.
inline std::filesystem::path TestFolder() {
  const testing::TestInfo* test = testing::UnitTest::GetInstance()->current_test_info();
  std::string name = std::string(test->test_suite_name()) + "." + test->name();
  for (char& c : name) c = c == '/' ? '.' : c;  // of parameterized tests
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / name;
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

// config.json and model.safetensors, in a new folder.
inline std::filesystem::path WriteHuggingFace(const Json& config, const TensorShapes& tensors) {
  const std::filesystem::path folder = TestFolder();
  WriteFile(folder / "config.json", config.dump());
  Json header = Json::object();
  size_t end = 0;
  for (const auto& [name, shape] : tensors) {
    const size_t begin = end;
    end += F32Bytes(shape);
    header[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {begin, end}}};
  }
  WriteFile(folder / "model.safetensors", SafetensorsBytes(header.dump(), std::string(end, '\0')));
  return folder;
}

// A metadata value as the file has it: the number of its type, and its bytes.
struct GgufValue {
  uint32_t type;
  std::string bytes;
};
inline GgufValue GgufInt(int64_t value) {
  // As files have it: 32 bits without a sign, where they are enough.
  if (value >= 0 && value <= UINT32_MAX) return {4, Raw(static_cast<uint32_t>(value))};
  return {11, Raw(value)};
}
inline GgufValue GgufFloat(float value) { return {6, Raw(value)}; }
inline GgufValue GgufText(std::string_view text) { return {8, GgufString(text)}; }
using GgufMetadata = std::map<std::string, GgufValue>;

// model.gguf, in a new folder.
inline std::filesystem::path WriteGguf(const GgufMetadata& metadata, const TensorShapes& tensors) {
  GgufParts parts;
  for (const auto& [key, value] : metadata) {
    parts.metadata.push_back(GgufPair(key, value.type, value.bytes));
  }
  for (const auto& [name, shape] : tensors) {
    const size_t begin =
        (parts.data.size() + parts.alignment - 1) / parts.alignment * parts.alignment;
    parts.infos.push_back(GgufTensorInfo(name, {shape.rbegin(), shape.rend()}, 0, begin));
    parts.data.resize(begin + F32Bytes(shape));
  }
  const std::filesystem::path path = TestFolder() / "model.gguf";
  WriteFile(path, parts.Bytes());
  return path;
}

}  // namespace aios
