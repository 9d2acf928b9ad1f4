#include "lessons/00_introduction/units.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <string_view>

namespace aios::lessons {
namespace {

std::string Scaled(double n, std::string_view unit, int digits) {
  constexpr std::array<std::string_view, 7> kPrefixes = {"", "k", "M", "G", "T", "P", "E"};
  size_t i = 0;
  for (; std::abs(n) >= 999.95 && i + 1 < kPrefixes.size(); ++i) n /= 1000;
  const int decimals = i == 0 && n == std::floor(n) ? 0 : n < 99.95 && digits > 3 ? 2 : 1;
  return fmt::format("{:.{}f} {}{}", n, decimals, kPrefixes[i], unit);
}

}  // namespace

std::string Bytes(double n) { return Scaled(n, n < 999.95 ? "bytes" : "B", 3); }
std::string BytesPerSecond(double n) { return Scaled(n, "B/s", 3); }
std::string Flops(double n) { return Scaled(n, "FLOP", 3); }
std::string FlopsPerSecond(double n) { return Scaled(n, "FLOP/s", 3); }

std::string Seconds(double s) {
  if (s < 1e-3) return fmt::format("{:.3g} us", s * 1e6);
  if (s < 1) return fmt::format("{:.3g} ms", s * 1e3);
  return s < 1000 ? fmt::format("{:.3g} s", s) : fmt::format("{:.0f} s", s);
}

std::string Grouped(int64_t n) {
  std::string digits = std::to_string(n);
  for (auto i = static_cast<int64_t>(digits.size()) - 3; i > (n < 0 ? 1 : 0); i -= 3) {
    digits.insert(static_cast<size_t>(i), 1, ',');
  }
  return digits;
}

std::string Speed(double x) {
  if (x >= 1000) return Grouped(std::llround(x));
  return fmt::format("{:.{}f}", x, x < 10 ? 2 : x < 100 ? 1 : 0);
}

}  // namespace aios::lessons
