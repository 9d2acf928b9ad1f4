// Checks of our own promises. A failed check is a bug in AIOS: it prints file, line and values, and
// aborts. What a user can cause is an InputError instead (error.h).
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

namespace aios::internal {

[[noreturn]] void CheckFailed(const char* file, int line, const char* condition,
                              const std::string& detail);

inline std::string CheckDetail() { return {}; }
template <typename... Args>
std::string CheckDetail(fmt::format_string<Args...> format, Args&&... args) {
  return fmt::format(format, std::forward<Args>(args)...);
}

}  // namespace aios::internal

// AIOS_CHECK(offset <= size);
// AIOS_CHECK(offset <= size, "offset {} size {}", offset, size);
#define AIOS_CHECK(condition, ...)                                               \
  do {                                                                           \
    if (!(condition)) [[unlikely]] {                                             \
      ::aios::internal::CheckFailed(__FILE__, __LINE__, #condition,              \
                                    ::aios::internal::CheckDetail(__VA_ARGS__)); \
    }                                                                            \
  } while (false)

// AIOS_CHECK_EQ(a, b): as AIOS_CHECK(a == b), and prints both.
#define AIOS_CHECK_EQ(a, b) AIOS_CHECK((a) == (b), "{} and {}", (a), (b))
