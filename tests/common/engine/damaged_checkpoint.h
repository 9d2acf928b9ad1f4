// A copy of a checkpoint with something wrong in it.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "common/base/json.h"
#include "common/base/mapped_file.h"
#include "common/text/tokenizer.h"

namespace aios {

// Where the copy is. The embedding of `token` is NaN. `folder` has one model.safetensors in f32.
inline std::string DamagedCheckpoint(const std::string& folder, TokenId token) {
  std::string file = ReadTextFile(folder + "/model.safetensors");
  uint64_t header_size = 0;
  std::memcpy(&header_size, file.data(), sizeof(header_size));
  const Json embedding =
      ParseJson(file.substr(8, header_size), folder)["model.embed_tokens.weight"];
  const size_t row_size = embedding["shape"][1].get<size_t>();
  const std::vector<float> row(row_size, std::numeric_limits<float>::quiet_NaN());
  std::memcpy(file.data() + 8 + header_size + embedding["data_offsets"][0].get<size_t>() +
                  token * row_size * sizeof(float),
              row.data(), row_size * sizeof(float));
  const std::filesystem::path damaged = std::filesystem::path(testing::TempDir()) / "damaged";
  std::filesystem::create_directories(damaged);
  std::ofstream(damaged / "model.safetensors", std::ios::binary) << file;
  std::ofstream(damaged / "config.json") << ReadTextFile(folder + "/config.json");
  return damaged.string();
}

}  // namespace aios
