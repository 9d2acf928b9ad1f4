#include "common/base/json.h"

#include <unordered_set>
#include <vector>

#include "common/base/error.h"

namespace aios {
namespace {

constexpr int kMaxDepth = 64;  // tokenizer.json, the deepest file we read, stays below 10

}  // namespace

Json ParseJson(std::string_view text, std::string_view source) {
  std::vector<std::unordered_set<std::string>> keys;  // of each object that is open
  const Json::parser_callback_t check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    switch (event) {
      case Json::parse_event_t::object_start:
        keys.emplace_back();
        [[fallthrough]];
      case Json::parse_event_t::array_start:
        if (depth >= kMaxDepth) {
          throw InputError("{}: nested deeper than {} levels", source, kMaxDepth);
        }
        break;
      case Json::parse_event_t::key: {
        const auto& key = parsed.get_ref<const std::string&>();
        if (!keys.back().insert(key).second) {
          throw InputError("{}: the key {} stands twice in one object", source, Quoted(key));
        }
        break;
      }
      case Json::parse_event_t::object_end:
        keys.pop_back();
        break;
      case Json::parse_event_t::array_end:
      case Json::parse_event_t::value:
        break;
    }
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), check);
  } catch (const Json::parse_error& error) {
    throw InputError("{}: not valid JSON at byte {}", source, error.byte);
  } catch (const Json::exception& error) {
    throw InputError("{}: not valid JSON: {}", source, error.what());
  }
}

JsonObject::JsonObject(const Json& json, std::string source)
    : json_(&json), source_(std::move(source)) {
  if (!json.is_object()) throw InputError("{}: must be a JSON object", source_);
}

const Json* JsonObject::Find(std::string_view key) const {
  const auto found = json_->find(key);
  return found == json_->end() || found->is_null() ? nullptr : &*found;
}

const Json& JsonObject::Required(std::string_view key) const {
  const Json* value = Find(key);
  if (value == nullptr) throw InputError("{}: {} is missing", source_, Quoted(key));
  return *value;
}

int64_t JsonObject::Int(std::string_view key) const {
  const Json& value = Required(key);
  if (value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX) {
    throw InputError("{}: {} is out of range", source_, Quoted(key));
  }
  if (!value.is_number_integer())
    throw InputError("{}: {} must be an integer", source_, Quoted(key));
  return value.get<int64_t>();
}

int64_t JsonObject::Int(std::string_view key, int64_t otherwise) const {
  return Find(key) == nullptr ? otherwise : Int(key);
}

double JsonObject::Float(std::string_view key) const {
  const Json& value = Required(key);
  if (!value.is_number()) throw InputError("{}: {} must be a number", source_, Quoted(key));
  return value.get<double>();
}

double JsonObject::Float(std::string_view key, double otherwise) const {
  return Find(key) == nullptr ? otherwise : Float(key);
}

bool JsonObject::Bool(std::string_view key, bool otherwise) const {
  const Json* value = Find(key);
  if (value == nullptr) return otherwise;
  if (!value->is_boolean()) throw InputError("{}: {} must be true or false", source_, Quoted(key));
  return value->get<bool>();
}

std::string JsonObject::String(std::string_view key) const {
  const Json& value = Required(key);
  if (!value.is_string()) throw InputError("{}: {} must be a string", source_, Quoted(key));
  return value.get<std::string>();
}

std::string JsonObject::String(std::string_view key, std::string otherwise) const {
  return Find(key) == nullptr ? std::move(otherwise) : String(key);
}

JsonObject JsonObject::Object(std::string_view key) const {
  return {Required(key), fmt::format("{}: {}", source_, Quoted(key))};
}

}  // namespace aios
