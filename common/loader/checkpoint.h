// Checkpoint: a model on disk, in either of the two forms in which models travel.
//
//   a GGUF file               metadata, tokenizer and tensors in one
//   a Hugging Face directory  config.json; model.safetensors, or model.safetensors.index.json and
//                             the shards that it names; a tokenizer and further settings, which are
//                             not needed to open it
//
// It gives tensors by name, as views into the mapped files, and the settings beside them; what they
// mean is common/model's business.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/json.h"
#include "common/loader/gguf.h"
#include "common/loader/safetensors.h"
#include "common/tensor/tensor.h"

namespace aios {

// Owns the mappings. Immutable after Open, so thread-safe. Move-only.
class Checkpoint {
 public:
  // Throws InputError if there is no such file or directory, if it is neither form, or if a file in
  // it is malformed. Shards must lie in the directory itself; a tensor may stand in one shard only;
  // the index and the shards must agree.
  static Checkpoint Open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  // The GGUF file, or nullptr for a directory.
  const GgufFile* gguf() const { return gguf_.get(); }
  // The parsed config.json of a directory; null JSON for GGUF.
  const Json& config() const { return config_; }
  // A JSON file of the directory, or nullopt if it is not there (or this is a GGUF file).
  std::optional<Json> ReadJson(std::string_view file_name) const;

  // The tensor of that name, or nullptr.
  const Tensor* Find(std::string_view name) const;
  // All names, sorted.
  std::vector<std::string_view> names() const;
  // Bytes of all tensors.
  int64_t n_bytes() const;

 private:
  Checkpoint() = default;

  std::filesystem::path path_;
  std::unique_ptr<GgufFile> gguf_;  // on the heap: gguf() stays valid when the checkpoint moves
  std::vector<SafetensorsFile> shards_;
  Json config_;
  std::map<std::string_view, Tensor> tensors_;  // the names are those in gguf_ or shards_
};

}  // namespace aios
