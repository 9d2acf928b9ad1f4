#include "common/loader/checkpoint.h"

#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "common/base/error.h"
#include "common/base/mapped_file.h"

namespace aios {
namespace {

namespace fs = std::filesystem;

constexpr char kConfig[] = "config.json";
constexpr char kSingleFile[] = "model.safetensors";
constexpr char kPickle[] = "pytorch_model.bin";  // older than safetensors; to read it is to run it
constexpr char kIndex[] = "model.safetensors.index.json";

// The shard of each tensor, as the index has it.
using WeightMap = std::map<std::string, std::string, std::less<>>;

bool Exists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

Json ReadJsonFile(const fs::path& path) {
  constexpr size_t kMaxBytes = 256 << 20;  // the tree takes a multiple of it
  return ParseJson(ReadTextFile(path, kMaxBytes), path.string());
}

WeightMap ReadIndex(const fs::path& path) {
  const Json index = ReadJsonFile(path);
  const Json* map = JsonObject(index, path.string()).Find("weight_map");
  if (map == nullptr || !map->is_object() || map->empty()) {
    throw InputError("{}: 'weight_map' must be an object that gives each tensor's file",
                     path.string());
  }
  WeightMap shards;
  for (const auto& [tensor, value] : map->items()) {
    if (!value.is_string()) {
      throw InputError("{}: the file of tensor {} must be a string", path.string(), Quoted(tensor));
    }
    const auto& shard = value.get_ref<const std::string&>();
    // A plain file name: an index that came from a stranger must not read files elsewhere.
    const bool plain = !shard.empty() && shard != "." && shard != ".." &&
                       shard.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
    if (!plain) {
      throw InputError("{}: the file of tensor {} is {}; it must be a file in the same directory",
                       path.string(), Quoted(tensor), Quoted(shard));
    }
    shards.emplace(tensor, shard);
  }
  return shards;
}

// Throws unless the shard has exactly the tensors that the index says it has. Then no two shards
// have the same one, because the index has it once.
void CheckShard(const SafetensorsFile& file, const std::string& shard, const WeightMap& index) {
  std::set<std::string_view> present;
  for (const NamedTensor& tensor : file.tensors()) {
    present.insert(tensor.name);
    const auto found = index.find(tensor.name);
    if (found == index.end()) {
      throw InputError("{}: tensor {} is not in {}", file.name(), Quoted(tensor.name), kIndex);
    }
    if (found->second != shard) {
      throw InputError("{}: tensor {} is here, but {} says it is in {}", file.name(),
                       Quoted(tensor.name), kIndex, Quoted(found->second));
    }
  }
  for (const auto& [tensor, where] : index) {
    if (where == shard && !present.contains(tensor)) {
      throw InputError("{}: has no tensor {}, which {} says it has", file.name(), Quoted(tensor),
                       kIndex);
    }
  }
}

// Opens what `directory` has: one file, or the shards of an index.
std::vector<SafetensorsFile> OpenShards(const fs::path& directory) {
  std::vector<SafetensorsFile> files;
  if (Exists(directory / kSingleFile)) {
    files.push_back(SafetensorsFile::Open(directory / kSingleFile));
    return files;
  }
  if (!Exists(directory / kIndex)) {
    throw InputError(
        "{}: has neither {} nor {}{}", directory.string(), kSingleFile, kIndex,
        Exists(directory / kPickle)
            ? fmt::format("; AIOS does not read {}, convert it to safetensors", kPickle)
            : "");
  }
  const WeightMap index = ReadIndex(directory / kIndex);
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : index) shards.insert(shard);
  for (const std::string& shard : shards) {
    files.push_back(SafetensorsFile::Open(directory / shard));
    CheckShard(files.back(), shard, index);
  }
  return files;
}

// "give ...", for the error of a directory that is no checkpoint.
std::string Advice(const fs::path& directory) {
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, ignored)) {
    if (entry.path().extension() == ".gguf") {
      return fmt::format("give the file {} in it", entry.path().filename().string());
    }
  }
  return "give a GGUF file, or a directory of Hugging Face's form";
}

}  // namespace

Checkpoint Checkpoint::Open(const std::filesystem::path& path) {
  const std::string name = path.empty() ? "''" : path.string();
  if (!Exists(path)) throw InputError("{}: no such file or directory", name);
  Checkpoint checkpoint;
  checkpoint.path_ = path;
  const auto add = [&](std::span<const NamedTensor> tensors) {
    for (const NamedTensor& t : tensors) checkpoint.tensors_.emplace(t.name, t.tensor);
  };

  if (!fs::is_directory(path)) {
    if (path.extension() == ".safetensors") {
      throw InputError("{}: one part of a model; give the directory, which also holds its {}", name,
                       kConfig);
    }
    checkpoint.gguf_ = std::make_unique<GgufFile>(GgufFile::Open(path));
    add(checkpoint.gguf_->tensors());
    return checkpoint;
  }

  if (!Exists(path / kConfig)) throw InputError("{}: has no {}; {}", name, kConfig, Advice(path));
  checkpoint.config_ = ReadJsonFile(path / kConfig);
  if (!checkpoint.config_.is_object()) {
    throw InputError("{}: must be a JSON object", (path / kConfig).string());
  }
  checkpoint.shards_ = OpenShards(path);
  for (const SafetensorsFile& shard : checkpoint.shards_) add(shard.tensors());
  return checkpoint;
}

std::optional<Json> Checkpoint::ReadJson(std::string_view file_name) const {
  if (gguf_ != nullptr || !Exists(path_ / file_name)) return std::nullopt;
  return ReadJsonFile(path_ / file_name);
}

const Tensor* Checkpoint::Find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

std::vector<std::string_view> Checkpoint::names() const {
  std::vector<std::string_view> names;
  for (const auto& [name, tensor] : tensors_) names.push_back(name);
  return names;
}

int64_t Checkpoint::n_bytes() const {
  int64_t n = 0;
  for (const auto& [name, tensor] : tensors_) n += tensor.n_bytes();
  return n;
}

}  // namespace aios
