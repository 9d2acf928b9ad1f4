#include "lessons/00_introduction/units.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <string_view>

namespace aios::lessons {
namespace {

// Three digits: "5.31", "36.4", "917".
std::string ThreeDigits(double x) {
  return fmt::format("{:.{}f}", x, x < 9.995 ? 2 : x < 99.95 ? 1 : 0);
}

std::string Scaled(double n, std::string_view unit) {
  constexpr std::array<std::string_view, 7> kPrefixes = {"", "k", "M", "G", "T", "P", "E"};
  size_t i = 0;
  for (; std::abs(n) >= 999.95 && i + 1 < kPrefixes.size(); ++i) n /= 1000;
  const int decimals = i == 0 ? 0 : std::abs(n) < 9.995 ? 2 : 1;
  return fmt::format("{:.{}f} {}{}", n, decimals, kPrefixes[i], unit);
}

}  // namespace

std::string Bytes(double n) { return Scaled(n, std::abs(n) < 999.95 ? "bytes" : "B"); }
std::string BytesPerSecond(double n) { return Scaled(n, "B/s"); }
std::string Flops(double n) { return Scaled(n, "FLOP"); }
std::string FlopsPerSecond(double n) { return Scaled(n, "FLOP/s"); }

std::string Seconds(double s) {
  if (s < 0.9995e-3) return ThreeDigits(s * 1e6) + " us";
  if (s < 0.9995) return ThreeDigits(s * 1e3) + " ms";
  return ThreeDigits(s) + " s";
}

std::string Grouped(int64_t n) {
  std::string digits = std::to_string(n);
  for (auto i = static_cast<int64_t>(digits.size()) - 3; i > (n < 0 ? 1 : 0); i -= 3) {
    digits.insert(static_cast<size_t>(i), 1, ',');
  }
  return digits;
}

std::string Speed(double x) { return x < 999.5 ? ThreeDigits(x) : Grouped(std::llround(x)); }

}  // namespace aios::lessons
