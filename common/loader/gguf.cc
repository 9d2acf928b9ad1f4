// The file's frame: header, tensor infos, tensor data. The metadata between them is in
// gguf_metadata.cc.
#include "common/loader/gguf.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "common/base/error.h"
#include "common/base/utf8.h"
#include "common/loader/gguf_tensor_types.h"

namespace aios {
namespace {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr uint64_t kDefaultAlignment = 32;
constexpr size_t kMaxNameBytes = 65535;

// The least that a tensor info takes (length, name, rank, one dimension, type, offset), and a
// metadata pair (length, key, type, value).
constexpr uint64_t kMinTensorInfoBytes = 8 + 1 + 4 + 8 + 4 + 8;
constexpr uint64_t kMinKeyValueBytes = 8 + 1 + 4 + 1;

void CheckMagicAndVersion(ByteReader& reader, uint32_t magic, uint32_t version) {
  if (magic != kMagic) {
    throw InputError("{}: not a GGUF file: it does not begin with 'GGUF'", reader.file());
  }
  if (version == 2 || version == 3) return;
  // The version is a small number; in the other byte order its upper bytes are set and its lower
  // ones are not.
  if (version != 0 && (version & 0xFFFF) == 0) {
    throw UnsupportedError("{}: a big-endian GGUF file; AIOS reads little-endian ones",
                           reader.file());
  }
  throw UnsupportedError("{}: GGUF version {}; AIOS reads versions 2 and 3", reader.file(),
                         version);
}

// A tensor as the file describes it, before its data is found.
struct TensorInfo {
  std::string_view name;
  DType dtype = DType::kF32;
  Shape shape;
  uint64_t offset = 0;  // from the beginning of the tensor data
};

TensorInfo ReadTensorInfo(ByteReader& reader) {
  TensorInfo info;
  reader.SetItem("a tensor's name");
  info.name = reader.ReadString();
  const auto fail = [&]<typename... Args>(fmt::format_string<Args...> format, Args&&... args) {
    throw InputError("{}: tensor {} {}", reader.file(), Quoted(info.name),
                     fmt::format(format, std::forward<Args>(args)...));
  };
  if (info.name.empty() || info.name.size() > kMaxNameBytes) {
    throw InputError("{}: a tensor's name has {} bytes; 1 to {} are allowed", reader.file(),
                     info.name.size(), kMaxNameBytes);
  }
  CheckUtf8(info.name, fmt::format("{}: the name of tensor {}", reader.file(), Quoted(info.name)));
  reader.SetItem("tensor", info.name);

  const auto rank = reader.Read<uint32_t>();
  if (rank < 1 || rank > Shape::kMaxRank) {
    fail("has {} dimensions; 1 to {} are allowed", rank, Shape::kMaxRank);
  }
  std::array<int64_t, Shape::kMaxRank> dims = {};
  for (uint32_t i = 0; i < rank; ++i) {
    const auto dim = reader.Read<uint64_t>();
    if (dim == 0 || dim > INT64_MAX) fail("has a dimension of {}", dim);
    dims[rank - 1 - i] = static_cast<int64_t>(dim);  // the file lists the fastest dimension first
  }

  const auto type_id = reader.Read<uint32_t>();
  const GgufTensorType type = GgufTensorTypeOf(type_id);
  if (type.name.empty()) fail("has the unknown type {}", type_id);
  if (!type.dtype) {
    throw UnsupportedError("{}: tensor {} has type {}, which AIOS does not read", reader.file(),
                           Quoted(info.name), type.name);
  }
  info.dtype = *type.dtype;

  const int block_size = kernels::Info(info.dtype).block_size;
  if (dims[rank - 1] % block_size != 0) {
    fail("has rows of {} numbers, no multiple of the {} in a block of {}", dims[rank - 1],
         block_size, type.name);
  }
  const std::span<const int64_t> shape(dims.data(), rank);
  if (!CheckedBytes(info.dtype, shape)) fail("is too large: its dimensions multiply past 2^63");
  info.shape = Shape(shape);
  info.offset = reader.Read<uint64_t>();
  return info;
}

}  // namespace

GgufFile GgufFile::Open(const std::filesystem::path& path) {
  MappedFile mapped = MappedFile::Open(path);
  GgufFile file = Parse(mapped.bytes(), path.string());
  file.file_ = std::move(mapped);  // the bytes stay where they are
  return file;
}

GgufFile GgufFile::Parse(std::span<const std::byte> bytes, std::string name) {
  GgufFile file;
  file.name_ = std::move(name);
  ByteReader reader(bytes, file.name_);

  const auto magic = reader.Read<uint32_t>();
  file.version_ = reader.Read<uint32_t>();
  CheckMagicAndVersion(reader, magic, file.version_);
  const auto n_tensors = reader.Read<uint64_t>();
  const auto n_metadata = reader.Read<uint64_t>();
  // Both are checked again by reading; this finds an absurd number at once, and names it.
  if (n_metadata > reader.remaining() / kMinKeyValueBytes ||
      n_tensors > reader.remaining() / kMinTensorInfoBytes) {
    throw InputError("{}: {} metadata values and {} tensors do not fit in its {} bytes", file.name_,
                     n_metadata, n_tensors, bytes.size());
  }

  file.ReadMetadata(reader, n_metadata);
  // A part holds some of the tensors only. Without this check the model would seem to lack weights.
  if (const auto n_parts = file.Int("split.count"); n_parts && *n_parts > 1) {
    throw UnsupportedError(
        "{}: one of the {} parts of a split model; merge them with `llama-gguf-split --merge`",
        file.name_, *n_parts);
  }
  file.ReadTensors(reader, n_tensors, bytes);
  return file;
}

void GgufFile::ReadTensors(ByteReader& reader, uint64_t n, std::span<const std::byte> bytes) {
  uint64_t alignment = kDefaultAlignment;
  if (const Value* value = Find("general.alignment")) {
    if (value->type != GgufType::kU32) {
      throw InputError("{}: metadata 'general.alignment' must be a 32-bit unsigned integer", name_);
    }
    alignment = static_cast<uint64_t>(*Int("general.alignment"));
    if (alignment < 8 || !std::has_single_bit(alignment)) {
      throw InputError(
          "{}: metadata 'general.alignment' is {}; it must be a power of two, and at least 8",
          name_, alignment);
    }
  }

  std::vector<TensorInfo> infos;
  infos.reserve(n);  // Parse has held n against the file's size
  tensors_.reserve(n);
  for (uint64_t i = 0; i < n; ++i) infos.push_back(ReadTensorInfo(reader));

  // Neither sum can wrap: positions in the file and alignments are far below 2^63.
  const uint64_t data_begin = (reader.offset() + alignment - 1) / alignment * alignment;
  for (const TensorInfo& info : infos) {
    if (info.offset % alignment != 0) {
      throw InputError("{}: tensor {} begins at offset {}, no multiple of the alignment {}", name_,
                       Quoted(info.name), info.offset, alignment);
    }
    const auto n_bytes = static_cast<uint64_t>(BytesOf(info.dtype, info.shape.n_elements()));
    const uint64_t available = bytes.size() - std::min<uint64_t>(bytes.size(), data_begin);
    if (info.offset > available || n_bytes > available - info.offset) {
      throw InputError(
          "{}: tensor {} needs {} bytes at offset {} of the tensor data, which has {} bytes", name_,
          Quoted(info.name), n_bytes, info.offset, available);
    }
    tensors_.push_back({std::string(info.name),
                        Tensor(bytes.data() + data_begin + info.offset, info.dtype, info.shape)});
  }
  CheckDistinct(tensors_, name_);
}

}  // namespace aios
