// Errors that a file, a flag or a request can cause.
//
// AIOS has three lanes for errors:
//   - our own bug: AIOS_CHECK (check.h) aborts with file, line and values;
//   - bad input: an exception derived from InputError. Its sentence says what is wrong, where, and
//   what to do;
//     a program prints it and exits 2 (see RunMain in cli.h);
//   - a failing driver or library (CUDA, cuBLAS, NCCL): a checked call throws with the library's
//   words.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace aios {

// Bad input. The message is one sentence for the person who gave the input:
//   throw InputError("{}: tensor {} ends at byte {}, past the file's {}", path, Quoted(name), end,
//   size);
class InputError : public std::runtime_error {
 public:
  template <typename... Args>
  explicit InputError(fmt::format_string<Args...> format, Args&&... args)
      : std::runtime_error(fmt::format(format, std::forward<Args>(args)...)) {}
};

// Valid input that asks for something AIOS does not do. The message names the feature.
class UnsupportedError : public InputError {
 public:
  using InputError::InputError;
};

// `text`, safe to print on one line: control characters and bytes that are not UTF-8 are escaped.
std::string Escaped(std::string_view text);

// The same in single quotes, and a long text is cut. Use it for every name that comes from a file
// or a flag.
std::string Quoted(std::string_view text);

}  // namespace aios
