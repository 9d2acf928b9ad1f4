// GGUF metadata: reading checks the bounds of every value once, in one walk; the getters decode a
// value when it is asked for, so that opening a file does not pay for a vocabulary that nobody
// reads.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <limits>

#include "common/base/error.h"
#include "common/base/utf8.h"
#include "common/loader/gguf.h"

namespace aios {
namespace {

constexpr size_t kMaxKeyBytes = 65535;
constexpr int kMaxArrayDepth = 4;  // writers nest no arrays today; the format allows it

// Bytes of a value of fixed size; 0 for strings, arrays and types that do not exist.
size_t FixedSize(GgufType type) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      return 0;
  }
  return 0;
}

template <typename T>
T Load(const std::byte* data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  return value;
}

GgufType ReadType(ByteReader& reader, std::string_view key) {
  const auto type = reader.Read<uint32_t>();
  if (type > static_cast<uint32_t>(GgufType::kF64)) {
    throw InputError("{}: metadata {} has the unknown type {}", reader.file(), Quoted(key), type);
  }
  return static_cast<GgufType>(type);
}

// The integer of that type at `data`; nullopt if the type is no integer, or the value does not fit.
std::optional<int64_t> LoadInt(GgufType type, const std::byte* data) {
  switch (type) {
    case GgufType::kU8:
      return Load<uint8_t>(data);
    case GgufType::kI8:
      return Load<int8_t>(data);
    case GgufType::kU16:
      return Load<uint16_t>(data);
    case GgufType::kI16:
      return Load<int16_t>(data);
    case GgufType::kU32:
      return Load<uint32_t>(data);
    case GgufType::kI32:
      return Load<int32_t>(data);
    case GgufType::kI64:
      return Load<int64_t>(data);
    case GgufType::kU64: {
      const auto value = Load<uint64_t>(data);
      if (value > INT64_MAX) return std::nullopt;
      return static_cast<int64_t>(value);
    }
    default:
      return std::nullopt;
  }
}

std::optional<double> LoadFloat(GgufType type, const std::byte* data) {
  if (type == GgufType::kF32) return Load<float>(data);
  if (type == GgufType::kF64) return Load<double>(data);
  return std::nullopt;
}

}  // namespace

void GgufFile::ReadMetadata(ByteReader& reader, uint64_t n) {
  metadata_.reserve(n);  // Parse has held n against the file's size
  for (uint64_t i = 0; i < n; ++i) {
    reader.SetItem("a metadata key");
    const std::string_view key = reader.ReadString();
    if (key.empty() || key.size() > kMaxKeyBytes) {
      throw InputError("{}: a metadata key of {} bytes; 1 to {} are allowed", name_, key.size(),
                       kMaxKeyBytes);
    }
    CheckUtf8(key, fmt::format("{}: the metadata key {}", name_, Quoted(key)));
    reader.SetItem("metadata", key);
    const GgufType type = ReadType(reader, key);
    metadata_.push_back({key, ReadValue(reader, type, 0, key)});
  }
  // Sorting, not hashing: a hostile file can choose keys that collide in a hash table, and make it
  // quadratic.
  std::sort(metadata_.begin(), metadata_.end(), [](auto& a, auto& b) { return a.key < b.key; });
  const auto twice = std::adjacent_find(metadata_.begin(), metadata_.end(),
                                        [](auto& a, auto& b) { return a.key == b.key; });
  if (twice != metadata_.end()) {
    throw InputError("{}: metadata {} stands twice", name_, Quoted(twice->key));
  }
}

GgufFile::Value GgufFile::ReadValue(ByteReader& reader, GgufType type, int depth,
                                    std::string_view key) {
  const auto check_bools = [&](const std::byte* data, uint64_t n) {
    if (std::any_of(data, data + n, [](std::byte b) { return b > std::byte{1}; })) {
      throw InputError("{}: metadata {} holds a Boolean that is neither 0 nor 1", reader.file(),
                       Quoted(key));
    }
  };
  if (const size_t size = FixedSize(type)) {
    const std::byte* data = reader.Skip(1, size);
    if (type == GgufType::kBool) check_bools(data, 1);
    return {.type = type, .data = data};
  }
  if (type == GgufType::kString) {
    const std::string_view text = reader.ReadString();
    return {.type = type,
            .data = reinterpret_cast<const std::byte*>(text.data()),
            .n_elements = text.size()};
  }
  if (depth == kMaxArrayDepth) {
    throw InputError("{}: metadata {} nests arrays deeper than {} levels", reader.file(),
                     Quoted(key), kMaxArrayDepth);
  }
  Value array = {.type = type, .data = nullptr};
  array.element_type = ReadType(reader, key);
  array.n_elements = reader.Read<uint64_t>();
  if (const size_t size = FixedSize(array.element_type)) {
    array.data = reader.Skip(array.n_elements, size);
    if (array.element_type == GgufType::kBool) check_bools(array.data, array.n_elements);
  } else {
    // Each element takes at least eight bytes, so that the file ends this loop soon, whatever the
    // number says.
    array.data = reader.Skip(0, 1);
    for (uint64_t i = 0; i < array.n_elements; ++i) {
      ReadValue(reader, array.element_type, depth + 1, key);
    }
  }
  return array;
}

