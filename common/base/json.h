// JSON from files that we did not write: nlohmann/json behind limits. Nesting is bounded, a key may
// stand only once in an object (two readers that each take another one of the duplicates disagree
// about the file), and every error is an InputError that names the source.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace aios {

using Json = nlohmann::json;

// `source` names the text in errors, such as a file's path. Time and memory are linear in the text.
Json ParseJson(std::string_view text, std::string_view source);

// A JSON object together with the name of its source, for reading settings that may be absent or of
// the wrong type. The object must outlive the view.
class JsonObject {
 public:
  // Throws InputError unless `json` is an object.
  JsonObject(const Json& json, std::string source);

  const std::string& source() const { return source_; }

  // The member's value; nullptr if it is absent or null.
  const Json* Find(std::string_view key) const;

  // The member's value; throws InputError that names the key if it is absent (where there is no
  // default) or of another type or out of range. Integers: a number without a fraction that fits.
  int64_t Int(std::string_view key) const;
  int64_t Int(std::string_view key, int64_t otherwise) const;
  double Float(std::string_view key) const;
  double Float(std::string_view key, double otherwise) const;
  bool Bool(std::string_view key, bool otherwise) const;
  std::string String(std::string_view key) const;
  std::string String(std::string_view key, std::string otherwise) const;
  // The member as an object. Throws if it is absent or no object.
  JsonObject Object(std::string_view key) const;

 private:
  const Json& Required(std::string_view key) const;

  const Json* json_;
  std::string source_;
};

}  // namespace aios
