// The string literals of a Jinja template.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace aios {

// The texts between quotes in the template's {{ }} and {% %} blocks, unescaped, in order. Nullopt
// if there is text other than white space outside of the blocks, or the template ends inside one.
std::optional<std::vector<std::string>> JinjaLiterals(std::string_view jinja);

}  // namespace aios
