// What the tests of the tokenizers share.
#pragma once

#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/json.h"
#include "common/text/tokenizer.h"
#include "tests/common/loader/loader_testing.h"  // ErrorOf, ReadFile

namespace aios {

// The model of the environment variable SMOLLM2, which a test's `env` sets.
std::string SmolLm2Path();

// A JSON file of tests/golden, by its path below that folder.
Json Golden(const std::string& path);

// A text of `n_chars` characters in which all that scanners look at comes often: white space of all
// kinds, apostrophes and the letters after them, numbers, letters, marks, and any character.
std::string RandomText(std::mt19937& random, int n_chars);

// A random Unicode character, no surrogate.
char32_t RandomChar(std::mt19937& random);

// `part`, n times.
std::string Repeat(std::string_view part, size_t n);

}  // namespace aios
