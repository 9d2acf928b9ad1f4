#include "lessons/01_llm_basics/heat_map.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/check.h"
#include "common/base/utf8.h"

namespace aios {
namespace {

// The first `n` characters of a text, with spaces up to n.
std::string Padded(const std::string& text, size_t n) {
  std::string out;
  size_t width = 0;
  for (size_t i = 0; i < text.size() && width < n; ++width) {
    const size_t length = DecodeUtf8(std::string_view(text).substr(i)).length;
    out += text.substr(i, length);
    i += length;
  }
  return out + std::string(n - width, ' ');
}

const char* Shade(float weight) {
  if (weight < 0.05F) return "  ";  // the words for these are in ToTerminal
  if (weight < 0.20F) return "░░";
  if (weight < 0.40F) return "▒▒";
  if (weight < 0.70F) return "▓▓";
  return "██";
}

std::string XmlEscaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace

std::string ToTerminal(const HeatMap& map, size_t max_rows) {
  const size_t n = map.labels.size();
  AIOS_CHECK_EQ(map.weights.size(), n * n);
  const size_t n_rows = std::min(n, max_rows);
  std::string out = fmt::format("           {:14} ", "");
  for (size_t key = 0; key < n_rows; ++key) out += fmt::format("{:<2}", key % 100);
  out += "  looks most at\n";
  for (size_t query = 0; query < n_rows; ++query) {
    const std::span<const float> row = map.weights.subspan(query * n, n);
    const auto best = static_cast<size_t>(std::ranges::max_element(row) - row.begin());
    out += fmt::format("       {:3} {} ", query, Padded(map.labels[query], 14));
    for (size_t key = 0; key < n_rows; ++key) out += key <= query ? Shade(row[key]) : " ·";
    out += fmt::format("  {} {} {:.0f}%\n", best, map.labels[best], 100 * row[best]);
  }
  if (n_rows < n) {
    out +=
        fmt::format("           and {} tokens more: the picture of --svg has them\n", n - n_rows);
  }
  out += "           blank to 5%, ░░ to 20%, ▒▒ to 40%, ▓▓ to 70%, ██ above; · is to come\n";
  return out;
}

std::string ToSvg(const HeatMap& map) {
  const size_t n = map.labels.size();
  AIOS_CHECK_EQ(map.weights.size(), n * n);
  const int cell = n <= 32 ? 26 : 12;
  const int left = 150;  // room for the labels of the rows, and above for those of the columns
  const int top = 160;
  const size_t width = left + n * cell + 30;
  const size_t height = top + n * cell + 50;
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" "
      "height=\"{1}\" font-family=\"'DejaVu Sans Mono', Menlo, Consolas, monospace\" "
      "font-size=\"{2}\" fill=\"#1c2430\">\n<title>{3}</title>\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"#ffffff\"/>\n"
      "<text x=\"20\" y=\"26\" font-size=\"15\" font-weight=\"600\">{3}</text>\n",
      std::max<size_t>(width, 560), height, std::min(12, cell), XmlEscaped(map.title));
  for (size_t i = 0; i < n; ++i) {
    const std::string label = XmlEscaped(Padded(map.labels[i], 14));
    const size_t middle = i * cell + cell / 2 + 4;
    out += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n", left - 8,
                       top + middle, label);
    out += fmt::format("<text transform=\"translate({} {}) rotate(-90)\">{}</text>\n",
                       left + middle, top - 8, label);
  }
  for (size_t query = 0; query < n; ++query) {
    for (size_t key = 0; key <= query; ++key) {
      const float weight = std::clamp(map.weights[query * n + key], 0.0F, 1.0F);
      out += fmt::format(
          "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"#1f5fc0\" "
          "fill-opacity=\"{:.3f}\" stroke=\"#d8dee6\" stroke-width=\"0.5\"><title>{} looks at {}: "
          "{:.1f}%</title></rect>\n",
          left + key * cell, top + query * cell, cell, cell, weight, XmlEscaped(map.labels[query]),
          XmlEscaped(map.labels[key]), 100 * weight);
    }
  }
  out += fmt::format(
      "<text x=\"{}\" y=\"{}\" font-size=\"12\" fill=\"#5b6676\">a row: what one token looks at, "
      "from white, 0%, to blue, 100%</text>\n</svg>\n",
      20, height - 16);
  return out;
}

}  // namespace aios
