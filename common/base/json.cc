#include "common/base/json.h"

#include <cstddef>
#include <utility>
#include <vector>

#include "common/base/error.h"

namespace aios {
namespace {

constexpr size_t kMaxDepth = 64;  // tokenizer.json, the deepest file we read, stays below 10

// Builds the tree from the parser's events. The parser's own builder keeps the last of two values
// that share a key; and with a callback that could object it takes twice the time.
class TreeBuilder : public nlohmann::json_sax<Json> {
 public:
  explicit TreeBuilder(std::string_view source) : source_(source) {}

  Json Take() { return std::move(root_); }

  bool null() override { return Add(nullptr) != nullptr; }
  bool boolean(bool value) override { return Add(value) != nullptr; }
  bool number_integer(int64_t value) override { return Add(value) != nullptr; }
  bool number_unsigned(uint64_t value) override { return Add(value) != nullptr; }
  bool number_float(double value, const std::string&) override { return Add(value) != nullptr; }
  bool string(std::string& value) override { return Add(std::move(value)) != nullptr; }
  bool binary(Json::binary_t&) override { return false; }  // no event of JSON text

  bool start_object(size_t) override { return Open(Json::object()); }
  bool end_object() override { return Close(); }
  bool start_array(size_t) override { return Open(Json::array()); }
  bool end_array() override { return Close(); }

  bool key(std::string& key) override {
    const auto [member, is_new] = open_.back()->get_ref<Json::object_t&>().emplace(key, nullptr);
    if (!is_new) {
      throw InputError("{}: the key {} stands twice in one object", source_, Quoted(key));
    }
    member_ = &member->second;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const Json::exception& error) override {
    // Numbers beyond double's range have an error of their own; the rest is syntax.
    if (dynamic_cast<const Json::out_of_range*>(&error) != nullptr) {
      throw InputError("{}: the number that ends at byte {} is out of range", source_, position);
    }
    throw InputError("{}: not valid JSON at byte {}", source_, position);
  }

 private:
  // Puts a value where the parser is, and returns it there.
  Json* Add(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (open_.back()->is_array()) {
      auto& array = open_.back()->get_ref<Json::array_t&>();
      return &array.emplace_back(std::move(value));
    }
    *member_ = std::move(value);
    return member_;
  }

  bool Open(Json value) {
    if (open_.size() == kMaxDepth) {
      throw InputError("{}: nested deeper than {} levels", source_, kMaxDepth);
    }
    open_.push_back(Add(std::move(value)));
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  std::string_view source_;
  Json root_;
  // The objects and arrays that are open, outermost first. Each stays where it is while it is open:
  // only the innermost grows.
  std::vector<Json*> open_;
  Json* member_ = nullptr;  // of the innermost object: the value of the key that came last
};

}  // namespace

Json ParseJson(std::string_view text, std::string_view source) {
  TreeBuilder builder(source);
  Json::sax_parse(text.begin(), text.end(), &builder);
  return builder.Take();
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