const GgufFile::Value* GgufFile::Find(std::string_view key) const {
  const auto found =
      std::lower_bound(metadata_.begin(), metadata_.end(), key,
                       [](const KeyValue& a, std::string_view b) { return a.key < b; });
  return found == metadata_.end() || found->key != key ? nullptr : &found->value;
}

bool GgufFile::Has(std::string_view key) const { return Find(key) != nullptr; }

std::optional<int64_t> GgufFile::Int(std::string_view key) const {
  const Value* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto result = LoadInt(value->type, value->data)) return result;
  throw InputError("{}: metadata {} must be an integer below 2^63", name_, Quoted(key));
}

std::optional<double> GgufFile::Float(std::string_view key) const {
  const Value* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto result = LoadFloat(value->type, value->data)) return result;
  throw InputError("{}: metadata {} must be a floating-point number", name_, Quoted(key));
}

std::optional<bool> GgufFile::Bool(std::string_view key) const {
  const Value* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type == GgufType::kBool) return value->data[0] != std::byte{0};
  throw InputError("{}: metadata {} must be a Boolean", name_, Quoted(key));
}

std::optional<std::string_view> GgufFile::String(std::string_view key) const {
  const Value* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != GgufType::kString) {
    throw InputError("{}: metadata {} must be a string", name_, Quoted(key));
  }
  const std::string_view text(reinterpret_cast<const char*>(value->data), value->n_elements);
  CheckUtf8(text, fmt::format("{}: metadata {}", name_, Quoted(key)));
  return text;
}

const GgufFile::Value* GgufFile::FindArray(std::string_view key, std::string_view of_what,
                                           std::initializer_list<GgufType> types) const {
  const Value* value = Find(key);
  if (value == nullptr) return nullptr;
  if (value->type != GgufType::kArray ||
      std::find(types.begin(), types.end(), value->element_type) == types.end()) {
    throw InputError("{}: metadata {} must be an array of {}", name_, Quoted(key), of_what);
  }
  return value;
}

std::optional<std::vector<std::string_view>> GgufFile::Strings(std::string_view key) const {
  const Value* array = FindArray(key, "strings", {GgufType::kString});
  if (array == nullptr) return std::nullopt;
  std::vector<std::string_view> strings;
  strings.reserve(array->n_elements);  // ReadValue has seen every one of them
  const std::byte* at = array->data;
  for (uint64_t i = 0; i < array->n_elements; ++i) {
    const auto length = Load<uint64_t>(at);
    strings.emplace_back(reinterpret_cast<const char*>(at + sizeof(length)), length);
    at += sizeof(length) + length;
  }
  return strings;
}

std::optional<std::vector<int32_t>> GgufFile::Ints(std::string_view key) const {
  const Value* array = FindArray(key, "integers",
                                 {GgufType::kU8, GgufType::kI8, GgufType::kU16, GgufType::kI16,
                                  GgufType::kU32, GgufType::kI32, GgufType::kU64, GgufType::kI64});
  if (array == nullptr) return std::nullopt;
  std::vector<int32_t> ints;
  ints.reserve(array->n_elements);
  const size_t size = FixedSize(array->element_type);
  for (uint64_t i = 0; i < array->n_elements; ++i) {
    const auto element = LoadInt(array->element_type, array->data + i * size);
    if (!element || *element < INT32_MIN || *element > INT32_MAX) {
      throw InputError("{}: element {} of metadata {} does not fit in 32 bits", name_, i,
                       Quoted(key));
    }
    ints.push_back(static_cast<int32_t>(*element));
  }
  return ints;
}

std::optional<std::vector<float>> GgufFile::Floats(std::string_view key) const {
  const Value* array = FindArray(key, "floating-point numbers", {GgufType::kF32, GgufType::kF64});
  if (array == nullptr) return std::nullopt;
  std::vector<float> floats;
  floats.reserve(array->n_elements);
  const size_t size = FixedSize(array->element_type);
  for (uint64_t i = 0; i < array->n_elements; ++i) {
    floats.push_back(static_cast<float>(*LoadFloat(array->element_type, array->data + i * size)));
  }
  return floats;
}

std::vector<std::string_view> GgufFile::keys() const {
  std::vector<std::string_view> keys;
  for (const KeyValue& pair : metadata_) keys.push_back(pair.key);
  return keys;
}

}  // namespace aios
