#include "common/text/jinja_literals.h"

namespace aios {
namespace {

// Reads the literal whose opening quote is at `at`, and moves past it. False if it does not end.
bool ReadLiteral(std::string_view jinja, size_t& at, std::string& literal) {
  const char quote = jinja[at++];
  for (; at < jinja.size(); ++at) {
    if (jinja[at] == quote) {
      ++at;
      return true;
    }
    if (jinja[at] != '\\' || at + 1 == jinja.size()) {
      literal += jinja[at];
      continue;
    }
    const char escaped = jinja[++at];
    literal += escaped == 'n' ? '\n' : escaped == 't' ? '\t' : escaped;
  }
  return false;
}

}  // namespace

std::optional<std::vector<std::string>> JinjaLiterals(std::string_view jinja) {
  std::vector<std::string> literals;
  size_t at = 0;
  while (true) {
    const size_t open = jinja.find('{', at);
    const std::string_view between = jinja.substr(at, open == jinja.npos ? open : open - at);
    if (between.find_first_not_of(" \t\r\n") != between.npos) return std::nullopt;
    if (open == jinja.npos) return literals;

    const std::string_view opening = jinja.substr(open, 2);
    at = open + 2;
    if (opening == "{#") {  // a comment
      const size_t close = jinja.find("#}", at);
      if (close == jinja.npos) return std::nullopt;
      at = close + 2;
      continue;
    }
    if (opening != "{{" && opening != "{%") return std::nullopt;
    const std::string_view closing = opening == "{{" ? "}}" : "%}";
    while (true) {
      if (at >= jinja.size()) return std::nullopt;
      if (jinja[at] == '\'' || jinja[at] == '"') {
        if (!ReadLiteral(jinja, at, literals.emplace_back())) return std::nullopt;
      } else if (jinja.substr(at, 2) == closing) {
        at += 2;
        break;
      } else {
        ++at;
      }
    }
  }
}

}  // namespace aios
