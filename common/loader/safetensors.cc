#include "common/loader/safetensors.h"

#include <optional>
#include <utility>

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/loader/byte_reader.h"

namespace aios {
namespace {

// The format's own limit. A checkpoint of 1,000 tensors has a header of about 100 KB.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;

std::optional<DType> DTypeOf(std::string_view name) {
  if (name == "F32") return DType::kF32;
  if (name == "F16") return DType::kF16;
  if (name == "BF16") return DType::kBF16;
  return std::nullopt;
}

// The member as non-negative integers below 2^63, `n` of them at most.
std::vector<int64_t> Sizes(const JsonObject& entry, std::string_view key, size_t max_n) {
  const Json* list = entry.Find(key);
  if (list == nullptr || !list->is_array() || list->size() > max_n) {
    throw InputError("{}: {} must be a list of at most {} integers", entry.source(), Quoted(key),
                     max_n);
  }
  std::vector<int64_t> sizes;
  for (const Json& item : *list) {
    if (!item.is_number_unsigned() || item.get<uint64_t>() > INT64_MAX) {
      throw InputError("{}: {} must hold integers from 0 to 2^63 - 1", entry.source(), Quoted(key));
    }
    sizes.push_back(static_cast<int64_t>(item.get<uint64_t>()));
  }
  return sizes;
}

// `data`: what follows the header.
Tensor ReadTensor(const JsonObject& entry, std::span<const std::byte> data) {
  const std::string dtype_name = entry.String("dtype");
  const std::optional<DType> dtype = DTypeOf(dtype_name);
  if (!dtype) {
    throw UnsupportedError("{} has dtype {}; AIOS reads F32, F16 and BF16", entry.source(),
                           Quoted(dtype_name));
  }
  const std::vector<int64_t> shape = Sizes(entry, "shape", Shape::kMaxRank);
  const std::optional<int64_t> n_bytes = CheckedBytes(*dtype, shape);
  if (!n_bytes) {
    throw InputError("{} is too large: its dimensions multiply past 2^63", entry.source());
  }

  const std::vector<int64_t> offsets = Sizes(entry, "data_offsets", 2);
  if (offsets.size() != 2 || offsets[0] > offsets[1] ||
      static_cast<uint64_t>(offsets[1]) > data.size()) {
    throw InputError("{}: 'data_offsets' must be [begin, end] within the {} bytes of data",
                     entry.source(), data.size());
  }
  if (offsets[1] - offsets[0] != *n_bytes) {
    throw InputError("{}: 'data_offsets' span {} bytes, dtype and shape need {}", entry.source(),
                     offsets[1] - offsets[0], *n_bytes);
  }
  return Tensor(data.data() + offsets[0], *dtype, Shape(shape));
}

}  // namespace

SafetensorsFile SafetensorsFile::Open(const std::filesystem::path& path) {
  MappedFile mapped = MappedFile::Open(path);
  SafetensorsFile file = Parse(mapped.bytes(), path.string());
  file.file_ = std::move(mapped);  // the bytes stay where they are
  return file;
}

SafetensorsFile SafetensorsFile::Parse(std::span<const std::byte> bytes, std::string name) {
  SafetensorsFile file;
  file.name_ = std::move(name);
  ByteReader reader(bytes, file.name_);
  reader.SetItem("the header's length");
  const auto n_header = reader.Read<uint64_t>();
  if (n_header > kMaxHeaderBytes) {
    throw InputError(
        "{}: a header of {} bytes; at most {} are allowed (is this a safetensors file?)",
        file.name_, n_header, kMaxHeaderBytes);
  }
  reader.SetItem("the header");
  const std::byte* text = reader.Skip(n_header, 1);
  const Json header =
      ParseJson({reinterpret_cast<const char*>(text), n_header}, file.name_ + ": header");
  if (!header.is_object()) throw InputError("{}: the header must be a JSON object", file.name_);

  const std::span<const std::byte> data = bytes.subspan(reader.offset());
  for (const auto& [tensor_name, entry] : header.items()) {
    if (tensor_name == "__metadata__") continue;  // notes of the program that wrote the file
    const JsonObject object(entry, fmt::format("{}: tensor {}", file.name_, Quoted(tensor_name)));
    file.tensors_.push_back({tensor_name, ReadTensor(object, data)});
  }
  CheckDistinct(file.tensors_, file.name_);
  return file;
}

}  // namespace aios
